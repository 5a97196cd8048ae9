"""Compare every leaf that two kinds of Delphes file share, with the event as the unit.

A leaf's values are sorted into bins, between quantiles of the first detector, and counted event by
event. How much the logarithm of a bin's count exceeds what the other detector makes of the same
event, on average, is a vector whose mean vanishes when the detectors are alike; Hotelling's T² says
how likely a mean as large as the one found is then. Number and distribution are tested at once, and
values of one event need not be independent. The logarithm keeps rare events with hundreds of
values more, such as those in which PUPPI finds nothing to compare with, from deciding alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import awkward as ak
import numpy as np
import uproot
from numpy.typing import NDArray
from scipy import stats

from generation.fastsim.branches import Branch

# Values as close as this are the same, for files hold single precision: in units of the leaf's
# spread, and of its median.
RESOLUTION, SINGLE_PRECISION = 1e-4, 1e-5
BINS = 10
# Fewer values in all make fewer bins.
VALUES_PER_BIN = 30
# ROOT's book-keeping, and branches that describe how an event was generated and written.
OTHER_LEAVES = ("fUniqueID", "fBits")
OTHER_BRANCHES = ("Event", "Weight")
# References and Lorentz vectors, which fastsim does not write.
OBJECTS = ("TRef", "TLorentzVector")


@dataclass(frozen=True)
class Leaf:
    """Values of a leaf: (n_events,) int64 how many in each event, and (n,) float64 one by one."""

    counts: NDArray[np.int64]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class LeafComparison:
    """What was found out about a leaf.

    Attributes
    ----------
    name
        `Branch.Leaf`, with the number of the element for leaves that are arrays.
    values
        How many the first detector has.
    means
        Of both detectors.
    p_value
        Of two like detectors being as far apart; None where both have the same values in every
        event, up to rounding, or one and the same value throughout.
    adjusted
        The p-value times the number of leaves left to test (Holm, Scand. J. Statist. 6 (1979) 65):
        below 0.05 for any leaf at all in one of twenty comparisons of like detectors.
    """

    name: str
    values: int
    means: tuple[float, float]
    p_value: float | None
    adjusted: float | None = None


def read_leaves(path: Path, start: int = 0, stop: int | None = None) -> dict[str, Leaf]:
    """Read all leaves of numbers of a Delphes event file; arrays are taken apart.

    Parameters
    ----------
    path
        The file.
    start, stop
        The events to read, all of them by default.
    """
    leaves: dict[str, Leaf] = {}
    with uproot.open(path) as file:
        tree = file["Delphes"]
        for key, branch in tree.iteritems(full_paths=False):
            owner, _, name = key.partition(".")
            if owner.removesuffix("_size") in OTHER_BRANCHES or name in OTHER_LEAVES:
                continue
            if not name and not key.endswith("_size"):
                continue
            if any(kind in branch.typename for kind in OBJECTS):
                continue
            array = branch.array(entry_start=start, entry_stop=stop)
            if not name:
                array = array[:, np.newaxis]
            counts = ak.to_numpy(ak.num(array))
            values = ak.to_numpy(ak.flatten(array)).astype(np.float64)
            leaves |= _apart(key.partition("[")[0], counts, values)
    return leaves


def simulated_leaves(branches: Mapping[str, Branch]) -> dict[str, Leaf]:
    """Return what `read_leaves` would read of these branches from a file."""
    leaves: dict[str, Leaf] = {}
    for name, branch in branches.items():
        if name in OTHER_BRANCHES:
            continue
        counts = np.diff(branch.offsets)
        leaves[f"{name}_size"] = Leaf(np.ones(len(counts), np.int64), counts.astype(np.float64))
        for leaf, values in branch.columns.items():
            if leaf not in OTHER_LEAVES:
                plain = f"{name}.{leaf.partition('[')[0]}"
                leaves |= _apart(plain, counts, values.astype(np.float64))
    return leaves


def _apart(name: str, counts: NDArray[np.int64], values: NDArray[np.float64]) -> dict[str, Leaf]:
    if values.ndim == 1:
        return {name: Leaf(counts, values)}
    return {f"{name}[{i}]": Leaf(counts, column) for i, column in enumerate(values.T)}


def join_leaves(parts: Sequence[Mapping[str, Leaf]]) -> dict[str, Leaf]:
    """Return the leaves that all parts have, of all their events, in the order of the first."""
    common = set.intersection(*(set(part) for part in parts))
    return {
        name: Leaf(
            np.concatenate([part[name].counts for part in parts]),
            np.concatenate([part[name].values for part in parts]),
        )
        for name in parts[0]
        if name in common
    }


class LeafScan:
    """Compares what two detectors make of the same events, some events at a time.

    Of all events only sums are kept.

    Parameters
    ----------
    examples
        Leaves of some events of the first detector, which decide on the bins.
    """

    def __init__(self, examples: Mapping[str, Leaf]) -> None:
        binning = {name: _binning(leaf.values) for name, leaf in examples.items()}
        self._leaves = {name: _LeafSums(*found) for name, found in binning.items()}

    def add(self, first: Mapping[str, Leaf], passes: Sequence[Mapping[str, Leaf]]) -> None:
        """Add some events: the first detector's leaves, and those of each pass of the second."""
        for leaves in (first, *passes):
            self._leaves = {name: own for name, own in self._leaves.items() if name in leaves}
        for name, sums in self._leaves.items():
            sums.add(first[name], [leaves[name] for leaves in passes])

    def compare(self) -> list[LeafComparison]:
        """Return what was found, in the order of the file."""
        found = [sums.compare(name) for name, sums in self._leaves.items()]
        tested = sorted(c.p_value for c in found if c.p_value is not None)
        steps = np.array(tested) * np.arange(len(tested), 0, -1)
        holm = dict(zip(tested, np.minimum(np.maximum.accumulate(steps), 1.0), strict=True))
        return [
            LeafComparison(
                c.name, c.values, c.means, c.p_value,
                None if c.p_value is None else float(holm[c.p_value]),
            )
            for c in found
        ]  # fmt: skip


class _LeafSums:
    """What is kept of a leaf.

    Parameters
    ----------
    tolerance, edges
        Below which distance values are the same; the inner edges of the bins.
    """

    def __init__(self, tolerance: float, edges: NDArray[np.float64]) -> None:
        self._tolerance, self._edges = tolerance, edges
        n_bins = len(edges) + 1
        self._events = 0
        self._sum, self._products = np.zeros(n_bins), np.zeros((n_bins, n_bins))
        self._filled = np.zeros(n_bins, bool)
        self._alike = True
        # Number and sum of the values of each detector.
        self._values = np.zeros((2, 2))

    def add(self, first: Leaf, passes: Sequence[Leaf]) -> None:
        self._alike &= all(_same(first, leaf, self._tolerance) for leaf in passes)
        own = _per_event(first, self._edges)
        others = np.mean([_per_event(leaf, self._edges) for leaf in passes], axis=0)
        difference = own - others
        self._events += len(difference)
        self._sum += difference.sum(axis=0)
        self._products += difference.T @ difference
        self._filled |= ((own > 0.0) | (others > 0.0)).any(axis=0)
        self._values[0] += len(first.values), first.values.sum()
        self._values[1] += (
            sum(len(leaf.values) for leaf in passes),
            sum(leaf.values.sum() for leaf in passes),
        )

    def compare(self, name: str) -> LeafComparison:
        (number, total), (other_number, other_total) = self._values
        means = float(total / max(number, 1.0)), float(other_total / max(other_number, 1.0))
        constant = len(self._filled) > 1 and np.count_nonzero(self._filled) == 1
        if self._alike or constant or self._events < 2:
            return LeafComparison(name, int(number), means, None)
        mean = self._sum / self._events
        spread = self._products - self._events * np.outer(mean, mean)
        p_value = _p_value(self._events, mean, spread / (self._events - 1))
        return LeafComparison(name, int(number), means, p_value)


def _binning(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Return below which distance two values are the same, and the inner edges of the bins.

    An edge lies just above a quantile, so that values that are often exact fall on one side of it.
    A leaf with one value throughout has a bin around it.
    """
    if not len(values):
        return 0.0, np.zeros(0)
    low, median, high = np.quantile(values, [0.16, 0.5, 0.84])
    spread = high - low if high > low else np.ptp(values)
    tolerance = RESOLUTION * spread + SINGLE_PRECISION * abs(median)
    if np.ptp(values) <= 2 * tolerance:
        return tolerance, np.array([np.nextafter(median - tolerance, -np.inf), median + tolerance])
    n_bins = int(np.clip(len(values) // VALUES_PER_BIN, 1, BINS))
    quantiles = np.quantile(values, np.arange(1, n_bins) / n_bins, method="lower") + tolerance
    edges: list[float] = []
    for edge in quantiles:
        if edge < values.max() and (not edges or edge > edges[-1] + tolerance):
            edges.append(edge)
    return tolerance, np.array(edges)


def _same(first: Leaf, second: Leaf, tolerance: float) -> bool:
    return np.array_equal(first.counts, second.counts) and np.allclose(
        first.values, second.values, rtol=RESOLUTION, atol=tolerance
    )


def _per_event(leaf: Leaf, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return log(1 + number of values) of each event in each bin, (n_events, n_bins)."""
    n_bins, n_events = len(edges) + 1, len(leaf.counts)
    event = np.repeat(np.arange(n_events), leaf.counts)
    cell = event * n_bins + np.searchsorted(edges, leaf.values)
    counts = np.bincount(cell, minlength=n_events * n_bins)
    return np.log1p(counts.reshape(n_events, n_bins))


def hotelling(vectors: NDArray[np.float64]) -> float:
    """Return how likely independent vectors of expectation 0 have a mean as far from 0.

    Parameters
    ----------
    vectors
        (n, k); combinations of components that never vary are left out.
    """
    covariance = np.cov(vectors, rowvar=False).reshape(vectors.shape[1], -1)
    return _p_value(len(vectors), vectors.mean(axis=0), covariance)


def _p_value(n: int, mean: NDArray[np.float64], covariance: NDArray[np.float64]) -> float:
    """Return Hotelling's p-value of the mean of n vectors with this sample covariance."""
    variance, axes = np.linalg.eigh(covariance / n)
    kept = variance > 1e-10 * max(variance.max(), 1e-300)
    k = int(kept.sum())
    if k == 0 or n <= k:
        return 1.0
    t2 = float(((axes.T @ mean)[kept] ** 2 / variance[kept]).sum())
    return float(stats.f.sf(t2 * (n - k) / (k * (n - 1)), k, n - k))
