"""Numbers and figures of the evaluation, against independent calculations."""

import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import drawn_pixels
from matplotlib import pyplot as plt
from scipy.stats import binomtest

from ntuplizer.labels import INDEX, LABELS, QCD_LABELS
from training.evaluate import figures, metrics
from training.evaluate.evaluate import collect
from training.tasks.sophon.config import Config
from training.tasks.sophon.evaluation import (
    Scored,
    evaluate_classes,
    evaluate_labels,
    merged_accuracy,
    sum_of,
    versus_qcd,
)
from training.tasks.sophon.sculpting import plot_sculpting, sculpting


@pytest.fixture
def scores():
    rng = np.random.default_rng(0)
    return rng.normal(1, 1, 300).round(1), rng.normal(0, 1, 500).round(1)


@pytest.fixture
def axes():
    canvas, panel = plt.subplots()
    yield panel
    plt.close(canvas)


def guesses(jets: int) -> tuple[np.ndarray, ...]:
    """Probabilities without knowledge, labels (half X_bb), pT and soft-drop mass."""
    rng = np.random.default_rng(3)
    probabilities = rng.dirichlet(np.ones(len(LABELS)), jets).astype(np.float32)
    label = rng.integers(0, len(LABELS), jets)
    label[: jets // 2] = INDEX["X_bb"]
    return probabilities, label, rng.uniform(200, 2500, jets), rng.uniform(20, 500, jets)


def test_auc_is_how_often_signal_scores_above_background(scores):
    signal, background = scores
    above = (signal[:, None] > background).mean() + (signal[:, None] == background).mean() / 2
    assert metrics.auc(signal, background) == pytest.approx(above)


def test_roc_gives_efficiencies_and_their_area(scores):
    signal, background = scores
    passed_signal, passed_background = metrics.roc(signal, background)
    assert (passed_signal[0], passed_background[0]) == (0, 0)
    assert (passed_signal[-1], passed_background[-1]) == (1, 1)
    assert (np.diff(passed_signal) >= 0).all()
    area = np.trapezoid(passed_signal, passed_background)
    assert area == pytest.approx(metrics.auc(signal, background))
    at_zero = (signal >= 0).mean(), (background >= 0).mean()
    assert np.interp(at_zero[1], passed_background, passed_signal) == pytest.approx(at_zero[0])


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
    assert sculpting(some[:0], some[:0], 0.1, np.arange(3)) is None


def test_confusion_counts_truth_by_row():
    assert not metrics.confusion(np.zeros(0, int), np.zeros(0, int), 4).any()
    counts = metrics.confusion(np.array([0, 0, 2]), np.array([0, 2, 2]), 4)
    assert counts.tolist() == [[1, 0, 1, 0], [0] * 4, [0, 0, 1, 0], [0] * 4]


def test_discriminant_is_the_ratio_of_sums():
    probabilities = np.zeros((2, len(LABELS)), np.float32)
    probabilities[0, [INDEX["X_bb"], QCD_LABELS[0], QCD_LABELS[5]]] = 0.3, 0.1, 0.2
    probabilities[1, INDEX["X_cc"]] = 1
    scored = Scored.of(probabilities, np.zeros(2, int))
    np.testing.assert_allclose(scored.discriminant(INDEX["X_bb"], np.arange(2)), [0.5, 0], 1e-6)


def test_sums_do_not_depend_on_the_size_of_the_chunks(monkeypatch):
    from training.tasks.sophon import evaluation

    probabilities, *_ = guesses(100)
    monkeypatch.setattr(evaluation, "CHUNK", 7)
    expected = probabilities[:, 3:20].sum(axis=1, dtype=np.float64)
    np.testing.assert_allclose(sum_of(probabilities, range(3, 20)), expected, rtol=1e-12)


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
    assert sculpting(mass, rng.random(len(mass)), 0.1, edges).divergence < 0.005
    assert sculpting(mass, mass, 0.1, edges).divergence > 0.5


def test_merging_qcd_helps_when_only_the_kind_of_qcd_is_wrong():
    probabilities = np.full((2, len(LABELS)), 1e-4)
    probabilities[0, QCD_LABELS[0]] = 0.5
    probabilities[1, INDEX["X_bb"]] = 0.5
    scored = Scored.of(probabilities, np.array([QCD_LABELS[3], INDEX["X_bb"]]))
    assert merged_accuracy(scored) == 1
    assert (scored.predicted == scored.label).mean() == 0.5


def test_random_guessing_is_measured_as_such(tmp_path):
    probabilities, label, *kinematics = guesses(4000)
    results = evaluate_labels(probabilities, label, *kinematics, tmp_path)
    assert results.summary["auc_resonance_vs_qcd"] == pytest.approx(0.5, abs=0.05)
    assert results.summary["auc_X_bb_vs_qcd"] == pytest.approx(0.5, abs=0.05)
    assert results.summary["accuracy"] == pytest.approx(1 / 188, abs=0.005)
    assert set(results.summary) == set(Config.numbers) - {"auc"}
    bb = versus_qcd(Scored.of(probabilities, label), np.arange(4000))["X_bb"]
    assert bb["rejection_at_50%"] == pytest.approx(2, rel=0.15)
    for variable in ("jet_pt", "jet_sdmass"):
        bins = [b for b in results.details["bins"] if b["variable"] == variable]
        assert sum(b["jets"] for b in bins) == 4000
    assert results.figures.keys() == {"roc", "confusion", "calibration", "sculpting"}
    for name in results.figures:
        assert drawn_pixels(tmp_path / f"{name}.png") > 200


# The peak of a process that evaluates few jets, then many; arrays go back to the system when they
# are done with, and the figures of one evaluation are gone before the next.
MEMORY = """
import gc, re, sys
from pathlib import Path
import numpy as np
from training.tasks.sophon.evaluation import evaluate_labels

def peak(jets):
    gc.collect()
    rng = np.random.default_rng(1)
    probabilities = rng.random((jets, 188), np.float32)
    for rows in np.array_split(probabilities, 100):
        rows /= rows.sum(axis=1, keepdims=True)
    label = rng.integers(0, 188, jets)
    numbers = rng.uniform(200, 500, (2, jets)).astype(np.float32)
    evaluate_labels(probabilities, label, *numbers, Path(sys.argv[1]))
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

peak(2_000)
few = peak(2_000)
print((peak(42_000) - few) / 40_000)
"""


def test_a_jet_takes_no_more_memory_than_is_said(tmp_path):
    """docs/training.md: 0.9 kB, of which the probabilities are 0.75."""
    result = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path)],
        env=os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert 700 < float(result.stdout) < 950


def test_collecting_keeps_every_row_once_and_stops_where_it_is_full():
    import torch

    from training.data.stream import Drawn

    class Echo:
        measured = ("double", "x")
        device = torch.device("cpu")

        def predict(self, batch):
            return {"double": 2 * batch["x"][:, None].expand(-1, 3)}

    batches = [Drawn({"x": torch.arange(4.0) + 4 * i}, 4) for i in range(5)]
    rows, number, first = collect(Echo(), batches, 1000)
    assert number == 20
    assert first is batches[0].batch
    np.testing.assert_array_equal(rows["x"], np.arange(20))
    np.testing.assert_array_equal(rows["double"], 2 * np.arange(20)[:, None] * np.ones(3))
    rows, _, _ = collect(Echo(), batches, 10)
    np.testing.assert_array_equal(rows["x"], np.arange(10))


def test_own_classes_of_a_perfect_network(tmp_path):
    label = np.repeat([0, 1, 2], 40)
    probabilities = np.full((120, 3), 0.1, np.float32)
    probabilities[np.arange(120), label] = 0.8
    results = evaluate_classes(probabilities, label, ("a", "b", "c"), tmp_path)
    assert results.summary["auc"] == results.summary["accuracy"] == 1
    assert results.summary["calibration_error"] == pytest.approx(0.2)
    assert set(results.summary) < set(Config.numbers)
    # Rejections are unknown where nothing passes.
    assert results.details["rejection_of_other_classes"]["a"] == {"at_30%": None, "at_50%": None}
    assert results.details["confusion"]["counts"] == (40 * np.eye(3)).tolist()
    assert drawn_pixels(tmp_path / "confusion.png") > 10_000


def lines(axes) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {str(line.get_label()): line.get_data() for line in axes.get_lines()}


def test_the_history_is_drawn_over_the_steps(axes):
    history = [
        {"step": 10, "train_loss": 3.0, "val_loss": 3.5, "val_rank": 7.0},
        {"step": 20, "train_loss": 2.0, "val_loss": 2.5, "val_rank": 8.0},
    ]
    figures.plot_history(axes, history, "loss")
    assert {k: np.array(v).tolist() for k, v in lines(axes).items()} == {
        "training": [[10, 20], [3, 2]],
        "validation": [[10, 20], [3.5, 2.5]],
    }
    assert axes.get_ylabel() == "Loss"


def test_roc_curves_are_drawn_where_background_passes(axes):
    signal, background = np.array([0, 0.5, 0.8, 1]), np.array([0, 0, 0.1, 1])
    figures.plot_roc(axes, {"b vs c": (signal, background, 0.9)})
    drawn = lines(axes)["b vs c (AUC 0.900)"]
    np.testing.assert_array_equal(drawn, [[0.8, 1], [0.1, 1]])
    assert axes.get_yscale() == "log"


def test_calibration_is_drawn_with_intervals_of_wilson(axes):
    counts = np.array([0, 100, 300])
    confidence, accuracy = np.array([np.nan, 0.4, 0.9]), np.array([np.nan, 0.5, 0.8])
    figures.plot_calibration(axes, counts, confidence, accuracy)
    (points,) = axes.containers
    np.testing.assert_allclose(points.lines[0].get_data(), [[0.4, 0.9], [0.5, 0.8]])
    (low, high), _ = points.lines[2][0].get_segments()
    interval = binomtest(50, 100).proportion_ci(0.68, "wilson")
    assert (low[1], high[1]) == pytest.approx((interval.low, interval.high))
    assert points.get_label() == "network (ECE 0.100)"


def test_too_few_jets_are_said_instead_of_drawn(axes):
    plot_sculpting(axes, np.arange(3), {"X_bb": None}, "QCD")
    assert [text.get_text() for text in axes.texts] == ["too few QCD jets"]
