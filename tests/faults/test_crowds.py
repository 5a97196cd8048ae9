"""Events with more objects than a collision makes would be clustered for hours."""

import time
from collections.abc import Mapping

import numpy as np
import pytest

from ntuplizer.batch import Collection, EventBatch
from ntuplizer.counts import Counts
from ntuplizer.products import get_product
from ntuplizer.quality import drop_bad_events
from ntuplizer.sources import delphes

JETS = get_product("jets")
OPTIONS = JETS.read_options({"qcd_labels": True})
CANDIDATES = "ParticleFlowCandidate"


@pytest.fixture
def events(reference) -> EventBatch:
    """Three real events."""
    path = reference("published/events_delphes_higgs2p_example.root")
    branches = JETS.branches(OPTIONS) | JETS.optional_branches(OPTIONS)
    batch = next(delphes.batches(path, branches))
    return batch.select(np.arange(batch.n_events) < 3)


def with_more(events: EventBatch, branch: str, changes: Mapping[str, np.ndarray]) -> EventBatch:
    """Return events whose first has its first object of a branch many times more, changed."""
    found = events[branch]
    number = len(next(iter(changes.values())))
    columns = {
        leaf: np.insert(
            values,
            found.offsets[1],
            changes.get(leaf, np.zeros(number, values.dtype)) + values[0],
            axis=0,
        )
        for leaf, values in found.columns.items()
    }
    offsets = found.offsets + number * (np.arange(len(found.offsets)) > 0)
    more = Collection(offsets, columns)
    return EventBatch({**events.collections, branch: more}, events.identity, events.source)


@pytest.mark.parametrize("pt", [0.0, 5.0])
@pytest.mark.parametrize("branch", [CANDIDATES, "Particle"])
@pytest.mark.parametrize("copies", [2_000, 100_000])
def test_copies_of_one_object(events, branch, copies, pt):
    first = events[branch]
    same = {"PT": np.full(copies, pt - first["PT"][0])}
    if branch == "Particle":
        same["Status"] = np.full(copies, 1 - first["Status"][0])
    _, skipped = drop_bad_events(with_more(events, branch, same))
    assert skipped == {"too many objects": 1}


def test_an_event_of_copies_costs_no_time(events):
    same = {"PT": np.full(100_000, 5 - events[CANDIDATES]["PT"][0])}
    counts, started = Counts(), time.perf_counter()
    JETS.rows(with_more(events, CANDIDATES, same), OPTIONS, counts)
    assert counts.events_skipped == {"too many objects": 1}
    assert time.perf_counter() - started < 20


def test_too_many_different_objects(events):
    rng = np.random.default_rng(0)
    spread = {leaf: rng.normal(5, 1, 25_000).astype(np.float32) for leaf in ("Eta", "Phi", "PT")}
    _, skipped = drop_bad_events(with_more(events, CANDIDATES, spread))
    assert skipped == {"too many objects": 1}


def test_many_collisions_are_not_too_many(events):
    rng = np.random.default_rng(0)
    spread = {leaf: rng.normal(5, 1, 3_000).astype(np.float32) for leaf in ("Eta", "Phi", "PT")}
    counts = Counts()
    JETS.rows(with_more(events, CANDIDATES, spread), OPTIONS, counts)
    assert not counts.events_skipped
