"""Evaluation of a checkpoint on a split: numbers as JSON, figures as PNG and PDF."""

import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ntuplizer.labels import GROUPS, INDEX, LABELS, QCD_LABELS, RESONANCE_LABELS
from provenance.errors import UserError
from provenance.files import sha256, write_json
from provenance.ledger import versions
from training.checkpoint import load_task, read_checkpoint
from training.data.module import evaluation_loader, plain_errors
from training.data.shards import list_row_groups, list_shards
from training.data.stream import interleave
from training.devices import best_device, limit_threads
from training.evaluate import figures, metrics
from training.inference import Scores, score

EFFICIENCIES = (0.3, 0.5)
PT_EDGES = (200, 400, 700, 1200, 2500)
SDMASS_EDGES = (20, 60, 110, 200, 350, 500)
SPECTRUM_EDGES = np.arange(20, 501, 20)
# Share of QCD jets kept by the cut whose mass sculpting is measured.
KEPT = 0.1
# Signals of the ROC and sculpting figures.
SHOWN = ("X_bb", "X_cc", "X_YY_bbbb")


def evaluate(
    checkpoint: Path, manifest: Path, split: str, output: Path, max_jets: int = 2_000_000
) -> None:
    """Write `metrics.json` and the figures `loss`, `roc`, `confusion`, `calibration`, `sculpting`.

    A network with classes of its own (a transfer) is measured on these, without `sculpting`.

    Parameters
    ----------
    checkpoint
        Written by `fit`.
    manifest
        Of the dataset.
    split
        Which of its splits to use.
    output
        Folder for the results.
    max_jets
        Enough jets: reading stops after about so many, of all parts alike. Bounds the memory
        (0.8 kB per jet).

    Raises
    ------
    UserError
        When checkpoint or data cannot be used, or no jet passes the selection.
    """
    started = time.perf_counter()
    task = load_task(checkpoint).to(best_device())
    limit_threads(task.config.run)
    is_sophon = task.labels == LABELS
    shards = list_shards(manifest, split, LABELS if is_sophon else None)
    groups = list_row_groups(shards, task.config.data.label, len(task.labels))
    groups = interleave(groups, np.random.default_rng(0))
    parts: list[Scores] = []
    seen = 0
    with plain_errors():
        for scores in score(task, evaluation_loader(groups, task.config.data)):
            parts.append(scores)
            seen += len(scores.label)
            if seen >= max_jets:
                break
    if not parts:
        raise UserError(f"{manifest}: no jet of the split {split!r} passes the selection")
    probabilities, label, jet_pt, jet_sdmass = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("probabilities", "label", "jet_pt", "jet_sdmass")
    )
    if is_sophon:
        results = measure(probabilities, label, jet_pt, jet_sdmass)
        curves = roc_curves(probabilities, label)
        figures.draw_sculpting(
            output / "sculpting", SPECTRUM_EDGES, results["mass_sculpting"], KEPT
        )
    else:
        results = measure_classes(probabilities, label, task.labels)
        curves = class_curves(probabilities, label, task.labels)
    history = read_checkpoint(checkpoint)["callbacks"]["History"]["rows"]
    if history:
        figures.draw_loss(output / "loss", history)
    figures.draw_roc(output / "roc", curves)
    confusion = results["confusion"]
    kind = "group" if is_sophon else "class"
    names = confusion["groups" if is_sophon else "classes"]
    figures.draw_confusion(output / "confusion", np.array(confusion["counts"]), names, kind)
    figures.draw_calibration(output / "calibration", results["calibration"])
    write_json(
        output / "metrics.json",
        {
            "split": split,
            "checkpoint_sha256": sha256(checkpoint),
            **results,
            "history": history,
            "versions": versions(),
            "wall_seconds": round(time.perf_counter() - started, 3),
        },
    )


def measure(
    probabilities: np.ndarray, label: np.ndarray, jet_pt: np.ndarray, jet_sdmass: np.ndarray
) -> dict[str, Any]:
    """Return all numbers of an evaluation.

    Parameters
    ----------
    probabilities
        (n, n_labels).
    label
        (n,) true index.
    jet_pt, jet_sdmass
        (n,) GeV.
    """
    predicted = probabilities.argmax(axis=1)
    sums = metrics.group_sums(probabilities, GROUPS)
    group_of_label = np.empty(len(LABELS), int)
    for index, members in enumerate(GROUPS.values()):
        group_of_label[list(members)] = index
    true_group = group_of_label[label]
    is_qcd = np.isin(label, QCD_LABELS)
    resonance = metrics.discriminant(probabilities, RESONANCE_LABELS, QCD_LABELS)
    return {
        "jets": len(label),
        "loss": metrics.cross_entropy(probabilities, label),
        "accuracy": float((predicted == label).mean()),
        "accuracy_qcd_merged": merged_accuracy(probabilities, label),
        "accuracy_of_groups": float((sums.argmax(axis=1) == true_group).mean()),
        "auc_resonance_vs_qcd": metrics.auc(resonance[~is_qcd], resonance[is_qcd]),
        "auc_of_groups": {
            name: metrics.auc(sums[true_group == i, i], sums[true_group != i, i])
            for i, name in enumerate(GROUPS)
        },
        "auc_of_labels": {
            name: metrics.auc(probabilities[label == i, i], probabilities[label != i, i])
            for i, name in enumerate(LABELS)
        },
        "versus_qcd": versus_qcd(probabilities, label),
        "bins": [
            *binned("jet_pt", PT_EDGES, jet_pt, probabilities, label),
            *binned("jet_sdmass", SDMASS_EDGES, jet_sdmass, probabilities, label),
        ],
        "confusion": {
            "groups": list(GROUPS),
            "counts": metrics.confusion(true_group, sums.argmax(axis=1), len(GROUPS)).tolist(),
        },
        "calibration": metrics.calibration(probabilities.max(axis=1), predicted == label),
        "mass_sculpting": {
            name: metrics.sculpting(
                jet_sdmass[is_qcd],
                metrics.discriminant(probabilities[is_qcd], (INDEX[name],), QCD_LABELS),
                KEPT,
                SPECTRUM_EDGES,
            )
            for name in SHOWN
        },
    }


def measure_classes(
    probabilities: np.ndarray, label: np.ndarray, classes: tuple[str, ...]
) -> dict[str, Any]:
    """Return the numbers of an evaluation over any classes, each against all others.

    Parameters
    ----------
    probabilities
        (n, n_classes).
    label
        (n,) true index.
    classes
        Their names.
    """
    predicted = probabilities.argmax(axis=1)
    areas, rejections = {}, {}
    for index, name in enumerate(classes):
        one, others = (probabilities[choice, index] for choice in (label == index, label != index))
        areas[name] = metrics.auc(one, others)
        rejections[name] = {
            f"at_{efficiency:.0%}": metrics.rejection(one, others, efficiency)
            for efficiency in EFFICIENCIES
        }
    known = [area for area in areas.values() if area is not None]
    return {
        "jets": len(label),
        "loss": metrics.cross_entropy(probabilities, label),
        "accuracy": float((predicted == label).mean()),
        "auc": float(np.mean(known)) if known else None,
        "auc_of_classes": areas,
        "rejection_of_other_classes": rejections,
        "confusion": {
            "classes": list(classes),
            "counts": metrics.confusion(label, predicted, len(classes)).tolist(),
        },
        "calibration": metrics.calibration(probabilities.max(axis=1), predicted == label),
    }


def class_curves(
    probabilities: np.ndarray, label: np.ndarray, classes: tuple[str, ...]
) -> dict[str, tuple[np.ndarray, np.ndarray, float | None]]:
    """Return the ROC curve of each class against all others; of two classes the second's."""
    curves = {}
    for index, name in enumerate(classes):
        one, others = (probabilities[choice, index] for choice in (label == index, label != index))
        if len(one) and len(others) and (len(classes) > 2 or index == 1):
            rest = classes[0] if len(classes) == 2 else "others"
            curves[f"{name} vs {rest}"] = (*metrics.roc(one, others), metrics.auc(one, others))
    return curves


def merged_accuracy(probabilities: np.ndarray, label: np.ndarray) -> float:
    """Return the accuracy with all QCD labels taken as one, their probabilities added."""
    resonances = probabilities[:, list(RESONANCE_LABELS)]
    qcd = probabilities[:, list(QCD_LABELS)].sum(axis=1)
    best = np.array(RESONANCE_LABELS)[resonances.argmax(axis=1)]
    is_qcd = np.isin(label, QCD_LABELS)
    says_qcd = qcd > resonances.max(axis=1)
    return float(np.where(says_qcd, is_qcd, best == label).mean())


def versus_qcd(probabilities: np.ndarray, label: np.ndarray) -> dict[str, dict[str, Any]]:
    """Return jets, AUC and background rejections of each resonance label against QCD."""
    qcd = probabilities[np.isin(label, QCD_LABELS)]
    results = {}
    for index in RESONANCE_LABELS:
        signal = metrics.discriminant(probabilities[label == index], (index,), QCD_LABELS)
        background = metrics.discriminant(qcd, (index,), QCD_LABELS)
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
    name: str,
    edges: tuple[float, ...],
    values: np.ndarray,
    probabilities: np.ndarray,
    label: np.ndarray,
) -> list[dict[str, Any]]:
    """Return accuracy and `versus_qcd` in bins of a jet's quantity."""
    results = []
    for low, high in pairwise(edges):
        inside = (values >= low) & (values < high)
        chosen, truth = probabilities[inside], label[inside]
        correct = chosen.argmax(axis=1) == truth
        results.append(
            {
                "variable": name,
                "low": low,
                "high": high,
                "jets": len(truth),
                "accuracy": float(correct.mean()) if len(truth) else None,
                "versus_qcd": versus_qcd(chosen, truth),
            }
        )
    return results


def roc_curves(
    probabilities: np.ndarray, label: np.ndarray
) -> dict[str, tuple[np.ndarray, np.ndarray, float | None]]:
    """Return the ROC curves of the labels shown against QCD, where there are jets of both."""
    qcd = probabilities[np.isin(label, QCD_LABELS)]
    curves = {}
    for name in SHOWN:
        index = INDEX[name]
        signal = metrics.discriminant(probabilities[label == index], (index,), QCD_LABELS)
        background = metrics.discriminant(qcd, (index,), QCD_LABELS)
        if len(signal) and len(background):
            curves[f"{name} vs QCD"] = (
                *metrics.roc(signal, background),
                metrics.auc(signal, background),
            )
    return curves
