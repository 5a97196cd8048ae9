"""What a classifier of jets is worth: over the 188 labels, or over classes of one's own."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from ntuplizer.labels import GROUPS, INDEX, LABELS, QCD_LABELS, RESONANCE_LABELS
from training.evaluate import figures, metrics
from training.evaluate.figures import Curves
from training.task import Evaluation
from training.tasks.sophon.sculpting import draw_sculpting, sculpting

EFFICIENCIES = (0.3, 0.5)
PT_EDGES = (200, 400, 700, 1200, 2500)
SDMASS_EDGES = (20, 60, 110, 200, 350, 500)
SPECTRUM_EDGES = np.arange(20, 501, 20)
# Share of QCD jets kept by the cut whose mass sculpting is measured.
KEPT = 0.1
# Signals of the ROC and sculpting figures.
SHOWN = ("X_bb", "X_cc", "X_YY_bbbb")
# Rows whose probabilities are copied at a time.
CHUNK = 4_096
QCD_INDEX = np.array(QCD_LABELS)
RESONANCE_INDEX = np.array(RESONANCE_LABELS)

CONFUSION_CAPTION = "Confusion by {}; each row (the truth) sums to one."
CALIBRATION_CAPTION = (
    "Share of correctly labelled jets against the probability given to the label that was chosen."
)
Numbers = dict[str, float | None]


@dataclass(frozen=True)
class Scored:
    """Jets with what the network says of them.

    The probabilities are looked at by columns or few rows at a time: copies would take more memory
    than all else.
    """

    probabilities: np.ndarray  # (n, n_labels)
    label: np.ndarray  # (n,) true index
    qcd: np.ndarray  # (n,) sum of the probabilities of the QCD labels
    predicted: np.ndarray  # (n,) index of the largest probability

    @classmethod
    def of(cls, probabilities: np.ndarray, label: np.ndarray) -> "Scored":
        """Take the network's word, (n, n_labels), for jets of a true label, (n,)."""
        return cls(
            probabilities,
            label,
            sum_of(probabilities, QCD_LABELS),
            probabilities.argmax(axis=1),
        )

    def discriminant(self, index: int, rows: np.ndarray) -> np.ndarray:
        """Return D = P(label) / (P(label) + P(QCD)) of some rows, (m,)."""
        return ratio(self.probabilities[rows, index].astype(np.float64), self.qcd[rows])


def evaluate_labels(
    probabilities: np.ndarray,
    label: np.ndarray,
    jet_pt: np.ndarray,
    jet_sdmass: np.ndarray,
    folder: Path,
) -> Evaluation:
    """Measure a network over the 188 labels.

    Parameters
    ----------
    probabilities
        (n, 188).
    label
        (n,) true index.
    jet_pt, jet_sdmass
        (n,) GeV.
    folder
        For the figures `roc`, `confusion`, `calibration` and `sculpting`.
    """
    scored = Scored.of(probabilities, label)
    correct = scored.predicted == label
    group_of_label = np.empty(len(LABELS), int)
    for index, members in enumerate(GROUPS.values()):
        group_of_label[list(members)] = index
    true_group = group_of_label[label]
    sums = np.stack([sum_of(probabilities, g, np.float32) for g in GROUPS.values()], axis=1)
    predicted_group = sums.argmax(axis=1)
    is_qcd = np.isin(label, QCD_INDEX)
    resonance = ratio(sum_of(probabilities, RESONANCE_LABELS), scored.qcd)
    against_qcd = versus_qcd(scored, np.arange(len(label)))
    confusion = metrics.confusion(true_group, predicted_group, len(GROUPS))
    calibration = metrics.calibration(probabilities.max(axis=1), correct)
    sculpted = {
        name: sculpting(
            jet_sdmass[is_qcd],
            scored.discriminant(INDEX[name], np.flatnonzero(is_qcd)),
            KEPT,
            SPECTRUM_EDGES,
        )
        for name in SHOWN
    }
    figures.draw_roc(folder / "roc", roc_curves(scored))
    figures.draw_confusion(folder / "confusion", confusion, list(GROUPS), "group")
    _draw_calibration(folder / "calibration", calibration)
    draw_sculpting(folder / "sculpting", SPECTRUM_EDGES, sculpted, "QCD")
    return Evaluation(
        summary={
            "jets": len(label),
            "loss": metrics.cross_entropy(probabilities, label),
            "accuracy": float(correct.mean()),
            "accuracy_qcd_merged": merged_accuracy(scored),
            "accuracy_of_groups": float((predicted_group == true_group).mean()),
            "auc_resonance_vs_qcd": metrics.auc(resonance[~is_qcd], resonance[is_qcd]),
            **{f"auc_{name}_vs_qcd": against_qcd[name]["auc"] for name in SHOWN},
            "calibration_error": _number(calibration["ece"]),
        },
        figures={
            "roc": "Background against signal efficiency of labels against all QCD jets.",
            "confusion": CONFUSION_CAPTION.format("label group"),
            "calibration": CALIBRATION_CAPTION,
            "sculpting": "Soft-drop mass of all QCD jets and of the tenth that looks most like a "
            "signal: a cut that does not know the mass leaves the shape as it is.",
        },
        details={
            "auc_of_groups": {
                name: metrics.auc(sums[true_group == i, i], sums[true_group != i, i])
                for i, name in enumerate(GROUPS)
            },
            "auc_of_labels": {
                name: metrics.auc(probabilities[label == i, i], probabilities[label != i, i])
                for i, name in enumerate(LABELS)
            },
            "versus_qcd": against_qcd,
            "bins": [
                *binned("jet_pt", PT_EDGES, jet_pt, scored),
                *binned("jet_sdmass", SDMASS_EDGES, jet_sdmass, scored),
            ],
            "confusion": {"groups": list(GROUPS), "counts": confusion.tolist()},
            "calibration": calibration,
            "mass_sculpting": {
                name: None if result is None else asdict(result)
                for name, result in sculpted.items()
            },
        },
    )


def evaluate_classes(
    probabilities: np.ndarray, label: np.ndarray, classes: Sequence[str], folder: Path
) -> Evaluation:
    """Measure a network over any classes, each against all others.

    Parameters
    ----------
    probabilities
        (n, n_classes).
    label
        (n,) true index.
    classes
        Their names.
    folder
        For the figures `roc`, `confusion` and `calibration`.
    """
    predicted = probabilities.argmax(axis=1)
    correct = predicted == label
    areas: Numbers = {}
    rejections: dict[str, Numbers] = {}
    for name, one, others in _one_against_others(probabilities, label, classes):
        areas[name] = metrics.auc(one, others)
        rejections[name] = {
            f"at_{efficiency:.0%}": metrics.rejection(one, others, efficiency)
            for efficiency in EFFICIENCIES
        }
    known = [area for area in areas.values() if area is not None]
    confusion = metrics.confusion(label, predicted, len(classes))
    calibration = metrics.calibration(probabilities.max(axis=1), correct)
    figures.draw_roc(folder / "roc", class_curves(probabilities, label, classes))
    figures.draw_confusion(folder / "confusion", confusion, classes, "class")
    _draw_calibration(folder / "calibration", calibration)
    return Evaluation(
        summary={
            "jets": len(label),
            "loss": metrics.cross_entropy(probabilities, label),
            "accuracy": float(correct.mean()),
            "auc": float(np.mean(known)) if known else None,
            "calibration_error": _number(calibration["ece"]),
        },
        figures={
            "roc": "Efficiency of the other classes against that of a class.",
            "confusion": CONFUSION_CAPTION.format("class"),
            "calibration": CALIBRATION_CAPTION,
        },
        details={
            "auc_of_classes": areas,
            "rejection_of_other_classes": rejections,
            "confusion": {"classes": list(classes), "counts": confusion.tolist()},
            "calibration": calibration,
        },
    )


def sum_of(
    probabilities: np.ndarray, members: Sequence[int], kind: type[np.floating] = np.float64
) -> np.ndarray:
    """Add up the probabilities of some labels, (n,), a few rows at a time."""
    index = list(members)
    total = np.empty(len(probabilities), kind)
    for begin in range(0, len(probabilities), CHUNK):
        rows = slice(begin, begin + CHUNK)
        total[rows] = probabilities[rows][:, index].sum(axis=1, dtype=np.float64)
    return total


def ratio(wanted: np.ndarray, unwanted: np.ndarray) -> np.ndarray:
    """Return wanted / (wanted + unwanted), 0 where both are."""
    return wanted / np.maximum(wanted + unwanted, np.finfo(np.float64).tiny)


def merged_accuracy(scored: Scored) -> float:
    """Return the accuracy with all QCD labels taken as one, their probabilities added."""
    right = 0
    for begin in range(0, len(scored.label), CHUNK):
        rows = slice(begin, begin + CHUNK)
        resonances = scored.probabilities[rows][:, RESONANCE_INDEX]
        says_qcd = scored.qcd[rows] > resonances.max(axis=1)
        best = RESONANCE_INDEX[resonances.argmax(axis=1)]
        is_qcd = np.isin(scored.label[rows], QCD_INDEX)
        right += int(np.where(says_qcd, is_qcd, best == scored.label[rows]).sum())
    return right / len(scored.label)


def versus_qcd(scored: Scored, rows: np.ndarray) -> dict[str, Numbers]:
    """Return jets, AUC and rejections of each resonance label against QCD, among some rows."""
    label = scored.label[rows]
    qcd = rows[np.isin(label, QCD_INDEX)]
    results: dict[str, Numbers] = {}
    for index in RESONANCE_LABELS:
        own = rows[label == index]
        signal, background = (scored.discriminant(index, r) for r in (own, qcd))
        results[LABELS[index]] = {
            "jets": len(signal),
            "auc": metrics.auc(signal, background),
            **{
                f"rejection_at_{efficiency:.0%}": metrics.rejection(signal, background, efficiency)
                for efficiency in EFFICIENCIES
            },
        }
    return results


def binned(
    name: str, edges: Sequence[float], values: np.ndarray, scored: Scored
) -> list[dict[str, object]]:
    """Return accuracy and `versus_qcd` in bins of a jet's quantity."""
    results: list[dict[str, object]] = []
    for low, high in pairwise(edges):
        rows = np.flatnonzero((values >= low) & (values < high))
        correct = scored.predicted[rows] == scored.label[rows]
        results.append(
            {
                "variable": name,
                "low": low,
                "high": high,
                "jets": len(rows),
                "accuracy": float(correct.mean()) if len(rows) else None,
                "versus_qcd": versus_qcd(scored, rows),
            }
        )
    return results


def roc_curves(scored: Scored) -> Curves:
    """Return the ROC curves of the labels shown against QCD, where there are jets of both."""
    qcd = np.flatnonzero(np.isin(scored.label, QCD_INDEX))
    curves = {}
    for name in SHOWN:
        index = INDEX[name]
        signal = scored.discriminant(index, np.flatnonzero(scored.label == index))
        background = scored.discriminant(index, qcd)
        if len(signal) and len(background):
            area = metrics.auc(signal, background)
            curves[f"{name} vs QCD"] = (*metrics.roc(signal, background), area)
    return curves


def class_curves(probabilities: np.ndarray, label: np.ndarray, classes: Sequence[str]) -> Curves:
    """Return the ROC curve of each class against all others; of two classes the second's."""
    curves = {}
    for name, one, others in _one_against_others(probabilities, label, classes):
        if len(one) and len(others) and (len(classes) > 2 or name == classes[1]):
            rest = classes[0] if len(classes) == 2 else "others"
            curves[f"{name} vs {rest}"] = (*metrics.roc(one, others), metrics.auc(one, others))
    return curves


def _one_against_others(
    probabilities: np.ndarray, label: np.ndarray, classes: Sequence[str]
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    for index, name in enumerate(classes):
        score = probabilities[:, index]
        yield name, score[label == index], score[label != index]


def _draw_calibration(path: Path, calibration: Mapping[str, object]) -> None:
    columns = (np.array(calibration[name], float) for name in ("rows", "confidence", "accuracy"))
    figures.draw_calibration(path, *columns)


def _number(value: object) -> float | None:
    return value if isinstance(value, float) else None
