"""Jets of lepton colliders and exclusive jets, against FastJet's own clustering."""

import math

import fastjet
import numpy as np
import pytest

from generation.fastsim.exclusive_jets import (
    DURHAM,
    EE_GENKT,
    HADRON,
    VALENCIA,
    Recombination,
    find_jets,
)

fastjet._swig.ClusterSequence.set_fastjet_banner_stream(None)


def event(rng, n):
    """Return n massive particles in all directions, (n, 4)."""
    momenta = rng.normal(size=(n, 3)) * rng.exponential(10, size=(n, 1))
    mass = rng.uniform(0, 1, n)
    return np.c_[momenta, np.sqrt((momenta**2).sum(1) + mass**2)]


def sequence(momenta, definition):
    particles = [fastjet.PseudoJet(*map(float, row)) for row in momenta]
    for i, particle in enumerate(particles):
        particle.set_user_index(i)
    return fastjet._swig.ClusterSequence(particles, definition)


def definition_of(family, radius, power):
    if family == DURHAM:
        return fastjet.JetDefinition0Param(fastjet.ee_kt_algorithm)
    if family == EE_GENKT:
        return fastjet.JetDefinition(fastjet.ee_genkt_algorithm, radius, power)
    return fastjet.JetDefinition(
        fastjet.antikt_algorithm if power < 0 else fastjet.kt_algorithm, radius
    )


ALGORITHMS = [
    (EE_GENKT, 1.5, -1.0), (EE_GENKT, 0.7, 1.0), (EE_GENKT, 4.0, -1.0), (DURHAM, 1.0, 1.0),
    (HADRON, 0.5, -1.0), (HADRON, 0.5, 1.0),
]  # fmt: skip


@pytest.mark.parametrize(("family", "radius", "power"), ALGORITHMS)
@pytest.mark.parametrize("wanted", ["inclusive", "number", "distance"])
def test_jets_are_fastjet_s(family, radius, power, wanted):
    rng = np.random.default_rng(3)
    sizes = [0, 1, 2, 5, 17, 60, 120]
    offsets = np.cumsum([0, *sizes])
    momenta = np.concatenate([event(rng, n) for n in sizes])
    choice = {
        "inclusive": {"pt_min": 2.0}, "number": {"n_jets": 3}, "distance": {"distance_max": 0.5},
    }[wanted]  # fmt: skip
    how = Recombination(family, radius, power, **choice)
    jets, jet_offsets, rows, row_offsets, merging = find_jets(momenta, offsets, how)
    for i, n in enumerate(sizes):
        own = momenta[offsets[i] : offsets[i + 1]]
        found = slice(*jet_offsets[i : i + 2])
        expected = []
        if n:
            clusters = sequence(own, definition_of(family, radius, power))
            if wanted == "inclusive":
                expected = clusters.inclusive_jets(2.0)
            elif wanted == "distance":
                expected = clusters.exclusive_jets(0.5)
            elif n >= 3:
                expected = clusters.exclusive_jets(3)
        expected = sorted(expected, key=lambda jet: -jet.pt())
        reference = [[jet.px(), jet.py(), jet.pz(), jet.E()] for jet in expected]
        np.testing.assert_allclose(
            jets[found], np.reshape(reference, (-1, 4)), rtol=1e-9, atol=1e-9
        )
        for jet, number in zip(expected, range(found.start, found.stop), strict=True):
            members = {particle.user_index() for particle in jet.constituents()}
            assert set(rows[slice(*row_offsets[number : number + 2])] - offsets[i]) == members
        for row in merging[found]:
            scales = [clusters.exclusive_ymerge(k) for k in range(1, 6)]
            expected_scales = scales if how.exclusive else np.zeros(5)
            np.testing.assert_allclose(row, expected_scales, rtol=1e-9)


def test_valencia_without_its_beam_exponent_is_ee_genkt():
    # With γ = 0, particles are as far from the beam as in ee_genkt, and from one another as in
    # ee_genkt with another radius.
    rng = np.random.default_rng(5)
    momenta = event(rng, 80)
    offsets = np.array([0, 80])
    radius = 0.9
    jets, *_ = find_jets(momenta, offsets, Recombination(VALENCIA, radius, -1.0, 0.0, 1.0))
    same = Recombination(EE_GENKT, math.acos(1 - radius**2 / 2), -1.0, pt_min=1.0)
    expected, *_ = find_jets(momenta, offsets, same)
    np.testing.assert_allclose(jets, expected, rtol=1e-9)
    assert 2 < len(jets) < 80


@pytest.mark.parametrize(("gamma", "n_jets"), [(0.0, 1), (1.0, 2)])
def test_valencia_gives_forward_particles_to_the_beam(gamma, n_jets):
    # Two particles 0.4 apart, close to the beam: sin²θ = 0.01 is below 2 (1 - cos 0.4) / R².
    angles = np.array([0.1, 0.5])
    momenta = np.c_[10 * np.sin(angles), np.zeros(2), 10 * np.cos(angles), np.full(2, 10.0)]
    how = Recombination(VALENCIA, 0.8, 1.0, gamma)
    jets, *_ = find_jets(momenta, np.array([0, 2]), how)
    assert len(jets) == n_jets
