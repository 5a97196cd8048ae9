"""Compare two detector simulations of the same generator events, quantity by quantity.

Both see the same particles, so differences are paired by event and their uncertainty comes from a
bootstrap over events. A boosted-tree classifier looks for what single distributions hide: an area
under its ROC curve of 0.5 means that it cannot tell the two apart.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import uproot
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict

from ntuplizer.ntuplize import ntuplize

CONSTITUENT_TYPES = ("ChargedHadron", "NeutralHadron", "Photon", "Electron", "Muon")
# Bootstrap samples, and exchanges for p-values.
REPLICAS = 300
# How far means and widths may be apart.
MEAN_BOUND, WIDTH_BOUND = 0.01, 0.03
# Of the cumulative distributions.
BINS = 200
FOLDS = 5
SEED = 1

CANDIDATE_LEAVES = ("PT", "Eta", "Charge", "PID", "E", "Eem", "Ehad", "D0", "ErrorD0")


@dataclass(frozen=True)
class Values:
    """A quantity with the event and the run that each value belongs to.

    Attributes
    ----------
    values
        (n,) float64.
    event
        (n,) int64, number of the generator event, the same in both simulations.
    run
        (n,) int64 or one number for all: which of several simulations of the event by the same
        detector, from 0.
    """

    values: NDArray[np.float64]
    event: NDArray[np.int64]
    run: NDArray[np.int64] | int = 0

    def inside(self, low: float, high: float) -> "Values":
        """Return the values of a range, with one run number each."""
        mask = (self.values >= low) & (self.values <= high)
        run = np.broadcast_to(self.run, self.values.shape)
        return Values(self.values[mask], self.event[mask], run[mask])


@dataclass(frozen=True)
class Quantity:
    """What is compared, and the range in which mean, width and histogram are taken."""

    label: str
    low: float
    high: float


QUANTITIES = {
    "response": Quantity(r"jet $p_T$ reco / gen", 0.5, 1.5),
    "mass_response": Quantity(r"soft-drop mass reco / gen ($m_{gen}$ > 30 GeV)", 0, 2),
    "multiplicity": Quantity("constituents per jet", 0, 150),
    "tau21": Quantity(r"$\tau_2 / \tau_1$", 0, 1),
    "constituent_pt": Quantity(r"constituent $\log_{10}(p_T$/GeV)", -1, 3),
    "d0_significance": Quantity(r"$d_0/\sigma$", -6, 6),
    "dz_significance": Quantity(r"$d_z/\sigma$", -6, 6),
    **{
        f"fraction_{kind}": Quantity(f"{label} fraction of jet constituents", 0, 1)
        for kind, label in zip(
            CONSTITUENT_TYPES,
            ("charged hadron", "neutral hadron", "photon", "electron", "muon"),
            strict=True,
        )
    },
    "candidates": Quantity("candidates per event", 0, 500),
    "charged_pt": Quantity(r"charged candidates $\log_{10}(p_T$/GeV)", -1, 3),
    "neutral_pt": Quantity(r"neutral candidates $\log_{10}(p_T$/GeV)", -1, 3),
    "puppi_weight": Quantity("PUPPI weight of neutrals", 0, 1.0001),
    "met": Quantity("PUPPI missing energy (GeV)", 0, 200),
    "ht": Quantity("scalar HT (GeV)", 0, 3000),
}


@dataclass(frozen=True)
class Sample:
    """What one simulation made of some generator events: jets and distributions."""

    jets: pa.Table
    quantities: dict[str, Values]


def read_sample(path: Path, jet_radius: float, first_event: int) -> Sample:
    """Read an event file: jets through the ntuplizer, candidates and missing energy directly.

    Parameters
    ----------
    path
        A Delphes event file.
    jet_radius
        Of the anti-kT jets.
    first_event
        Number that the file's first event gets, to keep the events of several files apart.
    """
    jets, _ = ntuplize(path, "jets", {"jet_radius": jet_radius})
    if jets.num_rows == 0:
        # Without resonances it is a QCD sample.
        jets, _ = ntuplize(path, "jets", {"jet_radius": jet_radius, "qcd_labels": True})
    with uproot.open(path) as file:
        tree = file["Delphes"]
        candidates = tree.arrays(
            [f"ParticleFlowCandidate.{leaf}" for leaf in CANDIDATE_LEAVES], how=dict
        )
        scalars = tree.arrays(["PuppiMissingET.MET", "ScalarHT.HT"], how=dict)
    counts = np.asarray([len(event) for event in candidates["ParticleFlowCandidate.PT"]])
    events = first_event + np.arange(len(counts))
    of_event = np.repeat(events, counts)
    leaf = {
        name.removeprefix("ParticleFlowCandidate."): np.concatenate(
            [np.asarray(event, np.float64) for event in values]
        )
        for name, values in candidates.items()
    }
    charged, kept = leaf["Charge"] != 0, leaf["PT"] > 0
    neutral = ~charged & kept
    tower_energy = leaf["Eem"] + leaf["Ehad"]

    def values(array: NDArray, mask: NDArray) -> Values:
        return Values(array[mask], of_event[mask])

    with np.errstate(divide="ignore", invalid="ignore"):
        log_pt = np.log10(leaf["PT"])
        # Rounded: float32 ratios scatter in the last digit, which the test would take for physics.
        weight = np.round(leaf["E"] / tower_energy, 4)
    quantities = jet_quantities(jets)
    quantities |= {
        "candidates": Values(counts.astype(np.float64), events),
        "charged_pt": values(log_pt, charged & kept),
        "neutral_pt": values(log_pt, neutral),
        "puppi_weight": values(weight, neutral & (tower_energy > 0)),
        "met": Values(
            np.concatenate([np.asarray(m, float) for m in scalars["PuppiMissingET.MET"]]), events
        ),
        "ht": Values(
            np.concatenate([np.asarray(h, float) for h in scalars["ScalarHT.HT"]]), events
        ),
    }
    return Sample(jets, quantities)


def jet_quantities(jets: pa.Table) -> dict[str, Values]:
    """Return the quantities of jets and their constituents."""
    column = {name: jets[name].to_numpy() for name in jets.column_names if "part_" not in name}
    event = jet_groups(jets)
    matched = column["genjet_pt"] > 0
    massive = column["genjet_sdmass"] > 30

    def flat(name: str) -> NDArray:
        return (
            jets[name].combine_chunks().flatten().to_numpy(zero_copy_only=False).astype(np.float64)
        )

    def ratio(numerator: str, denominator: str, mask: NDArray) -> Values:
        return Values(column[numerator][mask] / column[denominator][mask], event[mask])

    def significance(name: str) -> Values:
        error = flat(f"part_{name}err")
        mask = charged & (error > 0)
        return Values(flat(f"part_{name}val")[mask] / error[mask], constituent_event[mask])

    counts = column["jet_nparticles"]
    constituent_event = np.repeat(event, counts)
    pt = np.hypot(flat("part_px"), flat("part_py"))
    charged = flat("part_charge") != 0
    jet = np.repeat(np.arange(len(counts)), counts)
    quantities = {
        "response": ratio("jet_pt", "genjet_pt", matched),
        "mass_response": ratio("jet_sdmass", "genjet_sdmass", massive),
        "multiplicity": Values(counts.astype(np.float64), event),
        "tau21": ratio("jet_tau2", "jet_tau1", column["jet_tau1"] > 0),
        "constituent_pt": Values(np.log10(pt), constituent_event),
        "d0_significance": significance("d0"),
        "dz_significance": significance("dz"),
    }
    for kind in CONSTITUENT_TYPES:
        fraction = np.bincount(jet, flat(f"part_is{kind}"), len(counts)) / counts
        quantities[f"fraction_{kind}"] = Values(fraction, event)
    return quantities


def jet_groups(jets: pa.Table) -> NDArray[np.int64]:
    """Return a number per GEN-jet, alike in both simulations; jets without one are one group.

    The generator event of a jet is no column of the jet file. The bits of its GEN-jet's pT, which
    both simulations share, stand in for it.
    """
    return jets["genjet_pt"].to_numpy().astype(np.float32).view(np.int32).astype(np.int64)


@dataclass(frozen=True)
class Difference:
    """A relative difference and its standard deviation, from the bootstrap."""

    value: float
    error: float

    def verdict(self, bound: float) -> str:
        """Return whether two standard deviations around the value are within ±bound."""
        if abs(self.value) + 2 * self.error <= bound:
            return "met"
        return "missed" if abs(self.value) - 2 * self.error > bound else "open"


@dataclass(frozen=True)
class Comparison:
    """How far the second simulation is from the first in one quantity.

    Attributes
    ----------
    mean
        Difference of means over the larger of |mean| and width.
    width
        Ratio of widths minus one; the width is the standard deviation.
    core
        The same of half the central 68 % interval, which does not heed the tails.
    p_value
        Of the largest distance between the two cumulative distributions (Kolmogorov-Smirnov),
        calibrated by exchanging the simulations of whole events: values of one event are not
        independent, which the textbook distribution of that distance takes them to be.
    """

    mean: Difference
    width: Difference
    core: Difference
    p_value: float


def compare(first: Values, second: Values, quantity: Quantity) -> Comparison:
    """Compare a quantity between two simulations of the same events."""
    first, second = (values.inside(quantity.low, quantity.high) for values in (first, second))
    groups, index = np.unique(np.concatenate([first.event, second.event]), return_inverse=True)
    indices = np.split(index, [len(first.event)])
    sums = [
        np.stack([np.bincount(i, v.values**power, len(groups)) for power in (0, 1, 2)])
        for v, i in zip((first, second), indices, strict=True)
    ]
    counts = _counts(first, second, index, quantity)
    first_runs = int(np.max(first.run)) + 1
    histograms = [part.sum(axis=1).T for part in np.split(counts, [first_runs], axis=1)]
    rng = np.random.Generator(np.random.Philox(SEED))
    weights = rng.multinomial(len(groups), np.full(len(groups), 1 / len(groups)), REPLICAS)

    def differences(weight: NDArray) -> tuple[float, float, float]:
        moments = _moments(*(s @ weight for s in sums))
        return *moments, _core_ratio(*(h @ weight for h in histograms)) - 1

    found = differences(np.ones(len(groups)))
    with np.errstate(divide="ignore", invalid="ignore"):
        replicas = np.array([differences(weight) for weight in weights])
    # Of few values, a sample may hold none or only equal ones.
    errors = np.nanstd(np.where(np.isfinite(replicas), replicas, np.nan), axis=0)
    mean, width, core = (Difference(f, float(e)) for f, e in zip(found, errors, strict=True))
    return Comparison(mean, width, core, _p_value(counts, first_runs, rng))


def _moments(first: NDArray, second: NDArray) -> tuple[float, float]:
    """Return the differences of mean and width, from sums of the powers 0, 1, 2."""
    means = first[1] / first[0], second[1] / second[0]
    widths = [np.sqrt(s[2] / s[0] - m**2) for s, m in zip((first, second), means, strict=True)]
    return (means[1] - means[0]) / max(abs(means[0]), widths[0]), widths[1] / widths[0] - 1


def _core_ratio(first: NDArray, second: NDArray) -> float:
    """Return the ratio of the central 68 % intervals of two histograms."""
    edges = np.arange(BINS + 1)
    low, high = np.transpose(
        [
            np.interp([0.16, 0.84], np.append(0.0, histogram.cumsum() / histogram.sum()), edges)
            for histogram in (first, second)
        ]
    )
    return float((high[1] - low[1]) / (high[0] - low[0]))


def _counts(first: Values, second: Values, index: NDArray, quantity: Quantity) -> NDArray:
    """Return histograms of each event in each run, (n_events, n_runs, BINS), first's runs first."""
    run = np.concatenate([first.run, second.run + np.max(first.run) + 1])
    values = np.concatenate([first.values, second.values])
    scaled = (values - quantity.low) / (quantity.high - quantity.low)
    column = np.minimum((scaled * BINS).astype(int), BINS - 1)
    shape = (index.max() + 1, run.max() + 1, BINS)
    flat = np.ravel_multi_index((index, run, column), shape)
    return np.bincount(flat, minlength=np.prod(shape)).reshape(shape).astype(np.float32)


def _p_value(counts: NDArray, first_runs: int, rng: np.random.Generator) -> float:
    """Return how often exchanged runs are as far apart as those of the two detectors."""
    total = counts.sum(axis=(0, 1))
    n_events, n_runs, _ = counts.shape

    def distance(of_first: NDArray) -> float:
        of_second = total - of_first
        cumulative = of_first.cumsum() / of_first.sum() - of_second.cumsum() / of_second.sum()
        return float(np.abs(cumulative).max())

    found = distance(counts[:, :first_runs].sum(axis=(0, 1)))
    events = np.arange(n_events)[:, None]
    exchanged = [
        distance(counts[events, chosen].sum(axis=(0, 1)))
        for chosen in (
            np.argsort(rng.random((n_events, n_runs)), axis=1)[:, :first_runs]
            for _ in range(REPLICAS)
        )
    ]
    return (1 + sum(d >= found for d in exchanged)) / (1 + REPLICAS)


def jet_features(jets: pa.Table) -> NDArray[np.float64]:
    """Summarise jets and their constituents for the classifier, (n_jets, n_features)."""
    features = [
        jets[name].to_numpy()
        for name in jets.column_names
        if name.startswith("jet_") and name != "jet_label"
    ]
    lists = {name: jets[name].to_pylist() for name in jets.column_names if name.startswith("part_")}
    summaries: list[Callable[[dict[str, NDArray]], float]] = [
        *(lambda c, k=kind: c[f"part_is{k}"].sum() for kind in CONSTITUENT_TYPES),
        *(
            lambda c, k=kind: c["pt"][c[f"part_is{k}"]].sum() / c["pt"].sum()
            for kind in CONSTITUENT_TYPES
        ),
        *(lambda c, i=i: c["pt"][i] if len(c["pt"]) > i else 0 for i in range(4)),
        *(lambda c, q=q: np.quantile(c["pt"], q) for q in (0.1, 0.5)),
        *(
            lambda c, n=name, f=f: f(np.abs(_significance(c, n)), initial=0)
            for name in ("d0", "dz")
            for f in (np.max, np.sum)
        ),
        *(lambda c, n=name: np.mean(c[n]) for name in ("part_d0err", "part_dzerr")),
        *(
            lambda c, n=name: np.sqrt(np.average(c[n] ** 2, weights=c["pt"]))
            for name in ("part_deta", "part_dphi")
        ),
    ]
    rows = []
    for row in range(len(jets)):
        constituents = {name: np.asarray(values[row]) for name, values in lists.items()}
        constituents["pt"] = np.hypot(constituents["part_px"], constituents["part_py"])
        rows.append([summary(constituents) for summary in summaries])
    return np.column_stack([*features, np.asarray(rows, float)])


def _significance(constituents: dict[str, NDArray], name: str) -> NDArray:
    error = constituents[f"part_{name}err"]
    return np.divide(
        constituents[f"part_{name}val"], error, out=np.zeros(len(error)), where=error > 0
    )


def classify(first: pa.Table, second: pa.Table) -> tuple[float, float]:
    """Train boosted trees to tell two simulations' jets apart.

    Jets with the same GEN-jet are kept in one fold, so that nothing is learned by heart.

    Returns
    -------
    tuple
        Cross-validated area under the ROC curve and its standard deviation for two simulations
        that are the same (Hanley and McNeil, Radiology 143 (1982) 29).
    """
    features = np.concatenate([jet_features(first), jet_features(second)])
    target = np.repeat([0, 1], [len(first), len(second)])
    groups = jet_groups(pa.concat_tables([first, second]))
    score = cross_val_predict(
        HistGradientBoostingClassifier(max_iter=100, learning_rate=0.05, random_state=SEED),
        features,
        target,
        groups=groups,
        cv=GroupKFold(FOLDS),
        method="predict_proba",
    )[:, 1]
    error = np.sqrt((len(first) + len(second) + 1) / (12 * len(first) * len(second)))
    return roc_auc_score(target, score), error


def plot_quantities(
    first: dict[str, Values], second: dict[str, Values], names: tuple[str, str]
) -> Figure:
    """Draw each quantity in both simulations, normalised, with the ratio below."""
    columns = 4
    rows = -(-len(QUANTITIES) // columns)
    figure = Figure(figsize=(5 * columns, 4.6 * rows), layout="constrained")
    panels = figure.subplots(
        2 * rows, columns, gridspec_kw={"height_ratios": [3, 1] * rows}, squeeze=False
    )
    for axes in panels.flat:
        axes.set_visible(False)
    for position, (name, quantity) in enumerate(QUANTITIES.items()):
        row, column = divmod(position, columns)
        upper, lower = panels[2 * row, column], panels[2 * row + 1, column]
        edges = np.linspace(quantity.low, quantity.high, 41)
        centres = (edges[1:] + edges[:-1]) / 2
        heights = [np.histogram(v[name].values, edges)[0] for v in (first, second)]
        shares = [h / max(h.sum(), 1) for h in heights]
        for share, label in zip(shares, names, strict=True):
            upper.stairs(share, edges, label=label, lw=1.8)
        filled = (heights[0] > 0) & (heights[1] > 0)
        ratio = shares[1][filled] / shares[0][filled]
        error = ratio * np.sqrt(1 / heights[0][filled] + 1 / heights[1][filled])
        lower.errorbar(centres[filled], ratio, error, fmt=".", color="black", ms=4, lw=1)
        lower.axhline(1, color="0.6", lw=1)
        lower.set(ylim=(0.5, 1.5), xlim=(quantity.low, quantity.high))
        upper.set(xlim=(quantity.low, quantity.high), ylim=(0, None), xticklabels=[])
        lower.set_xlabel(quantity.label, fontsize=13)
        upper.tick_params(labelsize=11)
        lower.tick_params(labelsize=11)
        upper.set_visible(True)
        lower.set_visible(True)
    panels[0, 0].legend(fontsize=12)
    return figure
