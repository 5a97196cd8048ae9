"""Boosted trees on event objects and on invariant masses, to tell classes of events.

The masses are those of the resonances that a lepton, missing momentum, two b-jets and two light
jets can come from: W, top, h, H± and H⁰.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ntuplizer.slots import B_JET, LEPTON, LIGHT_JET, MISSING
from training.data.object_features import ETA, MASS, PHI, PT, TYPE, present

W_MASS = 80.38  # GeV
BOOTSTRAP_SAMPLES = 200
# Fixed: with early stopping, part of the labels would go into choosing a length. Small, since more
# leaves learn noise at a few thousand events.
TREES = {"max_iter": 100, "learning_rate": 0.05, "max_leaf_nodes": 8, "min_samples_leaf": 20}


def kinematic_features(objects: np.ndarray) -> dict[str, np.ndarray]:
    """Return pT, η, φ and mass of each slot as they are; NaN where a slot is empty.

    Parameters
    ----------
    objects
        (n_events, n_slots, 5): pT, η, φ, mass and type.

    Returns
    -------
    dict
        Name → float64 (n_events,).
    """
    values = np.where(present(objects)[..., None], objects, np.nan).astype(np.float64)
    names = {"pt": PT, "eta": ETA, "phi": PHI, "mass": MASS}
    return {
        f"{name}_{slot}": values[:, slot, i]
        for slot in range(objects.shape[1])
        for name, i in names.items()
    }


def mass_features(objects: np.ndarray) -> dict[str, np.ndarray]:
    """Return masses of combinations of the leading objects, in GeV; NaN where one is missing.

    Parameters
    ----------
    objects
        (n_events, n_slots, 5): the first lepton, the first two b-jets and the first two other jets
        are taken.

    Returns
    -------
    dict
        Name → float64 (n_events,). `nu` is the neutrino of `neutrino`.
    """
    lepton, missing, b1, b2, j1, j2 = (
        _nth(objects, kind, n)
        for kind, n in ((LEPTON, 0), (MISSING, 0), (B_JET, 0), (B_JET, 1), (LIGHT_JET, 0),
                        (LIGHT_JET, 1))
    )  # fmt: skip
    p_lepton, p_missing = _momentum(lepton), _momentum(missing)
    jj, bb, lnu = (
        _momentum(j1) + _momentum(j2),
        _momentum(b1) + _momentum(b2),
        p_lepton + neutrino(p_lepton, p_missing),
    )
    p_b1, p_b2 = _momentum(b1), _momentum(b2)
    combinations = {
        "jj": jj,
        "bb": bb,
        "lnu": lnu,
        "b1jj": p_b1 + jj,
        "b2jj": p_b2 + jj,
        "b1lnu": p_b1 + lnu,
        "b2lnu": p_b2 + lnu,
        "b1l": p_b1 + p_lepton,
        "b2l": p_b2 + p_lepton,
        "bbjj": bb + jj,
        "bblnu": bb + lnu,
        "jjlnu": jj + lnu,
        "bbjjlnu": bb + jj + lnu,
    }
    masses = {f"m_{name}": _mass(momentum) for name, momentum in combinations.items()}
    return masses | {"mt_lnu": _transverse_mass(lepton, missing)}


def neutrino(lepton: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Return the neutrino of W → ℓν whose transverse momentum is what is missing.

    Its pz follows from the mass of the W: the smaller of two solutions, or the real part of a
    complex pair.

    Parameters
    ----------
    lepton, missing
        (n, 4): E, px, py, pz in GeV; the lepton's mass is neglected.

    Returns
    -------
    numpy.ndarray
        (n, 4): E, px, py, pz.
    """
    energy, px, py, pz = lepton.T
    pt2, missing_pt2 = px**2 + py**2, missing[:, 1] ** 2 + missing[:, 2] ** 2
    energy = np.sqrt(pt2 + pz**2)
    half = W_MASS**2 / 2 + px * missing[:, 1] + py * missing[:, 2]
    root = np.sqrt(np.maximum(half**2 - pt2 * missing_pt2, 0)) * energy
    solutions = np.stack([half * pz - root, half * pz + root]) / pt2
    smaller = np.argmin(np.abs(np.nan_to_num(solutions)), axis=0)
    own_pz = solutions[smaller, np.arange(len(pz))]
    own_energy = np.sqrt(missing_pt2 + own_pz**2)
    return np.stack([own_energy, missing[:, 1], missing[:, 2], own_pz], axis=1)


Features = Callable[[np.ndarray], Mapping[str, np.ndarray]]


def _both(objects: np.ndarray) -> dict[str, np.ndarray]:
    return kinematic_features(objects) | mass_features(objects)


FEATURE_SETS: dict[str, Features] = {
    "objects": kinematic_features,
    "masses": mass_features,
    "objects and masses": _both,
}


@dataclass(frozen=True)
class TreeScore:
    """How well trees tell two classes.

    Attributes
    ----------
    features
        The name of the set of features.
    events_per_class
        Training events of each class.
    seed
        Of the training events drawn and of the trees.
    auc
        Area under the ROC curve on the test events.
    auc_error
        Its statistical error from the test events, by bootstrap.
    """

    features: str
    events_per_class: int
    seed: int
    auc: float
    auc_error: float


def tree_score(
    features: str,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    events_per_class: int,
    seed: int,
) -> TreeScore:
    """Train boosted trees on some events and score others.

    Parameters
    ----------
    features
        A name in `FEATURE_SETS`.
    train, test
        Objects (n, n_slots, 5) and labels (n,), 0 or 1.
    events_per_class
        How many of each class to train on, drawn without replacement by the seed.
    seed
        Of this drawing and of the trees.

    Raises
    ------
    ValueError
        When a class has fewer events.
    """
    rng = np.random.default_rng(seed)
    labels = train[1]
    chosen = np.concatenate(
        [
            rng.choice(np.flatnonzero(labels == label), events_per_class, replace=False)
            for label in (0, 1)
        ]
    )
    scores = fit_trees(features, train[0][chosen], labels[chosen], seed)(test[0])
    auc, error = auc_with_error(test[1], scores, np.random.default_rng(seed))
    return TreeScore(features, events_per_class, seed, auc, error)


def fit_trees(
    features: str, objects: np.ndarray, labels: np.ndarray, seed: int
) -> Callable[[np.ndarray], np.ndarray]:
    """Train boosted trees and return what scores events.

    Parameters
    ----------
    features
        A name in `FEATURE_SETS`.
    objects, labels
        (n, n_slots, 5) and (n,), 0 or 1.
    seed
        Of the trees.

    Returns
    -------
    callable
        From objects, (m, n_slots, 5), to the probability of class 1, (m,).
    """
    # A third of a second that a training, which imports this module too, need not wait.
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(random_state=seed, early_stopping=False, **TREES)
    model.fit(_table(features, objects), labels)
    return lambda others: model.predict_proba(_table(features, others))[:, 1]


def auc_with_error(
    labels: np.ndarray,
    scores: np.ndarray,
    rng: np.random.Generator,
    samples: int = BOOTSTRAP_SAMPLES,
) -> tuple[float, float]:
    """Return the area under the ROC curve and its error.

    Parameters
    ----------
    labels, scores
        (n,): 0 or 1, and any numbers that grow with class 1.
    rng
        Draws the bootstrap samples, within each class.
    samples
        How many.

    Returns
    -------
    auc, error : float
        Ties count one half. The error is the standard deviation over bootstrap samples.
    """
    _, place = np.unique(scores, return_inverse=True)
    n_places = place.max() + 1
    classes = [place[labels == label] for label in (0, 1)]

    def area(negatives: np.ndarray, positives: np.ndarray) -> float:
        below = np.bincount(negatives, minlength=n_places)
        at = np.bincount(positives, minlength=n_places)
        pairs = at @ (np.cumsum(below) - below / 2)
        return float(pairs / (len(negatives) * len(positives)))

    drawn = [
        area(*(own[rng.integers(len(own), size=len(own))] for own in classes))
        for _ in range(samples)
    ]
    return area(*classes), float(np.std(drawn, ddof=1))


def summarise(scores: Sequence[TreeScore]) -> dict[tuple[str, int], tuple[float, float]]:
    """Return mean and standard error over seeds, by features and training events per class.

    The standard error is that of training: the test events are the same for all seeds.
    """
    groups: dict[tuple[str, int], list[float]] = {}
    for score in scores:
        groups.setdefault((score.features, score.events_per_class), []).append(score.auc)
    return {
        key: (float(np.mean(aucs)), float(np.std(aucs, ddof=1) / np.sqrt(len(aucs))))
        for key, aucs in groups.items()
        if len(aucs) > 1
    }


def _table(features: str, objects: np.ndarray) -> np.ndarray:
    return np.column_stack(list(FEATURE_SETS[features](objects).values()))


def _nth(objects: np.ndarray, kind: int, n: int) -> np.ndarray:
    """Return the nth object of a type in each event, float64 (n_events, 5); NaN for none."""
    own = objects[..., TYPE] == kind
    wanted = own & (np.cumsum(own, axis=1) == n + 1)
    slot = np.argmax(wanted, axis=1)
    found = objects[np.arange(len(objects)), slot].astype(np.float64)
    return np.where(wanted.any(axis=1)[:, None], found, np.nan)


def _momentum(found: np.ndarray) -> np.ndarray:
    """Return E, px, py, pz of objects, (n, 4)."""
    pt, eta, phi, mass = found[:, PT], found[:, ETA], found[:, PHI], found[:, MASS]
    pz = pt * np.sinh(eta)
    energy = np.sqrt(np.maximum(pt**2 + pz**2 + mass * np.abs(mass), 0))
    return np.stack([energy, pt * np.cos(phi), pt * np.sin(phi), pz], axis=1)


def _mass(momentum: np.ndarray) -> np.ndarray:
    squared = momentum[:, 0] ** 2 - (momentum[:, 1:] ** 2).sum(axis=1)
    return np.sqrt(np.maximum(squared, 0))


def _transverse_mass(lepton: np.ndarray, missing: np.ndarray) -> np.ndarray:
    cosine = np.cos(lepton[:, PHI] - missing[:, PHI])
    return np.sqrt(np.maximum(2 * lepton[:, PT] * missing[:, PT] * (1 - cosine), 0))
