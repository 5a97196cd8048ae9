"""The card for jet energies: the detector of the others, and vertices found from the tracks."""

import numpy as np
import pytest
from detector_events import CARDS, minimum_bias, random_record

from generation.fastsim.card import read_card
from generation.fastsim.engine import Detector


@pytest.fixture(scope="module")
def simulated():
    """Return the branches of the full card and the energy card for the same events."""
    library = minimum_bias(np.random.default_rng(2))
    record = random_record(np.random.default_rng(3), [300] * 12, jet=True)
    return {
        name: Detector(read_card(CARDS / f"jetclass2_{name}.tcl"), library).simulate(record, 4)
        for name in ("full", "energy")
    }


@pytest.mark.parametrize("branch", ["ParticleFlowCandidate", "ParticleFlowCandidateCHS", "Rho"])
def test_candidates_are_those_of_the_full_card(simulated, branch):
    full, energy = simulated["full"][branch], simulated["energy"][branch]
    np.testing.assert_array_equal(full.offsets, energy.offsets)
    for leaf in set(full.columns) - {"VertexIndex"}:
        np.testing.assert_array_equal(full.columns[leaf], energy.columns[leaf], err_msg=leaf)


def test_vertices_are_found_and_tracks_know_theirs(simulated):
    branches = simulated["energy"]
    found = branches["ReconstructedVertex"]
    assert np.all(np.diff(found.offsets) > 0)
    assert found.columns["NDF"].min() >= 2
    assert np.all(found.columns["ErrorZ"] > 0)
    candidates = branches["ParticleFlowCandidateCHS"]
    index, charged = candidates.columns["VertexIndex"], candidates.columns["Charge"] != 0
    assert np.all(index[~charged] == -1)
    assert np.all(simulated["full"]["ParticleFlowCandidateCHS"].columns["VertexIndex"] == -1)
    # Indices point to vertices of the event.
    for event in range(len(found.offsets) - 1):
        own = slice(candidates.offsets[event], candidates.offsets[event + 1])
        numbers = found.columns["Index"][found.offsets[event] : found.offsets[event + 1]]
        assert set(index[own]) <= {-1, *numbers.tolist()}
    assert np.mean(index[charged] >= 0) > 0.5
