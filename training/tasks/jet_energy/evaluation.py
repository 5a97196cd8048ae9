"""What a network of jet energies is worth, beside the standard correction and two controls."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from training.evaluate.figures import figure, save, style
from training.jec.calibration import GEN_MASS_MIN, LARGEST_TARGET, QUANTILES
from training.jec.controls import (
    PRIOR_INPUTS,
    fit_prior_network,
    fit_trees,
    predict_trees,
)
from training.jec.figures import response_figures
from training.jec.response import (
    ETA_REGIONS,
    EventBootstrap,
    ResponseJets,
    evaluate_response,
    summarise_replicas,
    wide_name,
)
from training.jec.standard import FEWEST_JETS, StandardCorrection, fit_standard, lowest_gen
from training.task import Evaluation
from training.tasks.jet_energy.features import SUMMARY

# Of the summary: central jets of more than 30 GeV.
REGION = wide_name(*ETA_REGIONS[0])
WIDE = wide_name(30, np.inf)
BOTTOM = 5
# Of fewer batches nothing can be said of how they vary.
FEWEST_BATCHES = 20

Rows = Mapping[str, np.ndarray]


def evaluate_corrections(
    rows: Rows, training: Rows, folder: Path, *, offset: bool, seed: int, threads: int | None
) -> Evaluation:
    """Measure a network.

    What the controls predict is calibrated like the jets themselves, by the median response in |η|
    and pT of the training jets; the network comes calibrated, by those that it was validated on.
    Uncalibrated, jets of a falling spectrum are drawn to where most jets are, which looks like
    resolution.

    Parameters
    ----------
    rows
        Jets to measure on: `jet_pt`, `genjet_pt` (GeV), `target`, `factor`, `flavour`, `event`,
        `batch`, `factor_uncalibrated`, (n,) each, `summary` (n, `SUMMARY`), and of the other heads
        `quantiles`, `factor_with_neutrinos` and `target_neutrinos`, `mass_factor` and
        `target_mass`.
    training
        Jets that the network was trained on, without flavour and event, and without other heads.
    folder
        For the figures.
    offset
        Whether the standard correction begins with L1.
    seed, threads
        Of the controls, and to fit them with.
    """
    standard = fit_standard(*_kinematics(training), *(_pileup(training) if offset else ()))
    known = dict(zip(SUMMARY, training["summary"].T, strict=True))
    asked = dict(zip(SUMMARY, rows["summary"].T, strict=True))
    trees = fit_trees(known, training["target"], seed, threads)
    prior = fit_prior_network(known, training["target"], seed)
    pt = rows["jet_pt"].astype(np.float64)
    factor = {
        "standard": _standard_factor(standard, rows, offset),
        "network": rows["factor"].astype(np.float64),
        "network uncalibrated": rows["factor_uncalibrated"].astype(np.float64),
        "trees": _calibrated(
            rows,
            np.exp(predict_trees(trees, asked)),
            training,
            np.exp(predict_trees(trees, known)),
        ),
        "only " + ", ".join(PRIOR_INPUTS): _calibrated(
            rows, np.exp(prior.predict(asked)), training, np.exp(prior.predict(known))
        ),
    }
    unit = resampled(rows)
    jets = ResponseJets(
        rows["genjet_pt"].astype(np.float64),
        _column(rows, "eta"),
        rows["flavour"],
        unit,
    )
    result = evaluate_response(jets, {name: pt * own for name, own in factor.items()})
    figures = {}
    with style():
        for stem, caption, canvas in response_figures(result):
            save(canvas, folder / stem)
            figures[stem] = caption
    result["events"] = len(np.unique(rows["event"]))
    result["resampled"] = "batches" if unit is rows["batch"] else "events"
    details: dict[str, object] = {"response": result, "standard": standard.as_dict()}
    summary: dict[str, float | None] = {
        "jets": len(pt),
        "error": float(np.abs(np.log(rows["factor"]) - rows["target"]).mean()),
        **_summary(result, tuple(factor)),
    }
    bootstrap = EventBootstrap.of(unit)
    if "quantiles" in rows:
        details["quantiles"] = _coverage(rows, bootstrap)
        summary["coverage"] = float(_covered(rows).mean())
        _draw_coverage(rows, folder / "coverage")
        figures["coverage"] = (
            "Share of jets whose factor lies in the predicted interval of 68 %, against pT."
        )
    if "factor_with_neutrinos" in rows:
        bottom = np.flatnonzero(rows["flavour"] == BOTTOM)
        gain = _compare(
            rows["factor_with_neutrinos"] * np.exp(-rows["target_neutrinos"]),
            factor["standard"] * np.exp(-rows["target_neutrinos"]),
            bottom,
            bootstrap,
        )
        details["with_neutrinos_b"] = gain
        summary["improvement_b_with_neutrinos"] = gain["improvement"]
    if "mass_factor" in rows:
        gains = _mass_gains(rows, training, factor["standard"], bootstrap)
        against = min(gains, key=lambda name: gains[name]["improvement"] or 0.0)
        details["mass"] = {"against": against, **gains}
        summary["improvement_mass"] = gains[against]["improvement"]
    return Evaluation(summary=summary, figures=figures, details=details)


def _mass_gains(
    rows: Rows, training: Rows, standard: np.ndarray, bootstrap: EventBootstrap
) -> dict[str, dict[str, float | None]]:
    """Compare masses with those that are scaled as pT is, and with those of a closed median."""
    mass, eta = _column(rows, "mass"), _column(rows, "eta")
    true = np.exp(-rows["target_mass"].astype(np.float64))
    heavy = np.flatnonzero(
        (np.abs(rows["target_mass"]) < LARGEST_TARGET) & (mass / true > GEN_MASS_MIN)
    )
    baselines = {"scaled as pT": standard}
    closing = _standard_mass(training)
    if closing is not None:
        baselines["median closed"] = closing.factor(mass, eta)
    return {
        name: _compare(rows["mass_factor"] * true, own * true, heavy, bootstrap)
        for name, own in baselines.items()
    }


def resampled(rows: Rows) -> np.ndarray:
    """Return the number of what is resampled for errors, int64 (n_jets,): batches, or else events.

    The events of a simulated batch share a narrow window of pT, so that the mix of leading jets and
    radiation at a given pT fluctuates with the batches and not only with the events.
    """
    return rows["batch"] if len(np.unique(rows["batch"])) >= FEWEST_BATCHES else rows["event"]


def _column(rows: Rows, name: str) -> np.ndarray:
    return rows["summary"][:, SUMMARY.index(name)].astype(np.float64)


def _kinematics(rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return rows["jet_pt"], _column(rows, "eta"), rows["genjet_pt"]


def _pileup(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    return _column(rows, "rho"), _column(rows, "area")


def _standard_factor(standard: StandardCorrection, rows: Rows, offset: bool) -> np.ndarray:
    pileup = _pileup(rows) if offset else ()
    return standard.factor(rows["jet_pt"], _column(rows, "eta"), *pileup)


def _standard_mass(training: Rows) -> StandardCorrection | None:
    """Return what closes the median mass of the training jets, in |η| and mass, if it can."""
    mass = _column(training, "mass")
    mass_gen = mass * np.exp(training["target_mass"])
    used = np.abs(training["target_mass"]) < LARGEST_TARGET
    used &= mass_gen > GEN_MASS_MIN
    eta = _column(training, "eta")
    if used.sum() < FEWEST_JETS:
        return None
    return fit_standard(mass[used], eta[used], mass_gen[used], pt_gen_min=GEN_MASS_MIN)


def _calibrated(
    rows: Rows, factor: np.ndarray, training: Rows, training_factor: np.ndarray
) -> np.ndarray:
    """Return factors times what closes the median response of the training jets."""
    pt, eta, pt_gen = _kinematics(training)
    corrected = pt.astype(np.float64) * training_factor
    closing = fit_standard(corrected, eta, pt_gen, pt_gen_min=lowest_gen(pt))
    corrected = rows["jet_pt"].astype(np.float64) * factor
    return factor * closing.factor(corrected, _column(rows, "eta"))


def _summary(result: Mapping, names: tuple[str, ...]) -> dict[str, float | None]:
    """Return what studies and the report compare, of central jets."""
    region = result["regions"][REGION]
    trees, prior = names[-2:]
    gain = {
        "improvement": "network",
        "improvement_trees": trees,
        "improvement_knowing_little": prior,
    }
    numbers: dict[str, float | None] = {}
    for key, name in gain.items():
        numbers[key] = region["improvement"]["all"][name][WIDE]["value"]
    numbers["improvement_uncertainty"] = region["improvement"]["all"]["network"][WIDE]["error"]
    for key, name in (("", "network"), ("_standard", "standard")):
        numbers[f"worst_closure{key}"] = region["closure"][name]["worst"]
    numbers["bins_surely_beyond"] = region["closure"]["network"]["bins_surely_beyond"]
    numbers["flavour_dependence_reduction"] = region["flavour_dependence"]["network"][WIDE][
        "reduction"
    ]["value"]
    return numbers


def _compare(
    response: np.ndarray, baseline: np.ndarray, chosen: np.ndarray, bootstrap: EventBootstrap
) -> dict[str, float | None]:
    """Return how much narrower a response is than another over some jets, in per cent."""
    if len(chosen) < 2:
        return {"jets": len(chosen), "improvement": None, "uncertainty": None, "median": None}
    spread, median = [], 0.0
    for values in (response, baseline):
        lower, middle, upper = bootstrap.quantiles(
            values.astype(np.float64), chosen, (0.25, 0.5, 0.75)
        ).T
        spread.append((upper - lower) / middle)
        median = median or float(middle[0])
    with np.errstate(divide="ignore", invalid="ignore"):  # few jets may be alike
        gain = summarise_replicas(100 * (1 - spread[0] / spread[1]))
    return {
        "jets": len(chosen),
        "improvement": gain["value"],
        "uncertainty": gain["error"],
        "median": median,
    }


def _covered(rows: Rows) -> np.ndarray:
    wanted = np.exp(rows["target"])
    return (wanted >= rows["quantiles"][:, 0]) & (wanted <= rows["quantiles"][:, -1])


def _coverage(rows: Rows, bootstrap: EventBootstrap) -> dict[str, float | list[float]]:
    covered, width = _covered(rows), np.diff(rows["quantiles"][:, [0, -1]], axis=1)[:, 0] / 2
    weights = bootstrap.weights[1:, bootstrap.event]
    replicas = (weights * covered).sum(axis=1) / weights.sum(axis=1)
    return {
        "coverage": float(covered.mean()),
        "uncertainty": float(replicas.std(ddof=1)),
        "median_resolution": float(np.median(width / rows["quantiles"][:, 1])),
    }


def _draw_coverage(rows: Rows, path: Path) -> None:
    edges = np.geomspace(20, 3000, 12)
    place = np.digitize(rows["genjet_pt"], edges) - 1
    inside = (place >= 0) & (place < len(edges) - 1)
    jets = np.bincount(place[inside], minlength=len(edges) - 1)
    covered = np.bincount(place[inside], _covered(rows)[inside], len(edges) - 1)
    filled = jets > 0
    share = covered[filled] / jets[filled]
    error = np.sqrt(share * (1 - share) / jets[filled])
    centres = np.sqrt(edges[1:] * edges[:-1])[filled]
    with figure(path) as axes:
        axes.axhline(QUANTILES[-1] - QUANTILES[0], color="0.6", lw=1)
        axes.errorbar(centres, share, error, fmt="o")
        axes.set(xscale="log", ylim=(0, 1), xlabel=r"GEN-jet $p_\mathrm{T}$ (GeV)")
        axes.set(ylabel="Share of jets in the interval")
