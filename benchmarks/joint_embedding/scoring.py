"""Linear probes, what is tuned for them, and how probabilities are judged."""

from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from training.evaluate.metrics import rejection

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
FIFTHS, FEW = 5, 2_000


def halves(rows: int, fold: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return which labels are learned from and which, a fifth, are held out while tuning."""
    fifths = np.array_split(np.random.default_rng(0).permutation(rows), FIFTHS)
    held = fifths.pop(fold)
    return np.concatenate(fifths), held


def cross_entropy(probabilities: np.ndarray, label: np.ndarray) -> float:
    """Return the mean of −ln p of the true class."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(label)), label], 1e-9)).mean())


def linear(x: np.ndarray, label: np.ndarray, strength: float) -> Any:
    """Fit logistic regression on standardised numbers to convergence."""
    scaler = StandardScaler().fit(x)
    model = LogisticRegression(C=strength, max_iter=1000).fit(scaler.transform(x), label)
    return lambda other: model.predict_proba(scaler.transform(other))


def tuned_strength(x: np.ndarray, label: np.ndarray) -> float:
    """Return the strength that cross-validation finds best; one fold of many labels is enough."""
    folds = [halves(len(label), i) for i in range(FIFTHS if len(label) <= FEW else 1)]
    losses = [
        sum(
            cross_entropy(linear(x[learn], label[learn], strength)(x[held]), label[held])
            for learn, held in folds
        )
        for strength in STRENGTHS
    ]
    return STRENGTHS[int(np.argmin(losses))]


def scores(probabilities: np.ndarray, label: np.ndarray) -> dict[str, float | None]:
    """Return accuracy, the mean AUC of each class against the others, and rejections.

    Rejections are those of the first of two classes, or geometric means over classes.
    """
    classes = range(probabilities.shape[1])
    areas = [roc_auc_score(label == i, probabilities[:, i]) for i in classes]
    found = {"accuracy": float((probabilities.argmax(1) == label).mean()), "auc": np.mean(areas)}
    for efficiency in (0.3, 0.5):
        rejections = [
            rejection(probabilities[label == i, i], probabilities[label != i, i], efficiency)
            for i in (classes if len(classes) > 2 else [1])
        ]
        known = [np.log(r) for r in rejections if r]
        name = f"rejection_at_{efficiency:.0%}"
        found[name] = float(np.exp(np.mean(known))) if known else None
    return {k: None if v is None else float(v) for k, v in found.items()}


def explained(x: np.ndarray, told: np.ndarray, y: np.ndarray, held: np.ndarray) -> float:
    """Return the share of the variance of numbers (n, k) that a linear map tells, their mean."""
    scaler = StandardScaler().fit(x)
    found = Ridge().fit(scaler.transform(x), told).predict(scaler.transform(y))
    return float((1 - ((found - held) ** 2).mean(axis=0) / held.var(axis=0)).mean())
