"""What a classifier of events is worth, and what boosted trees are."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from training.baselines.event_trees import FEATURE_SETS, auc_with_error, fit_trees
from training.evaluate import figures, metrics
from training.task import Evaluation

EFFICIENCIES = (0.3, 0.5)


def evaluate_events(
    probabilities: np.ndarray, label: np.ndarray, classes: Sequence[str], folder: Path
) -> Evaluation:
    """Measure a classifier; of two classes the second one is the signal.

    Parameters
    ----------
    probabilities
        (n, n_classes).
    label
        (n,) true index.
    classes
        Their names.
    folder
        For the figures `roc` and `scores`, or `confusion` for more than two classes.
    """
    predicted = probabilities.argmax(axis=1)
    summary: dict[str, float | None] = {
        "events": len(label),
        "loss": metrics.cross_entropy(probabilities, label),
        "accuracy": float((predicted == label).mean()),
    }
    if len(classes) > 2:
        counts = metrics.confusion(label, predicted, len(classes))
        figures.draw_confusion(folder / "confusion", counts, classes, "class")
        areas = {
            name: metrics.auc(probabilities[label == i, i], probabilities[label != i, i])
            for i, name in enumerate(classes)
        }
        known = [area for area in areas.values() if area is not None]
        summary["auc"] = float(np.mean(known)) if known else None
        caption = "Confusion of classes; each row (the truth) sums to one."
        return Evaluation(summary, {"confusion": caption}, {"auc_of_classes": areas})
    score = probabilities[:, 1]
    signal, background = score[label == 1], score[label == 0]
    if len(signal) and len(background):
        auc, error = auc_with_error(label, score, np.random.default_rng(1))
        summary |= {"auc": auc, "auc_error": error}
        curve = (*metrics.roc(signal, background), auc)
        figures.draw_roc(folder / "roc", {f"{classes[1]} against {classes[0]}": curve})
    for efficiency in EFFICIENCIES:
        rejection = metrics.rejection(signal, background, efficiency)
        summary[f"rejection_at_{efficiency:.0%}"] = rejection
    bins = np.linspace(0, 1, 41).tolist()
    with figures.figure(folder / "scores") as axes:
        for name, values in zip(classes, (background, signal), strict=True):
            axes.hist(values, bins, density=bool(len(values)), histtype="step", lw=2, label=name)
        axes.set(xlabel=f"Probability of {classes[1]}", ylabel="Share of events per unit")
        axes.legend()
    captions = {
        "roc": "Background against signal efficiency; the error of the area is by bootstrap.",
        "scores": f"The probability of {classes[1]} that the network gives, by class.",
    }
    if "auc" not in summary:
        del captions["roc"]
    return Evaluation(summary, captions)


def score_trees(
    trained_on: Mapping[str, np.ndarray], rows: Mapping[str, np.ndarray], seed: int
) -> dict[str, float]:
    """Train boosted trees on each set of features and return the areas under their ROC curves.

    Parameters
    ----------
    trained_on, rows
        `objects`, (n, n_slots, 5), and `label`, (n,) 0 or 1.
    seed
        Of the trees.
    """
    areas = {}
    for features in FEATURE_SETS:
        scores = fit_trees(features, trained_on["objects"], trained_on["label"], seed)
        name = f"auc_of_trees_on_{features.replace(' ', '_')}"
        areas[name] = metrics.auc(*_by_class(scores(rows["objects"]), rows["label"]))
    return {name: area for name, area in areas.items() if area is not None}


def _by_class(scores: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return scores[label == 1], scores[label == 0]
