"""The event card and the full card, run on events made by hand."""

import numpy as np
import pytest
import uproot
from detector_events import CARDS, minimum_bias, random_record

from generation.fastsim.card import read_card
from generation.fastsim.engine import Detector


@pytest.fixture(scope="module")
def simulated():
    """Return the branches of each card for the same events."""
    library = minimum_bias(np.random.default_rng(2))
    record = random_record(np.random.default_rng(3), [300] * 12, jet=True)
    return {
        name: Detector(read_card(CARDS / f"jetclass2_{name}.tcl"), library).simulate(record, 4)
        for name in ("fatjet", "event", "full")
    }


def test_the_event_card_has_the_branches_of_delphes(simulated, reference):
    tree = uproot.open(reference("delphes/ttbar_events.root"))["Delphes"]
    theirs = {branch.name for branch in tree.branches if not branch.name.endswith("_size")}
    # These two come from the generator, not from the detector.
    assert set(simulated["event"]) == theirs - {"Event", "Weight"}


def test_each_card_holds_the_one_below(simulated):
    assert set(simulated["fatjet"]) < set(simulated["event"]) < set(simulated["full"])
    assert set(simulated["full"]) - set(simulated["event"]) == {
        "ParticleFlowCandidateCHS",
        "JetCHS",
        "JetCHSAK8",
    }


def test_objects_are_complete_and_finite(simulated):
    for name, branch in simulated["full"].items():
        assert len(branch.offsets) == 13, name
        for leaf, values in branch.columns.items():
            assert len(values) == branch.offsets[-1], (name, leaf)
            assert np.isfinite(values).all(), (name, leaf)
    for name in ("Electron", "Muon", "Photon"):
        pt = simulated["full"][name].columns["PT"]
        assert len(pt) == 0 or pt.min() > 9.0
    assert np.all(np.diff(simulated["full"]["Rho"].offsets) == 5)
    assert simulated["full"]["Rho"].columns["Rho"].min() >= 0


def test_charged_hadron_subtraction_keeps_neutrals_and_tracks_of_the_vertex(simulated):
    candidates = simulated["full"]["ParticleFlowCandidateCHS"].columns
    charged = candidates["Charge"] != 0
    assert not candidates["IsRecoPU"][charged].any()
    assert (~charged).sum() > charged.sum() > 0
    puppi = simulated["full"]["ParticleFlowCandidate"].columns
    assert candidates["PT"].sum() > puppi["PT"].sum()
