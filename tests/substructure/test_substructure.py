"""Recombination, grooming and shapes against FastJet, by hand, and of strange jets."""

import math
import time

import awkward as ak
import fastjet
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_jets import random_jet

from substructure import recombination
from substructure.grooming import prune, soft_drop, soft_drop_momenta, trim
from substructure.recombination import (
    CAMBRIDGE_AACHEN,
    EVERYTHING,
    FASTJET_RADIUS_MAX,
    KT,
    cluster,
    rapidity,
)
from substructure.subjettiness import n_subjettiness


@pytest.mark.parametrize("radius", [0.2, 0.8, EVERYTHING])
@pytest.mark.parametrize(
    ("power", "algorithm"),
    [(CAMBRIDGE_AACHEN, fastjet.cambridge_algorithm), (KT, fastjet.kt_algorithm)],
)
def test_clusters_equal_fastjet(power, algorithm, radius):
    rng = np.random.default_rng(3)
    for n in (1, 2, 3, 10, 80):
        members = random_jet(rng, n)
        array = ak.zip(dict(zip(("px", "py", "pz", "E"), members.T, strict=True)))
        array = ak.with_name(array, "Momentum4D")
        expected = fastjet.ClusterSequence(
            array, fastjet.JetDefinition(algorithm, min(radius, FASTJET_RADIUS_MAX))
        ).inclusive_jets()
        expected = np.sort(np.hypot(ak.to_numpy(expected.px), ak.to_numpy(expected.py)))
        # Twice the same jet: the histories are side by side.
        history = cluster(
            np.concatenate([members, members]), np.array([0, n, 2 * n]), power, radius
        )
        for start, end in zip(history.start, history.end, strict=True):
            ours = history.momenta[start:end][history.child[start:end] < 0]
            np.testing.assert_allclose(np.sort(np.hypot(ours[:, 0], ours[:, 1])), expected)
            np.testing.assert_allclose(ours.sum(axis=0), members.sum(axis=0))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 40), angle=st.floats(-6.0, 6.0))
def test_substructure_does_not_change_when_the_event_is_turned(seed, n, angle):
    members = random_jet(np.random.default_rng(seed), n)
    cosine, sine = math.cos(angle), math.sin(angle)
    turned = members.copy()
    turned[:, 0] = cosine * members[:, 0] - sine * members[:, 1]
    turned[:, 1] = sine * members[:, 0] + cosine * members[:, 1]
    offsets = np.array([0, n])
    for groom, parameters in ((soft_drop, (0.1, 0.0, 0.8)), (trim, (0.2, 0.05))):
        (one, first), (two, second) = (
            groom(jet, offsets, *parameters) for jet in (members, turned)
        )
        assert first == second
        np.testing.assert_allclose(one[..., 2:], two[..., 2:], rtol=1e-9, atol=1e-9)
    # The minimum that one-pass axes reach may change with the last digit, exclusive axes not.
    taus = [n_subjettiness(jet, offsets, 5, 0.8, 1.0, False) for jet in (members, turned)]
    np.testing.assert_allclose(*taus, rtol=1e-7, atol=1e-12)


def test_taus_fall_and_vanish_with_as_many_axes_as_constituents():
    members = random_jet(np.random.default_rng(1), 4)
    tau = n_subjettiness(members, np.array([0, 4]), 5, 0.8, 1.0, True)[0]
    assert np.all(np.diff(tau) <= 0)
    assert tau[2] > 0
    assert tau[3] == tau[4] == 0


def test_grooming_by_hand():
    # Two hard prongs and a soft particle at a wide angle.
    eta, pt = np.array([0.0, 0.3, 0.7]), np.array([100.0, 60.0, 1.0])
    members = np.stack([pt, 0 * pt, pt * np.sinh(eta), pt * np.cosh(eta)], axis=1)
    offsets = np.array([0, 3])
    for momenta, counts in (
        soft_drop(members, offsets, 0.1, 0.0, 0.8),
        prune(members, offsets, 0.8, 0.5, 0.1),
        trim(members, offsets, 0.2, 0.05),
    ):
        assert counts.tolist() == [2]
        np.testing.assert_allclose(momenta[0, 0], members[:2].sum(axis=0))
        np.testing.assert_allclose(momenta[0, 1:3], members[:2])
        assert not momenta[0, 3:].any()


GROOMERS = ((soft_drop, (0.1, 0.0, 0.8)), (prune, (0.8, 0.5, 0.1)), (trim, (0.2, 0.05)))


def test_large_jets_are_groomed_as_small_ones(monkeypatch):
    members = random_jet(np.random.default_rng(2), 900)
    offsets = np.array([0, 400, 900])
    results = []
    for large in (1000, 100):  # by the project's own algorithm, by FastJet's
        monkeypatch.setattr(recombination, "LARGE", large)
        groomed = [groom(members, offsets, *parameters) for groom, parameters in GROOMERS]
        results.append((groomed, n_subjettiness(members, offsets, 5, 0.8, 1.0, True)))
    (small, small_taus), (large, large_taus) = results
    for (one, first), (two, second) in zip(small, large, strict=True):
        np.testing.assert_array_equal(first, second)
        np.testing.assert_allclose(one, two, rtol=1e-12)
    np.testing.assert_allclose(small_taus, large_taus, rtol=1e-9)


def test_cost_of_large_jets_grows_with_their_size_not_its_square():
    def seconds(n):
        members = random_jet(np.random.default_rng(5), n)
        start = time.process_time()
        soft_drop(members, np.array([0, n]), 0.1, 0.0, 0.8)
        n_subjettiness(members, np.array([0, n]), 5, 0.8, 1.0, False)
        return time.process_time() - start

    small, large = recombination.LARGE + 1, 4 * recombination.LARGE
    seconds(100)
    # Four times as large takes four times as long, not sixteen.
    assert seconds(large) < 9 * seconds(small)


def test_rapidity_is_finite_for_every_momentum():
    for momentum in ((0, 0, 5, 5), (0, 0, -5, 5), (0, 0, 0, 0), (1, 0, 1e6, 1e6), (0, 0, 3, 4)):
        assert math.isfinite(rapidity(*map(float, momentum)))
    assert rapidity(1.0, 0.0, 0.0, 1.0) == 0
    assert rapidity(0.0, 0.0, 3.0, 5.0) == pytest.approx(math.log(2))


@pytest.mark.parametrize("large", [1000, 1])
def test_constituents_along_the_beam_end_in_the_jet_too(monkeypatch, large):
    # Their rapidities lie farther apart than FastJet's largest radius.
    monkeypatch.setattr(recombination, "LARGE", large)
    members = random_jet(np.random.default_rng(4), 6)
    members[1] = (0, 0, 7, 7)
    members[4] = (0, 0, -8, 8)
    history = cluster(members, np.array([0, 6]), CAMBRIDGE_AACHEN, EVERYTHING)
    assert history.end[0] == 11
    assert (history.child < 0).tolist() == [False] * 10 + [True]
    np.testing.assert_allclose(history.momenta[10], members.sum(axis=0))
    assert np.isfinite(history.rapidity).all()
    assert np.isfinite(n_subjettiness(members, np.array([0, 6]), 5, 0.8, 1.0, True)).all()


def test_soft_drop_with_an_angular_exponent_is_fastjet_s():
    rng = np.random.default_rng(6)
    members = [random_jet(rng, n) for n in rng.integers(2, 60, 100)]
    offsets = np.concatenate(([0], np.cumsum([len(jet) for jet in members])))
    array = ak.zip(
        dict(zip(("px", "py", "pz", "E"), np.concatenate(members).T, strict=True)),
        with_name="Momentum4D",
    )
    definition = fastjet.JetDefinition(fastjet.cambridge_algorithm, FASTJET_RADIUS_MAX)
    sequence = fastjet.ClusterSequence(ak.unflatten(array, np.diff(offsets)), definition)
    for beta in (0.0, 1.0, 2.0):
        expected = sequence.exclusive_jets_softdrop_grooming(
            njets=1, beta=beta, symmetry_cut=0.1, R0=0.8
        )
        groomed = soft_drop_momenta(np.concatenate(members), offsets, 0.1, beta, 0.8)
        pt = np.hypot(groomed[:, 0], groomed[:, 1])
        np.testing.assert_allclose(pt, ak.to_numpy(expected.ptsoftdrop), rtol=1e-9)
        both, _ = soft_drop(np.concatenate(members), offsets, 0.1, beta, 0.8)
        assert np.array_equal(both[:, 0], groomed)


def test_jets_of_nothing():
    members = random_jet(np.random.default_rng(7), 3)
    offsets = np.array([0, 0, 3, 3])
    groomed = soft_drop_momenta(members, offsets, 0.1, 0.0, 0.8)
    assert not groomed[[0, 2]].any()
    assert groomed[1].any()
    taus = n_subjettiness(members, offsets, 4, 0.8, 1.0, True)
    assert not taus[[0, 2]].any()
    assert taus[1, 0] > 0
    empty = np.zeros((0, 4))
    assert soft_drop_momenta(empty, np.array([0]), 0.1, 0.0, 0.8).shape == (0, 4)
    assert n_subjettiness(empty, np.array([0]), 4, 0.8, 1.0, True).shape == (0, 4)


@pytest.mark.parametrize("beta", [1.0, 2.0])
def test_moved_axes_measure_no_more_than_those_they_start_from(beta):
    rng = np.random.default_rng(8)
    members = np.concatenate([random_jet(rng, 40) for _ in range(50)])
    offsets = np.arange(0, 2001, 40)
    start, moved = (
        n_subjettiness(members, offsets, 4, 0.8, beta, minimise) for minimise in (False, True)
    )
    # Axes stop when they move by less than their accuracy, not at the minimum itself.
    assert np.all(moved <= start * (1 + 1e-3))
    assert np.mean(moved < start) > 0.9
