"""Which events can be trusted, and which rows."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from ntuplizer.batch import Collection, EventBatch

# Nothing at a collider carries as much, GeV; sums of larger values could leave float32.
ENERGY_LIMIT = 1e6
ENERGY_LEAVES = frozenset({"PT", "Mass", "MET"})
# Clustering takes the square of an event's objects, and the cube of those of one direction. Events
# with 200 collisions have 15,000 candidates, and a tower a handful of them.
OBJECTS_LIMIT, COPIES_LIMIT = 20_000, 100
# Tracks whose smeared momentum came out as zero; a collision has one or two.
RESTING_LIMIT = 1000
# Fewer objects than this are quickly clustered, whatever they are.
FEW = 1000
DIRECTION = ("Eta", "Phi")
# Of a generator record, what is clustered.
STABLE = 1
# What following the decays of a generator record needs.
RECORD, LINKS = "Particle", frozenset({"PID", "D1", "D2"})


def drop_bad_events(batch: EventBatch) -> tuple[EventBatch, Counter[str]]:
    """Leave out events that cannot be trusted.

    An event is left out when it has unphysical values (`unphysical_events`), more objects than a
    collision makes (`crowded_events`) or, where decays can be followed, broken links
    (`ntuplizer.truth.broken_events`).

    Returns
    -------
    batch : EventBatch
        The remaining events.
    skipped : collections.Counter
        How many events were left out, by reason.
    """
    unphysical = unphysical_events(batch)
    crowded = crowded_events(batch) & ~unphysical
    broken = _broken_events(batch) & ~unphysical & ~crowded
    skipped: Counter[str] = Counter()
    for reason, events in (
        ("unphysical values", unphysical),
        ("too many objects", crowded),
        ("broken decay links", broken),
    ):
        if events.any():
            skipped[reason] = int(events.sum())
    return (batch.select(~(unphysical | crowded | broken)) if skipped else batch), skipped


def finite_rows(rows: pa.Table) -> np.ndarray:
    """Return which rows have finite numbers only, in their lists too: bool (n_rows,)."""
    finite = np.ones(rows.num_rows, bool)
    for column in rows.columns:
        array = column.combine_chunks()
        is_list = pa.types.is_list(array.type)
        values = array.flatten() if is_list else array
        if not pa.types.is_floating(values.type):
            continue
        wrong = np.flatnonzero(~np.isfinite(values.to_numpy()))
        if is_list:
            wrong = np.searchsorted(array.offsets.to_numpy(), wrong, side="right") - 1
        finite[wrong] = False
    return finite


def unphysical_events(batch: EventBatch) -> np.ndarray:
    """Find events with values that are not finite, of wrong sign or too large: bool (n_events,)."""
    unphysical = np.zeros(batch.n_events, bool)
    for collection in batch.collections.values():
        for wrong in _unphysical_objects(collection):
            if wrong.any():
                unphysical[collection.event[wrong]] = True
    return unphysical


def crowded_events(batch: EventBatch) -> np.ndarray:
    """Find events with more objects to cluster than can be, or copies of one: bool (n_events,)."""
    crowded = np.zeros(batch.n_events, bool)
    for collection in batch.collections.values():
        if not collection.columns.keys() >= {*DIRECTION, "PT"}:
            continue
        moving, clustered = collection["PT"] > 0, np.ones(len(collection["PT"]), bool)
        if "Status" in collection.columns:
            clustered = collection["Status"] == STABLE
        resting = np.bincount(collection.event[clustered & ~moving], minlength=batch.n_events)
        crowded |= resting > RESTING_LIMIT
        clustered &= moving
        counts = np.bincount(collection.event[clustered], minlength=batch.n_events)
        crowded |= counts > OBJECTS_LIMIT
        for event in np.flatnonzero((counts > FEW) & ~crowded):
            own = slice(collection.offsets[event], collection.offsets[event + 1])
            eta, phi = (collection[leaf][own][clustered[own]] for leaf in DIRECTION)
            # The bits of both as one number, which is sorted faster than rows of two.
            directions = np.stack((eta, phi), axis=1).astype(np.float32).view(np.uint64)
            crowded[event] = np.unique(directions, return_counts=True)[1].max() > COPIES_LIMIT
    return crowded


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
