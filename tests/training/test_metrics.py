"""Numbers of the evaluation, against independent calculations."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from ntuplizer.labels import INDEX, LABELS, QCD_LABELS
from training.evaluate import metrics
from training.evaluate.evaluate import measure, merged_accuracy, versus_qcd


@pytest.fixture
def scores():
    rng = np.random.default_rng(0)
    return rng.normal(1, 1, 300).round(1), rng.normal(0, 1, 500).round(1)


def test_auc_and_roc_with_ties(scores):
    signal, background = scores
    truth = np.repeat([1, 0], [300, 500])
    joined = np.concatenate(scores)
    assert metrics.auc(signal, background) == pytest.approx(roc_auc_score(truth, joined))
    mine = metrics.roc(signal, background)
    background_expected, signal_expected, _ = roc_curve(truth, joined, drop_intermediate=False)
    np.testing.assert_allclose(mine[0], signal_expected)
    np.testing.assert_allclose(mine[1], background_expected)


def test_rejection(scores):
    signal, background = scores
    threshold = np.sort(signal)[::-1][149]
    expected = 500 / (background >= threshold).sum()
    assert metrics.rejection(signal, background, 0.5) == pytest.approx(expected, rel=0.05)


def test_what_a_sample_cannot_tell_is_none():
    some = np.linspace(0, 1, 100)
    assert metrics.auc(some, some[:0]) is None
    assert metrics.rejection(some[:3], some, 0.5) is None
    assert metrics.rejection(some + 2, some, 0.5) is None
    assert metrics.sculpting(some[:0], some[:0], 0.1, np.arange(3))["divergence"] is None


def test_discriminant_is_the_ratio_of_sums():
    probabilities = np.array([[0.2, 0.3, 0.1, 0.4], [0, 0, 0, 1]])
    values = metrics.discriminant(probabilities, (0, 1), (2,))
    np.testing.assert_allclose(values, [0.5 / 0.6, 0])


def test_calibration_of_a_perfect_and_an_overconfident_classifier():
    rng = np.random.default_rng(1)
    confidence = rng.random(200_000)
    correct = rng.random(200_000) < confidence
    assert metrics.calibration(confidence, correct)["ece"] < 0.01
    assert metrics.calibration(np.full(1000, 0.9), np.arange(1000) < 500)["ece"] == pytest.approx(
        0.4
    )


def test_sculpting_is_zero_without_and_large_with_a_mass_dependent_score():
    rng = np.random.default_rng(2)
    mass = rng.uniform(20, 500, 50_000)
    edges = np.arange(20, 501, 20)
    free = metrics.sculpting(mass, rng.random(len(mass)), 0.1, edges)
    tied = metrics.sculpting(mass, mass, 0.1, edges)
    assert free["divergence"] < 0.005
    assert tied["divergence"] > 0.5


def test_merging_qcd_helps_when_only_the_kind_of_qcd_is_wrong():
    probabilities = np.full((2, len(LABELS)), 1e-4)
    probabilities[0, QCD_LABELS[0]] = 0.5
    probabilities[1, INDEX["X_bb"]] = 0.5
    label = np.array([QCD_LABELS[3], INDEX["X_bb"]])
    assert merged_accuracy(probabilities, label) == 1
    assert (probabilities.argmax(axis=1) == label).mean() == 0.5


def test_random_guessing_is_measured_as_such():
    rng = np.random.default_rng(3)
    jets = 4000
    probabilities = rng.dirichlet(np.ones(len(LABELS)), jets).astype(np.float32)
    label = rng.integers(0, len(LABELS), jets)
    label[:2000] = INDEX["X_bb"]
    results = measure(
        probabilities, label, rng.uniform(200, 2500, jets), rng.uniform(20, 500, jets)
    )
    assert results["auc_resonance_vs_qcd"] == pytest.approx(0.5, abs=0.05)
    bb = versus_qcd(probabilities, label)["X_bb"]
    assert bb["auc"] == pytest.approx(0.5, abs=0.05)
    assert bb["rejection_at_50%"] == pytest.approx(2, rel=0.15)
    assert sum(b["jets"] for b in results["bins"] if b["variable"] == "jet_pt") == jets
