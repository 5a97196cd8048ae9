"""How well hidden types and kinematics are guessed, beside guesses that need no network."""

from pathlib import Path

import numpy as np

from ntuplizer.slots import B_JET, LEPTON, LIGHT_JET, MISSING
from training.data.object_features import FEATURES, FILLED, MASS, PT, TYPE, object_features, present
from training.evaluate import figures, metrics
from training.task import Evaluation

NAMES = {LEPTON: "lepton", B_JET: "b-jet", LIGHT_JET: "light jet", MISSING: "missing momentum"}
KINEMATICS = ("log_pt", "eta", "sin_phi", "cos_phi", "log_mass")
# GeV: leptons are lighter, jets heavier.
LIGHTEST_JET = 0.2


def evaluate_types(
    objects: np.ndarray, hidden: np.ndarray, guess: np.ndarray, folder: Path
) -> Evaluation:
    """Measure guesses of hidden types.

    What needs no network is given the frequencies of these very objects, which flatters it:
    `majority`, the most frequent type; `pt_order`, the most frequent type of the hardest object, of
    the second one, ...; `mass`, which knows that missing momentum has no mass, leptons a small one
    and takes the rest for the more frequent kind of jet.

    Parameters
    ----------
    objects
        (n_events, n_slots, 5).
    hidden, guess
        (n_events, n_slots): whose type was hidden, and which was guessed.
    folder
        For the figure `types`.
    """
    types = objects[..., TYPE].astype(int)
    rank = _rank(np.where(present(objects), objects[..., PT], -np.inf))
    hidden = hidden.astype(bool)
    truth, guessed = types[hidden], guess[hidden].astype(int)
    is_jet = np.isin(truth, (B_JET, LIGHT_JET))
    jet = _most_frequent(truth[is_jet])
    mass = objects[..., MASS][hidden]
    by_mass = np.where(mass == 0, MISSING, np.where(mass < LIGHTEST_JET, LEPTON, jet))
    by_rank = {place: _most_frequent(truth[rank[hidden] == place]) for place in np.unique(rank)}
    by_order = np.array([by_rank[place] for place in rank[hidden]], int)
    others = {
        "majority": np.full(len(truth), _most_frequent(truth)),
        "pt_order": by_order,
        "mass": by_mass,
    }
    # Jets can be told apart by nothing as simple: which of them are b-jets?
    kinds = [NAMES[kind] for kind in FILLED]
    counts = metrics.confusion(
        np.searchsorted(FILLED, truth), np.searchsorted(FILLED, guessed), len(FILLED)
    )
    figures.draw_confusion(folder / "types", counts, kinds, "type")
    summary: dict[str, float | None] = {
        "events": len(objects),
        "hidden_types": len(truth),
        "accuracy": _share(guessed == truth),
        **{f"accuracy_of_{name}": _share(other == truth) for name, other in others.items()},
        "accuracy_on_jets": _share((guessed == truth)[is_jet]),
        **{
            f"accuracy_on_jets_of_{name}": _share((other == truth)[is_jet])
            for name, other in others.items()
            if name != "majority"
        },
    }
    return Evaluation(
        summary=summary,
        figures={"types": "Hidden types of objects: the truth in rows, which sum to one."},
        details={"confusion": {"types": kinds, "counts": counts.tolist()}},
    )


def evaluate_kinematics(
    objects: np.ndarray, hidden: np.ndarray, guess: np.ndarray, folder: Path
) -> Evaluation:
    """Measure guesses of hidden kinematics: the share of their variance that is explained.

    Of each quantity the mean of its type is taken off, which needs no network: what is left counts.

    Parameters
    ----------
    objects
        (n_events, n_slots, 5).
    hidden
        (n_events, n_slots): of which objects.
    guess
        (n_events, 5 n_slots): features, object by object.
    folder
        For the figure `kinematics`.
    """
    hidden = hidden.astype(bool)
    features = object_features(objects, 0.0)[..., : len(KINEMATICS)]
    truth = features[hidden].astype(np.float64)
    guessed = guess.reshape(features.shape)[hidden]
    kind = objects[..., TYPE][hidden]
    mean = np.zeros_like(truth)
    for code in np.unique(kind):
        mean[kind == code] = truth[kind == code].mean(axis=0)
    error, spread = (np.square(truth - known).sum(axis=0) for known in (guessed, mean))
    # What does not vary, but for rounding, cannot be explained.
    varies = spread > 1e-12 * np.square(truth).sum(axis=0)
    explained = [
        1 - float(error[i] / spread[i]) if varies[i] else None for i in range(len(KINEMATICS))
    ]
    with figures.figure(folder / "kinematics") as axes:
        axes.bar(range(len(KINEMATICS)), [value or 0.0 for value in explained])
        axes.set_xticks(range(len(KINEMATICS)), FEATURES[: len(KINEMATICS)], rotation=20)
        axes.set_ylabel("Explained share of the variance")
    return Evaluation(
        summary={
            "events": len(objects),
            "hidden_objects": len(truth),
            **{
                f"explained_{name}": value
                for name, value in zip(KINEMATICS, explained, strict=True)
            },
        },
        figures={
            "kinematics": "Share of the variance of hidden kinematics, around the mean of the "
            "object's type, that is explained by the other objects."
        },
    )


def _rank(pt: np.ndarray) -> np.ndarray:
    """Return each object's place in its event, (n_events, n_slots), 0 for the hardest."""
    return np.argsort(np.argsort(-pt, axis=1, kind="stable"), axis=1)


def _most_frequent(values: np.ndarray) -> int:
    return int(np.bincount(values).argmax()) if len(values) else FILLED[0]


def _share(right: np.ndarray) -> float | None:
    return float(right.mean()) if len(right) else None
