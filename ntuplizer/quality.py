"""Which events can be trusted."""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from ntuplizer.batch import Collection, EventBatch

# Nothing at a collider carries as much, GeV; sums of larger values could leave float32.
ENERGY_LIMIT = 1e6
ENERGY_LEAVES = frozenset({"PT", "Mass", "MET"})
# What following the decays of a generator record needs.
RECORD, LINKS = "Particle", frozenset({"PID", "D1", "D2"})


def drop_bad_events(batch: EventBatch) -> tuple[EventBatch, Counter[str]]:
    """Leave out events that cannot be trusted.

    An event is left out when it has unphysical values (`unphysical_events`) or, where decays can be
    followed, broken links (`ntuplizer.truth.broken_events`).

    Returns
    -------
    batch : EventBatch
        The remaining events.
    skipped : collections.Counter
        How many events were left out, by reason.
    """
    unphysical = unphysical_events(batch)
    broken = _broken_events(batch) & ~unphysical
    skipped: Counter[str] = Counter()
    for reason, events in (("unphysical values", unphysical), ("broken decay links", broken)):
        if events.any():
            skipped[reason] = int(events.sum())
    return (batch.select(~(unphysical | broken)) if skipped else batch), skipped


def unphysical_events(batch: EventBatch) -> np.ndarray:
    """Find events with values that are not finite, of wrong sign or too large: bool (n_events,)."""
    unphysical = np.zeros(batch.n_events, bool)
    for collection in batch.collections.values():
        for wrong in _unphysical_objects(collection):
            if wrong.any():
                unphysical[collection.event[wrong]] = True
    return unphysical


def _unphysical_objects(collection: Collection) -> Iterator[np.ndarray]:
    columns = collection.columns
    for values in columns.values():
        if values.dtype.kind == "f":
            infinite = ~np.isfinite(values)
            yield infinite if values.ndim == 1 else infinite.any(axis=1)
    for leaf in ENERGY_LEAVES & columns.keys():
        yield np.abs(columns[leaf]) > ENERGY_LIMIT
    if "PT" in columns:
        yield columns["PT"] < 0


def _broken_events(batch: EventBatch) -> np.ndarray:
    record = batch.get(RECORD)
    if record is None or not record.columns.keys() >= LINKS:
        return np.zeros(batch.n_events, bool)
    from ntuplizer.truth import broken_events

    return broken_events(record)
