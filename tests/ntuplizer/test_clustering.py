"""Grooming and shapes against FastJet's own, and what must not depend on the frame."""

import awkward as ak
import fastjet
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ntuplizer.clustering import Momenta, cluster, soft_drop_mass, subjettiness


def random_jets(n_jets: int, seed: int, width: float = 0.3) -> Momenta:
    """Return jets of 1 to 60 particles, falling in pT, around random directions."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 60, n_jets)
    n = counts.sum()
    axis = np.repeat(np.column_stack([rng.normal(0, 1, n_jets), rng.uniform(-4, 4, n_jets)]),
                     counts, axis=0)  # fmt: skip
    eta, phi = (axis + rng.normal(0, width, (n, 2))).T
    pt, mass = rng.exponential(10, n) ** 1.5, rng.choice([0, 0.14, 0.94], n)
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    offsets = np.concatenate(([0], np.cumsum(counts)))
    return Momenta(offsets, px, py, pz, np.sqrt(px**2 + py**2 + pz**2 + mass**2))


def in_fastjet(jets: Momenta) -> fastjet.ClusterSequence:
    particles = ak.zip(
        {"px": jets.px, "py": jets.py, "pz": jets.pz, "E": jets.energy}, with_name="Momentum4D"
    )
    definition = fastjet.JetDefinition(fastjet.cambridge_algorithm, 1000.0)
    return fastjet.ClusterSequence(ak.unflatten(particles, np.diff(jets.offsets)), definition)


def test_soft_drop_is_fastjets():
    jets = random_jets(300, 1)
    expected = in_fastjet(jets).exclusive_jets_softdrop_grooming(
        njets=1, beta=0.0, symmetry_cut=0.1, R0=0.8
    )
    several = np.diff(jets.offsets) > 1
    got = soft_drop_mass(jets)
    np.testing.assert_allclose(got[several], expected.msoftdrop[several], rtol=1e-7, atol=1e-4)


def test_subjettiness_is_fastjets():
    jets = random_jets(300, 2)
    expected = in_fastjet(jets).njettiness(njets=[1, 2, 3, 4], R0=0.8)
    got = subjettiness(jets, 0.8)
    # Where two sets of axes are both (local) minima, the order of summation may decide.
    agree = np.isclose(got, np.asarray(expected), rtol=1e-3, atol=1e-9)
    assert agree[:, 0].all()
    assert agree.mean() > 0.99


def test_few_particles():
    offsets = np.array([0, 0, 1, 3])
    px = np.array([1.0, 10.0, 10.0])
    jets = Momenta(offsets, px, np.zeros(3), np.zeros(3), np.sqrt(px**2 + 0.25))
    np.testing.assert_allclose(soft_drop_mass(jets), [0, 0.5, 1.0])
    np.testing.assert_array_equal(subjettiness(jets, 0.8), np.zeros((3, 4)))


def test_particles_at_rest_and_coincident_ones():
    px = np.array([0.0, 0.0, 50.0, 50.0, 30.0])
    energy = np.array([0.14, 0.94, 50.0, 50.0, 30.0])
    jets = Momenta(np.array([0, 5]), px, np.zeros(5), np.zeros(5), energy)
    assert np.isfinite(soft_drop_mass(jets)).all()
    assert np.isfinite(subjettiness(jets, 0.8)).all()


@settings(max_examples=30, deadline=None)
@given(angle=st.floats(0, 2 * np.pi), seed=st.integers(0, 1000))
def test_nothing_depends_on_azimuth(angle, seed):
    jets = random_jets(5, seed)
    cos, sin = np.cos(angle), np.sin(angle)
    turned = Momenta(
        jets.offsets, cos * jets.px - sin * jets.py, sin * jets.px + cos * jets.py,
        jets.pz, jets.energy,
    )  # fmt: skip
    np.testing.assert_allclose(soft_drop_mass(turned), soft_drop_mass(jets), rtol=1e-6, atol=1e-3)
    np.testing.assert_allclose(
        subjettiness(turned, 0.8)[:, 0], subjettiness(jets, 0.8)[:, 0], rtol=1e-3, atol=1e-9
    )


@pytest.mark.parametrize("radius", [0.4, 0.8, 1.5])
def test_jets_are_sums_of_their_constituents(radius):
    particles = random_jets(40, 3, width=1.0)
    jets = cluster(particles, radius, 20.0)
    assert len(jets.event) > 40
    assert (np.diff(jets.event) >= 0).all()
    same_event = np.diff(jets.event) == 0
    assert (np.diff(jets.pt)[same_event] <= 0).all()
    owner = np.repeat(np.arange(len(jets.event)), np.diff(jets.offsets))
    px = np.bincount(owner, particles.px[jets.constituents])
    py = np.bincount(owner, particles.py[jets.constituents])
    np.testing.assert_allclose(np.hypot(px, py), jets.pt, rtol=1e-6)
    assert len(set(jets.constituents)) == len(jets.constituents)
    event_of = np.searchsorted(particles.offsets, jets.constituents, side="right") - 1
    np.testing.assert_array_equal(event_of, jets.event[owner])


def test_no_events_and_no_particles():
    nothing = np.zeros(0)
    for n_events in (0, 3):
        empty = Momenta(np.zeros(n_events + 1, np.int64), nothing, nothing, nothing, nothing)
        assert len(cluster(empty, 0.8, 1.0).event) == 0
