"""Numbers that say how well a classifier does. A number that the sample cannot give is None."""

import numpy as np
from scipy.stats import rankdata

# Below this many jets an efficiency of 30 % is a matter of luck.
MIN_JETS = 10


def cross_entropy(probabilities: np.ndarray, label: np.ndarray) -> float:
    """Return the mean of -ln(probability of the true class), (n, n_classes) and (n,)."""
    of_truth = np.take_along_axis(probabilities, label[:, None], axis=1)
    return float(-np.log(np.maximum(of_truth, 1e-30)).mean())


def auc(signal: np.ndarray, background: np.ndarray) -> float | None:
    """Return the area under the ROC curve: how often signal scores above background.

    Parameters
    ----------
    signal, background
        Scores, (n,) and (m,); ties count half.
    """
    if not len(signal) or not len(background):
        return None
    ranks = rankdata(np.concatenate((signal, background)))
    pairs = len(signal) * len(background)
    return float((ranks[: len(signal)].sum() - len(signal) * (len(signal) + 1) / 2) / pairs)


def roc(signal: np.ndarray, background: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return signal and background efficiency at every threshold, both rising from 0 to 1."""
    scores = np.concatenate((signal, background))
    order = np.argsort(-scores, kind="stable")
    is_signal = np.arange(len(scores)) < len(signal)
    # Equal scores pass together.
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    passed_signal = np.cumsum(is_signal[order])[last] / max(len(signal), 1)
    passed_background = np.cumsum(~is_signal[order])[last] / max(len(background), 1)
    return np.append(0.0, passed_signal), np.append(0.0, passed_background)


def rejection(signal: np.ndarray, background: np.ndarray, efficiency: float) -> float | None:
    """Return 1 / (background efficiency) at a signal efficiency.

    None when either sample is small or no background jet passes: the rejection is then unknown,
    not infinite.
    """
    if len(signal) < MIN_JETS or len(background) < MIN_JETS:
        return None
    threshold = np.quantile(signal, 1 - efficiency, method="lower")
    passed = np.count_nonzero(background >= threshold)
    return float(len(background) / passed) if passed else None


def discriminant(
    probabilities: np.ndarray, signal: tuple[int, ...], background: tuple[int, ...]
) -> np.ndarray:
    """Return D = Σ signal / (Σ signal + Σ background) of (n, n_labels) probabilities."""
    wanted = probabilities[:, list(signal)].sum(axis=1, dtype=np.float64)
    unwanted = probabilities[:, list(background)].sum(axis=1, dtype=np.float64)
    return wanted / np.maximum(wanted + unwanted, np.finfo(np.float64).tiny)


def group_sums(probabilities: np.ndarray, groups: dict[str, tuple[int, ...]]) -> np.ndarray:
    """Add up (n, n_labels) probabilities within groups of labels: (n, n_groups)."""
    return np.stack([probabilities[:, list(g)].sum(axis=1) for g in groups.values()], axis=1)


def confusion(true: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Return counts, (classes, classes): row is the truth, column the prediction."""
    return np.bincount(true * classes + predicted, minlength=classes**2).reshape(classes, classes)


def calibration(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> dict[str, list]:
    """Compare confidence with accuracy.

    Parameters
    ----------
    confidence
        (n,) probability of the predicted label.
    correct
        (n,) whether it is the true one.
    bins
        Equal steps of confidence.

    Returns
    -------
    dict
        Per bin `jets`, mean `confidence` and `accuracy` (None where empty), and the expected
        calibration error `ece`: the mean |difference| over jets (arXiv:1706.04599).
    """
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    jets = np.bincount(index, minlength=bins)
    mean = np.bincount(index, confidence, bins) / np.maximum(jets, 1)
    accuracy = np.bincount(index, correct, bins) / np.maximum(jets, 1)
    return {
        "ece": float(np.average(np.abs(mean - accuracy), weights=jets)) if jets.any() else None,
        "jets": jets.tolist(),
        "confidence": [float(x) if n else None for x, n in zip(mean, jets, strict=True)],
        "accuracy": [float(x) if n else None for x, n in zip(accuracy, jets, strict=True)],
    }


def sculpting(
    sdmass: np.ndarray, score: np.ndarray, kept: float, edges: np.ndarray
) -> dict[str, object]:
    """Say how a cut on a score changes the mass spectrum of background jets.

    Parameters
    ----------
    sdmass, score
        Of background jets, (n,).
    kept
        Share of the jets that pass the cut.
    edges
        Of the mass bins, GeV.

    Returns
    -------
    dict
        Normalised spectra `all` and `passed`, and their Jensen-Shannon `divergence` in bits: 0 for
        equal shapes, 1 for disjoint ones; None for a small sample.
    """
    passed = score >= np.quantile(score, 1 - kept) if len(score) else np.zeros(0, bool)
    spectra = [np.histogram(sdmass[choice], edges)[0].astype(float) for choice in (..., passed)]
    if min(s.sum() for s in spectra) < MIN_JETS:
        return {"kept": kept, "divergence": None, "all": None, "passed": None}
    before, after = (s / s.sum() for s in spectra)
    middle = (before + after) / 2
    divergence = sum(
        0.5 * np.sum(p[p > 0] * np.log2(p[p > 0] / middle[p > 0])) for p in (before, after)
    )
    return {
        "kept": kept,
        "divergence": float(divergence),
        "all": before.tolist(),
        "passed": after.tolist(),
    }
