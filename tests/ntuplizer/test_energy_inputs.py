"""Inputs of jet energy corrections: areas against FastJet, the rest against plain sums."""

import fastjet
import numpy as np
import pytest

from ntuplizer.batch import Collection
from ntuplizer.branches import CANDIDATE_LEAVES, RECORD_LEAVES
from ntuplizer.clustering import Jets, Momenta, cluster
from ntuplizer.energy_inputs import (
    ASSOCIATIONS,
    CALORIMETER_LEAVES,
    RHO_LEAVES,
    calorimeter_values,
    gen_jets_with_neutrinos,
    jet_areas,
    jet_rho,
    jet_shapes,
    relative_momentum_error,
    vertex_association,
    vertex_counts,
)
from ntuplizer.particles import candidate_momenta, four_momentum, gen_particles
from ntuplizer.sources.delphes import batches
from provenance.errors import UserError

TTBAR = "delphes/ttbar_events.root"
CANDIDATES = "ParticleFlowCandidate"


@pytest.fixture
def ttbar(reference):
    """Return 40 real Delphes events."""
    leaves = (*CANDIDATE_LEAVES, *CALORIMETER_LEAVES, "ErrorPT", "IsRecoPU", "VertexIndex")
    branches = {"Particle": RECORD_LEAVES, CANDIDATES: leaves, "Rho": RHO_LEAVES}
    batch = next(batches(reference(TTBAR), branches))
    chosen = np.arange(len(batch["Particle"].offsets) - 1) < 40
    return {branch: collection.select(chosen) for branch, collection in batch.collections.items()}


def fastjet_areas(particles: Momenta, radius: float, pt_min: float) -> np.ndarray:
    """Return FastJet's active areas, by event and falling pT."""
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, radius)
    ghosts = fastjet.GhostedAreaSpec(6.0, 1, 0.01)
    areas = []
    for event in range(len(particles.offsets) - 1):
        own = slice(particles.offsets[event], particles.offsets[event + 1])
        momenta = zip(
            *(getattr(particles, name)[own].tolist() for name in ("px", "py", "pz", "energy")),
            strict=True,
        )
        sequence = fastjet.ClusterSequenceArea(
            fastjet.vectorPJ([fastjet.PseudoJet(*momentum) for momentum in momenta]),
            definition,
            fastjet.AreaDefinition(fastjet.active_area, ghosts),
        )
        areas += [jet.area() for jet in fastjet.sorted_by_pt(sequence.inclusive_jets(pt_min))]
    return np.array(areas)


@pytest.mark.parametrize("radius", [0.4, 0.8])
def test_areas_are_those_of_fastjet(ttbar, radius):
    particles = candidate_momenta(ttbar[CANDIDATES])
    jets = cluster(particles, radius, 15.0)
    areas = jet_areas(jets, particles, radius, 15.0)
    theirs = fastjet_areas(particles, radius, 15.0)
    # About 2πR/0.1 ghosts lie on the edge of a jet, and theirs lie elsewhere than ours.
    noise = 0.01 * np.sqrt(2 * 2 * np.pi * radius / 0.1)
    assert np.std(areas - theirs) < noise
    assert np.mean(areas) == pytest.approx(np.mean(theirs), abs=4 * noise / np.sqrt(len(areas)))
    assert np.corrcoef(areas, theirs)[0, 1] > 0.6


def test_areas_depend_on_the_event_alone(ttbar):
    candidates = ttbar[CANDIDATES]
    particles = candidate_momenta(candidates)
    jets = cluster(particles, 0.4, 15.0)
    areas = jet_areas(jets, particles, 0.4, 15.0)
    some = np.random.default_rng(1).random(len(areas)) < 0.3
    np.testing.assert_array_equal(jet_areas(jets.select(some), particles, 0.4, 15.0), areas[some])
    last = candidates.select(np.arange(40) == 39)
    alone = candidate_momenta(last)
    own = jet_areas(cluster(alone, 0.4, 15.0), alone, 0.4, 15.0)
    np.testing.assert_array_equal(own, areas[jets.event == 39])


def test_a_lonely_jet_is_a_circle():
    eta = np.array([-4.9, -1.0, 0.0, 2.0, 4.9])
    n = len(eta)
    pt = np.full(n, 50.0)
    particles = Momenta(np.arange(n + 1), pt, 0 * pt, pt * np.sinh(eta), pt * np.cosh(eta))
    jets = cluster(particles, 0.8, 20.0)
    areas = jet_areas(jets, particles, 0.8, 20.0)
    np.testing.assert_allclose(areas, np.pi * 0.64, rtol=0.06)
    none = jets.select(np.zeros(n, bool))
    assert jet_areas(none, particles, 0.8, 20.0).shape == (0,)


def test_rho_is_that_of_the_region(ttbar):
    regions = ttbar["Rho"]
    event = np.repeat(np.arange(40), 6)
    eta = np.tile([-4.5, -2.0, 0.0, 1.5, 4.2, -7.0], 40)
    rho = jet_rho(regions, event, eta, "a.root").reshape(40, 6)
    stored = regions["Rho"].reshape(40, 5)
    assert np.array_equal(regions["Edges"][:5, 0], [-5, -4, -1.5, 1.5, 4])
    np.testing.assert_array_equal(rho, stored[:, [0, 1, 2, 3, 4, 0]])
    order = np.random.default_rng(2).permutation(len(event))
    np.testing.assert_array_equal(
        jet_rho(regions, event[order], eta[order], "a.root"), rho.ravel()[order]
    )


def test_rho_is_never_silently_zero(ttbar):
    with pytest.raises(
        UserError, match=r"events\.root: holds no energy density rho \(branch Rho\)"
    ):
        jet_rho(None, np.zeros(1, int), np.zeros(1), "events.root")
    first_is_empty = Collection(np.array([0, 0, 5]), {
        leaf: ttbar["Rho"][leaf][:5] for leaf in RHO_LEAVES
    })  # fmt: skip
    assert jet_rho(first_is_empty, np.ones(1, int), np.zeros(1), "events.root")[0] > 0
    with pytest.raises(UserError, match="holds no energy density"):
        jet_rho(first_is_empty, np.array([1, 0]), np.zeros(2), "events.root")


def test_vertices_are_counted_per_event():
    vertices = Collection(np.array([0, 3, 3, 4]), {"Z": np.zeros(4)})
    assert vertex_counts(vertices, np.array([0, 0, 1, 2]), "a.root").tolist() == [3, 3, 0, 1]
    with pytest.raises(UserError, match=r"a\.root: holds no reconstructed vertices"):
        vertex_counts(None, np.array([0]), "a.root")


def test_constituents_know_their_vertex():
    vertices = Collection(
        np.array([0, 2, 2]),
        {"Index": np.array([7, 3]), "Z": np.array([1.0, 50.0]), "ErrorZ": np.array([0.1, 0.1])},
    )
    columns = {
        "Charge": np.array([0, 1, -1, 1, 1, 1, 1]),
        "IsRecoPU": np.array([0, 1, 0, 0, 0, 0, 0]),
        "VertexIndex": np.array([-1, 7, 3, -1, -1, 7, -1]),
        "DZ": np.array([0.0, 1.0, 50.0, 9.0, 1.2, 1.0, 1.0]),
        "ErrorDZ": np.full(7, 0.05),
    }
    event = np.array([0, 0, 0, 0, 0, 0, 1])
    candidates = Collection(np.array([0, 6, 7]), columns)
    association = vertex_association(candidates, np.arange(7), event, vertices)
    assert association.tolist() == [0, 1, 2, 3, 4, 5, 3]
    assert ASSOCIATIONS[association[5]] == "in the first vertex"


def test_calorimeters_and_track_errors_of_delphes_candidates(ttbar):
    candidates = ttbar[CANDIDATES]
    index = np.flatnonzero(np.abs(candidates["Eta"]) < 5)
    *_, energy = four_momentum(candidates, index)
    values = calorimeter_values(candidates, index, energy)
    neutral = candidates["Charge"][index] == 0
    photon = candidates["PID"][index] == 22
    np.testing.assert_array_equal(values["hcal_fraction"], neutral & ~photon)
    np.testing.assert_array_equal(values["puppi_weight"][~neutral], 1)
    weight = values["puppi_weight"][neutral]
    assert 0.04 < weight.min() < 0.3
    assert weight.max() == pytest.approx(1, abs=1e-5)
    # JetClass-II leaves momenta of tracks as they are.
    np.testing.assert_array_equal(relative_momentum_error(candidates, index), 0)


def test_shapes_do_not_depend_on_azimuth_or_order():
    rng = np.random.default_rng(5)
    jet = np.sort(rng.integers(0, 20, 300))
    pt, eta, phi = rng.exponential(3, 300), rng.normal(0, 0.1, 300), rng.normal(0, 0.2, 300)
    one = jet_shapes(pt, eta, phi, jet, 21)
    # Δφ of jets at ±π as plain differences.
    other = jet_shapes(pt, eta, phi + 2 * np.pi * rng.integers(-1, 2, 300), jet, 21)
    order = rng.permutation(300)
    shuffled = jet_shapes(pt[order], eta[order], phi[order], jet[order], 21)
    for name, values in one.items():
        np.testing.assert_allclose(other[name], values, atol=1e-12)
        np.testing.assert_allclose(shuffled[name], values, atol=1e-12)
        assert values[20] == 0
    own = jet == 3
    covariance = np.cov(np.stack([eta[own], phi[own]]), aweights=pt[own] ** 2, ddof=0)
    assert one["minor_axis"][3] == pytest.approx(np.sqrt(np.linalg.eigvalsh(covariance)[0]))
    assert one["pt_dispersion"][3] == pytest.approx(np.sqrt((pt[own] ** 2).sum()) / pt[own].sum())
    assert one["multiplicity"][3] == (pt[own] > 1).sum()


def test_shapes_of_one_and_two_constituents():
    shapes = jet_shapes(
        np.array([5.0, 3.0, 3.0]), np.array([0.1, 0.1, -0.1]), np.array([0.1, 0.2, -0.2]),
        np.array([0, 1, 1]), 2,
    )  # fmt: skip
    assert shapes["pt_dispersion"].tolist() == pytest.approx([1, np.sqrt(0.5)])
    np.testing.assert_allclose(shapes["minor_axis"], 0, atol=1e-8)


def test_neutrinos_add_to_gen_jets_and_leave_them_as_they_are(ttbar):
    particles = ttbar["Particle"]
    events = np.arange(0, 40, 2)
    jets, pt = gen_jets_with_neutrinos(particles, events, 0.4, 15.0)
    momenta, _ = gen_particles(particles, events)
    alone = cluster(momenta, 0.4, 15.0)
    for name in Jets.__dataclass_fields__:
        if name != "constituents":
            np.testing.assert_array_equal(getattr(jets, name), getattr(alone, name))
    gain = pt / jets.pt - 1
    # b → ℓν: a minority of jets gains, some of them much; none loses but by angles.
    assert 0.05 < np.mean(gain > 0.01) < 0.5
    assert gain.max() > 0.2
    assert gain.min() > -0.02
