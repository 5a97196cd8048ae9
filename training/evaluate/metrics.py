"""Numbers that say how well a classifier does. A number that the sample cannot give is None."""

import numpy as np

# Below this many rows an efficiency of 30 % is a matter of luck.
MIN_ROWS = 10


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
    # Loads scipy.stats: not at the start of every training.
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(*_joined(signal, background)))


def roc(signal: np.ndarray, background: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return signal and background efficiency over all thresholds, both rising from 0 to 1.

    Points on a straight line between their neighbours are left out.
    """
    from sklearn.metrics import roc_curve

    background_efficiency, signal_efficiency, _ = roc_curve(*_joined(signal, background))
    return signal_efficiency, background_efficiency


def rejection(signal: np.ndarray, background: np.ndarray, efficiency: float) -> float | None:
    """Return 1 / (background efficiency) at a signal efficiency.

    None when either sample is small or no background passes: the rejection is then unknown, not
    infinite.
    """
    if len(signal) < MIN_ROWS or len(background) < MIN_ROWS:
        return None
    threshold = np.quantile(signal, 1 - efficiency, method="lower")
    passed = np.count_nonzero(background >= threshold)
    return float(len(background) / passed) if passed else None


def confusion(true: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Return counts, (classes, classes): row is the truth, column the prediction."""
    pairs = np.bincount(true * classes + predicted, minlength=classes * classes)
    return pairs.reshape(classes, classes)


def calibration(
    confidence: np.ndarray, correct: np.ndarray, bins: int = 15
) -> dict[str, float | list[int] | list[float | None] | None]:
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
        Per bin `rows`, mean `confidence` and `accuracy` (None where empty), and the expected
        calibration error `ece`: the mean |difference| over rows (arXiv:1706.04599).
    """
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    rows = np.bincount(index, minlength=bins)
    mean = np.bincount(index, confidence, bins) / np.maximum(rows, 1)
    accuracy = np.bincount(index, correct, bins) / np.maximum(rows, 1)
    return {
        "ece": float(np.average(np.abs(mean - accuracy), weights=rows)) if rows.any() else None,
        "rows": rows.tolist(),
        "confidence": [float(x) if n else None for x, n in zip(mean, rows, strict=True)],
        "accuracy": [float(x) if n else None for x, n in zip(accuracy, rows, strict=True)],
    }


def _joined(signal: np.ndarray, background: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return truth and scores of both."""
    truth = np.zeros(len(signal) + len(background), np.bool_)
    truth[: len(signal)] = True
    return truth, np.concatenate((signal, background))
