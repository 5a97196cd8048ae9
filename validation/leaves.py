"""Compare every leaf that two kinds of Delphes file share, with the event as the unit.

A leaf's values are sorted into bins, between quantiles of the first detector, and counted event by
event. How much the logarithm of a bin's count exceeds what the other detector makes of the same
event, on average, is a vector whose mean vanishes when the detectors are alike; Hotelling's T² says
how likely a mean as large as the one found is then. Number and distribution are tested at once, and
values of one event need not be independent. The logarithm keeps rare events with hundreds of
values more, such as those in which PUPPI finds nothing to compare with, from deciding alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import awkward as ak
import numpy as np
import uproot
from numpy.typing import NDArray
from scipy import stats

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


def read_leaves(path: Path) -> dict[str, Leaf]:
    """Read all leaves of numbers of a Delphes event file; arrays are taken apart."""
    leaves = {}
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
            array = branch.array()
            if not name:
                array = array[:, np.newaxis]
            counts = ak.to_numpy(ak.num(array))
            values = ak.to_numpy(ak.flatten(array)).astype(np.float64)
            plain = key.partition("[")[0]
            if values.ndim == 1:
                leaves[plain] = Leaf(counts, values)
            else:
                for index, column in enumerate(values.T):
                    leaves[f"{plain}[{index}]"] = Leaf(counts, column)
    return leaves


class LeafScan:
    """Gathers what the second detector makes of the first one's events, pass by pass.

    Parameters
    ----------
    files
        Event files of the first detector.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        self._first = [read_leaves(file) for file in files]
        common = set.intersection(*(set(leaves) for leaves in self._first))
        self._names = [name for name in self._first[0] if name in common]
        self._tolerance, self._edges = {}, {}
        for name in self._names:
            values = np.concatenate([leaves[name].values for leaves in self._first])
            self._tolerance[name], self._edges[name] = _binning(values)
        self._passes = np.zeros(len(self._first), int)
        self._counts: dict[tuple[int, str], NDArray[np.float64]] = {}
        self._sums: dict[str, NDArray[np.float64]] = {name: np.zeros(2) for name in self._names}
        self._alike = dict.fromkeys(self._names, True)

    def add(self, number: int, path: Path) -> None:
        """Add a pass of the second detector over the events of file `number`, counted from 0."""
        second = read_leaves(path)
        self._passes[number] += 1
        self._names = [name for name in self._names if name in second]
        for name in self._names:
            first, leaf = self._first[number][name], second[name]
            tolerance = self._tolerance[name]
            self._alike[name] &= _same(first, leaf, tolerance)
            counts = _per_event(leaf, self._edges[name])
            key = (number, name)
            self._counts[key] = counts + self._counts.get(key, 0.0)
            self._sums[name] += len(leaf.values), leaf.values.sum()

    def compare(self) -> list[LeafComparison]:
        """Return what was found, in the order of the file."""
        found = [self._compare(name) for name in self._names]
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

    def _compare(self, name: str) -> LeafComparison:
        values = np.concatenate([leaves[name].values for leaves in self._first])
        number, total = self._sums[name]
        means = float(values.mean()) if len(values) else 0.0, float(total / max(number, 1.0))
        first, second = (
            np.concatenate(counts)
            for counts in (
                [_per_event(leaves[name], self._edges[name]) for leaves in self._first],
                [self._counts[file, name] / n for file, n in enumerate(self._passes)],
            )
        )
        constant = first.shape[1] > 1 and np.count_nonzero((first + second).sum(axis=0)) == 1
        if self._alike[name] or constant:
            return LeafComparison(name, len(values), means, None)
        return LeafComparison(name, len(values), means, hotelling(first - second))


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
    n = len(vectors)
    covariance = np.cov(vectors, rowvar=False).reshape(vectors.shape[1], -1) / n
    variance, axes = np.linalg.eigh(covariance)
    kept = variance > 1e-10 * max(variance.max(), 1e-300)
    k = int(kept.sum())
    if k == 0 or n <= k:
        return 1.0
    t2 = float(((axes.T @ vectors.mean(axis=0))[kept] ** 2 / variance[kept]).sum())
    return float(stats.f.sf(t2 * (n - k) / (k * (n - 1)), k, n - k))
