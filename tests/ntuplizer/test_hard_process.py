"""Labels of top jets and of quark and gluon jets, by hand-built decays and by Pythia's events."""

import numpy as np
import pytest
from decays import OUTSIDE, Particle, record

from generation.process import load_process
from generation.pythia import EventGenerator
from ntuplizer.batch import Collection
from ntuplizer.hard_process import label_partons, label_tops
from ntuplizer.products import get_product

TOP, QCD = get_product("top_jets").label(None).names.index("top"), 0
GLUON, QUARK = 0, 1


def top(lost: int | None = None, leptonic: bool = False, copies: int = 2) -> Particle:
    """Return a top and its copies; `lost` is the decay product outside the jet."""
    eta = [OUTSIDE if i == lost else 0.1 for i in range(3)]
    codes = (-11, 12) if leptonic else (2, -1)
    w = Particle(24, tuple(Particle(c, eta=e) for c, e in zip(codes, eta[1:], strict=True)))
    w = Particle(24, (w,))
    found = Particle(6, (Particle(5, eta=eta[0]), w))
    for _ in range(copies):
        found = Particle(6, (found,), eta=OUTSIDE)
    return found


def labels(function, *events: list[Particle]) -> list[int]:
    flat, n = record(list(events)), len(events)
    truth = function(flat, np.arange(n), np.zeros(n, "f4"), np.zeros(n, "f4"), 0.8)
    assert truth.offsets[-1] == len(truth.particles) == len(truth.roles)
    return truth.label.tolist()


def test_a_top_needs_its_three_quarks_inside():
    events = [[top()], [top(copies=0)], *([top(lost=i)] for i in range(3)), [top(leptonic=True)]]
    assert labels(label_tops, *events) == [TOP, TOP, -1, -1, -1, -1]
    # Either of two tops will do; without any it is QCD.
    assert labels(label_tops, [top(lost=0), top()], [Particle(21), Particle(1)]) == [TOP, QCD]


def test_particles_behind_a_top_are_stored():
    flat = record([[Particle(1)], [top()]])
    zeros = np.zeros(2, "f4")
    truth = label_tops(flat, np.arange(2), zeros, zeros, 0.8)
    assert np.diff(truth.offsets).tolist() == [0, 4]
    assert flat["PID"][truth.particles].tolist() == [6, 5, 2, -1]


def test_the_outgoing_parton_decides_between_quark_and_gluon():
    def event(pid: int, eta: float = 0.1, status: int = 23) -> list[Particle]:
        # Other gluons are everywhere in a shower.
        return [Particle(23, status=23), Particle(pid, eta=eta, status=status), Particle(21)]

    events = [
        event(21),
        event(1),
        event(-3),
        event(4),
        event(5),
        event(21, OUTSIDE),
        event(2, status=51),
    ]
    assert labels(label_partons, *events) == [GLUON, QUARK, QUARK, -1, -1, -1, -1]
    # The nearest of two.
    two = [Particle(21, eta=0.5, status=23), Particle(2, eta=-0.2, status=23)]
    assert labels(label_partons, two) == [QUARK]


@pytest.mark.parametrize(("process", "label"), [("z_quark", QUARK), ("z_gluon", GLUON)])
def test_events_of_pythia_have_the_parton_of_their_process(process, label):
    flat = events_of(process, {"pt_hat_min": 300.0})
    hard = (flat["Status"] == 23) & (np.abs(flat["PID"]) != 23)
    assert hard.sum() == len(flat.counts)
    event = np.flatnonzero(hard)
    truth = label_partons(flat, np.arange(len(event)), flat["Eta"][event], flat["Phi"][event], 0.4)
    heavy = np.isin(np.abs(flat["PID"][event]), (4, 5))
    assert (truth.label == np.where(heavy, -1, label)).all()


def test_boosted_tops_of_pythia_are_found():
    flat = events_of("ttbar_hadronic", {"pt_hat_min": 800.0})
    tops = np.flatnonzero((np.abs(flat["PID"]) == 6) & (flat["Status"] == 62))
    event = np.searchsorted(flat.offsets, tops, side="right") - 1
    assert np.bincount(event).tolist() == [2] * len(flat.counts)
    truth = label_tops(flat, event, flat["Eta"][tops], flat["Phi"][tops], 0.8)
    # At 800 GeV the decay spans about 2 m / pT = 0.4.
    assert (truth.label == TOP).mean() > 0.7
    assert (truth.label == QCD).sum() == 0


def events_of(process: str, point: dict[str, float], n: int = 12) -> Collection:
    found = EventGenerator(load_process(process)).batch(point, 3, n).record
    return as_collection(found)


def as_collection(found) -> Collection:
    pt = np.hypot(found.px, found.py)
    columns = {
        "PID": found.pid,
        "Status": found.status,
        "D1": found.d1,
        "D2": found.d2,
        "PT": pt,
        "Eta": np.arcsinh(found.pz / np.maximum(pt, 1e-9)),
        "Phi": np.arctan2(found.py, found.px),
    }
    return Collection(found.offsets, columns)
