"""Compare two detector simulations of the same generator events, quantity by quantity.

Both see the same particles, so differences are paired by event and their uncertainty comes from a
bootstrap over events. A boosted-tree classifier looks for what single distributions hide: an area
under its ROC curve of 0.5 means that it cannot tell the two apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict

from validation.leaves import Leaf

CONSTITUENT_TYPES = ("ChargedHadron", "NeutralHadron", "Photon", "Electron", "Muon")
# Bootstrap samples, and exchanges for p-values.
REPLICAS = 300
# Exchanges computed at a time.
BLOCK = 30
# How far means and widths may be apart.
MEAN_BOUND, WIDTH_BOUND = 0.01, 0.03
# Of the cumulative distributions.
BINS = 200
FOLDS = 5
SEED = 1

CANDIDATE_LEAVES = ("PT", "Charge", "E", "Eem", "Ehad")


@dataclass(frozen=True)
class Values:
    """A quantity with the event and the run that each value belongs to.

    Attributes
    ----------
    values
        (n,).
    event
        (n,) number of the generator event, the same in both simulations.
    run
        (n,) or one number for all: which of several simulations of the event by the same
        detector, from 0.
    """

    values: NDArray[np.floating]
    event: NDArray[np.integer]
    run: NDArray[np.integer] | int = 0

    @classmethod
    def join(cls, parts: "Sequence[Values]") -> "Values":
        """Return the values of several parts, each with the run of its part."""
        runs = [np.broadcast_to(np.int8(0) + part.run, part.values.shape) for part in parts]
        return cls(
            np.concatenate([part.values for part in parts]),
            np.concatenate([part.event for part in parts]),
            np.concatenate(runs),
        )

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


class Sample:
    """What one simulation made of some generator events, gathered part by part.

    Kept are the values of the quantities, in single precision, and a summary of each jet.
    """

    def __init__(self) -> None:
        self._parts: dict[str, list[Values]] = {name: [] for name in QUANTITIES}
        self._jets: list[Jets] = []

    def add(self, found: Mapping[str, Values], jets: pa.Table) -> None:
        """Add quantities of some events, and their jets."""
        for name, part in found.items():
            self._parts[name].append(
                Values(part.values.astype(np.float32), part.event.astype(np.int32), part.run)
            )
        self._jets.append(summarise(jets))

    def values(self, name: str) -> Values:
        """Return all values of a quantity."""
        return Values.join(self._parts[name])

    @property
    def jets(self) -> "Jets":
        """Return the summaries of all jets."""
        return Jets.join(self._jets)

    @classmethod
    def join(cls, samples: "Sequence[Sample]") -> "Sample":
        """Return the sample of all events of several."""
        whole = cls()
        for sample in samples:
            for name, parts in sample._parts.items():
                whole._parts[name].extend(parts)
            whole._jets.extend(sample._jets)
        return whole


def event_quantities(
    leaves: Mapping[str, Leaf], jets: pa.Table, first_event: int, run: int = 0
) -> dict[str, Values]:
    """Return the quantities of some events: of jets, candidates and missing energy.

    Parameters
    ----------
    leaves
        All leaves of the events.
    jets
        What the ntuplizer makes of them.
    first_event
        Number of the first event, to keep the events of several files apart.
    run
        Which of several simulations of these events by the same detector.
    """
    leaf = {name: leaves[f"ParticleFlowCandidate.{name}"].values for name in CANDIDATE_LEAVES}
    counts = leaves["ParticleFlowCandidate.PT"].counts
    events = first_event + np.arange(len(counts))
    of_event = np.repeat(events, counts)
    charged, kept = leaf["Charge"] != 0, leaf["PT"] > 0
    neutral = ~charged & kept
    tower_energy = leaf["Eem"] + leaf["Ehad"]

    def values(array: NDArray, mask: NDArray) -> Values:
        return Values(array[mask], of_event[mask], run)

    with np.errstate(divide="ignore", invalid="ignore"):
        log_pt = np.log10(leaf["PT"])
        # Rounded: float32 ratios scatter in the last digit, which the test would take for physics.
        weight = np.round(leaf["E"] / tower_energy, 4)
    return jet_quantities(jets, run) | {
        "candidates": Values(counts.astype(np.float64), events, run),
        "charged_pt": values(log_pt, charged & kept),
        "neutral_pt": values(log_pt, neutral),
        "puppi_weight": values(weight, neutral & (tower_energy > 0)),
        "met": Values(leaves["PuppiMissingET.MET"].values, events, run),
        "ht": Values(leaves["ScalarHT.HT"].values, events, run),
    }


def jet_quantities(jets: pa.Table, run: int = 0) -> dict[str, Values]:
    """Return the quantities of jets and their constituents, simulated in this run."""
    column = {name: jets[name].to_numpy() for name in jets.column_names if "part_" not in name}
    event = jet_groups(jets)
    matched = column["genjet_pt"] > 0
    massive = column["genjet_sdmass"] > 30

    def flat(name: str) -> NDArray:
        return (
            jets[name].combine_chunks().flatten().to_numpy(zero_copy_only=False).astype(np.float64)
        )

    def ratio(numerator: str, denominator: str, mask: NDArray) -> Values:
        return Values(column[numerator][mask] / column[denominator][mask], event[mask], run)

    def significance(name: str) -> Values:
        error = flat(f"part_{name}err")
        mask = charged & (error > 0)
        return Values(flat(f"part_{name}val")[mask] / error[mask], constituent_event[mask], run)

    counts = column["jet_nparticles"]
    constituent_event = np.repeat(event, counts)
    pt = np.hypot(flat("part_px"), flat("part_py"))
    charged = flat("part_charge") != 0
    jet = np.repeat(np.arange(len(counts)), counts)
    quantities = {
        "response": ratio("jet_pt", "genjet_pt", matched),
        "mass_response": ratio("jet_sdmass", "genjet_sdmass", massive),
        "multiplicity": Values(counts.astype(np.float64), event, run),
        "tau21": ratio("jet_tau2", "jet_tau1", column["jet_tau1"] > 0),
        "constituent_pt": Values(np.log10(pt), constituent_event, run),
        "d0_significance": significance("d0"),
        "dz_significance": significance("dz"),
    }
    for kind in CONSTITUENT_TYPES:
        fraction = np.bincount(jet, flat(f"part_is{kind}"), len(counts)) / counts
        quantities[f"fraction_{kind}"] = Values(fraction, event, run)
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
        np.stack([np.bincount(i, v.values.astype(float) ** k, len(groups)) for k in (0, 1, 2)])
        for v, i in zip((first, second), indices, strict=True)
    ]
    counts = _counts(first, second, index, quantity)
    first_runs = int(np.max(first.run)) + 1
    histograms = [part.sum(axis=1).T for part in np.split(counts, [first_runs], axis=1)]
    rng = np.random.Generator(np.random.Philox(SEED))
    weights = rng.multinomial(len(groups), np.full(len(groups), 1 / len(groups)), REPLICAS)
    # The events as they are, then the bootstrap samples.
    weights = np.concatenate([np.ones((1, len(groups))), weights]).T
    with np.errstate(divide="ignore", invalid="ignore"):
        moments = _moments(*(s @ weights for s in sums))
        drawn = [h @ weights.astype(np.float32) for h in histograms]
        cores = [_core_ratio(*both) - 1 for both in zip(*(d.T for d in drawn), strict=True)]
    all_found = np.stack([*moments, cores], axis=1)
    found, replicas = all_found[0], all_found[1:]
    # Of few values, a sample may hold none or only equal ones.
    errors = np.nanstd(np.where(np.isfinite(replicas), replicas, np.nan), axis=0)
    mean, width, core = (Difference(float(f), float(e)) for f, e in zip(found, errors, strict=True))
    return Comparison(mean, width, core, _p_value(counts, first_runs, rng))


def _moments(first: NDArray, second: NDArray) -> tuple[NDArray, NDArray]:
    """Return the differences of mean and width, from sums of the powers 0, 1, 2 in each sample."""
    means = first[1] / first[0], second[1] / second[0]
    widths = [np.sqrt(s[2] / s[0] - m**2) for s, m in zip((first, second), means, strict=True)]
    scale = np.maximum(np.abs(means[0]), widths[0])
    return (means[1] - means[0]) / scale, widths[1] / widths[0] - 1


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
    further = 0
    for _ in range(REPLICAS // BLOCK):
        order = np.argsort(rng.random((BLOCK, n_events, n_runs)), axis=2)
        drawn = np.zeros((BLOCK, counts.shape[2]))
        for run in range(n_runs):
            chosen = (order[:, :, :first_runs] == run).any(axis=2)
            drawn += chosen.astype(np.float32) @ counts[:, run]
        further += sum(distance(one) >= found for one in drawn)
    return (1 + further) / (1 + REPLICAS)


@dataclass(frozen=True)
class Jets:
    """What the classifier is told of jets.

    Attributes
    ----------
    features
        (n_jets, n_features) float32.
    groups
        (n_jets,) a number for the GEN-jet of each.
    """

    features: NDArray[np.float32]
    groups: NDArray[np.int64]

    @classmethod
    def join(cls, parts: "Sequence[Jets]") -> "Jets":
        """Return the jets of all parts."""
        return cls(
            np.concatenate([part.features for part in parts]),
            np.concatenate([part.groups for part in parts]),
        )


def summarise(jets: pa.Table) -> Jets:
    """Summarise jets for the classifier."""
    return Jets(jet_features(jets).astype(np.float32), jet_groups(jets))


def jet_features(jets: pa.Table) -> NDArray[np.float64]:
    """Summarise jets and their constituents for the classifier, (n_jets, n_features)."""
    column = {
        name: jets[name].combine_chunks().flatten().to_numpy(zero_copy_only=False).astype(float)
        for name in jets.column_names
        if name.startswith("part_")
    }
    counts = jets["jet_nparticles"].to_numpy().astype(np.int64)
    starts = np.cumsum(counts) - counts
    jet = np.repeat(np.arange(len(counts)), counts)
    pt = np.hypot(column["part_px"], column["part_py"])
    kinds = [column[f"part_is{kind}"] for kind in CONSTITUENT_TYPES]

    def total(values: NDArray) -> NDArray:
        return np.bincount(jet, values, len(counts))

    def largest(values: NDArray) -> NDArray:
        result = np.zeros(len(counts))
        np.maximum.at(result, jet, values)
        return result

    def at(values: NDArray, place: NDArray) -> NDArray:
        """Return each jet's value at this place, 0 where it has so many not."""
        inside = place < counts
        return np.where(inside, np.append(values, 0.0)[np.where(inside, starts + place, -1)], 0.0)

    def quantile(share: float) -> NDArray:
        position = share * np.maximum(counts - 1, 0)
        below = np.floor(position).astype(np.int64)
        low, high = (at(rising, np.minimum(below + i, counts - 1)) for i in (0, 1))
        return low + (position - below) * (high - low)

    rising = pt[np.lexsort((pt, jet))]
    all_pt = np.maximum(total(pt), 1e-30)
    significance = [np.abs(_significance(column, name)) for name in ("d0", "dz")]
    summaries = [
        *(total(kind) for kind in kinds),
        *(total(kind * pt) / all_pt for kind in kinds),
        *(at(pt, np.full(len(counts), place)) for place in range(4)),
        *(quantile(share) for share in (0.1, 0.5)),
        *(function(values) for values in significance for function in (largest, total)),
        *(total(column[name]) / np.maximum(counts, 1) for name in ("part_d0err", "part_dzerr")),
        # Not in η: Delphes 3.5.0 writes where a candidate enters the calorimeter, as the table of
        # leaves says.
        np.sqrt(total(pt * column["part_dphi"] ** 2) / all_pt),
    ]
    own = [
        jets[name].to_numpy()
        for name in jets.column_names
        if name.startswith("jet_") and name != "jet_label"
    ]
    return np.column_stack([*own, *summaries]).astype(np.float64)


def _significance(column: Mapping[str, NDArray], name: str) -> NDArray:
    error = column[f"part_{name}err"]
    return np.divide(column[f"part_{name}val"], error, out=np.zeros(len(error)), where=error > 0)


def classify(first: Jets, second: Jets) -> tuple[float, float]:
    """Train boosted trees to tell two simulations' jets apart.

    Jets with the same GEN-jet are kept in one fold, so that nothing is learned by heart.

    Returns
    -------
    tuple
        Cross-validated area under the ROC curve and its standard deviation for two simulations
        that are the same (Hanley and McNeil, Radiology 143 (1982) 29).
    """
    both = Jets.join([first, second])
    n_first, n_second = len(first.groups), len(second.groups)
    target = np.repeat([0, 1], [n_first, n_second])
    score = cross_val_predict(
        HistGradientBoostingClassifier(max_iter=100, learning_rate=0.05, random_state=SEED),
        both.features,
        target,
        groups=both.groups,
        cv=GroupKFold(FOLDS),
        method="predict_proba",
    )[:, 1]
    error = np.sqrt((n_first + n_second + 1) / (12 * n_first * n_second))
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
