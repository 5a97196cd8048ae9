"""The kernels of PUPPI (arXiv:1407.6013), in the form that Delphes carries (external/PUPPI).

The shape of each candidate's neighbourhood is compared with the median and the spread of the
shapes of charged tracks.
"""

import math

import numpy as np
from numpy.typing import NDArray

from generation.fastsim.kernels import kernel

# A neighbour closer than this (ΔR²) is the candidate itself or collinear with it.
DR2_MIN = 1e-4

# Metrics are sums of pT, pT⁰ or pT², by number (the last one is -1); those over ΔR², and those that
# are logarithms of a sum.
_POWERS = np.array([1, 1, 0, 0, 1, 2, 1])
OVER_DISTANCE = (0, 2, 3, 5)
LOGARITHMIC = (0, 3, 5)

# Half the range of the grid in rapidity; whatever is beyond falls into the outermost cells.
GRID_RAPIDITY = 6.0


def algorithm_of(
    pt: NDArray[np.float64], eta: NDArray[np.float64], ranges: NDArray[np.float64], step: int
) -> NDArray[np.int64]:
    """Return the algorithm number `step` of the η range that holds each candidate.

    Parameters
    ----------
    pt, eta
        (n,) momentum.
    ranges
        (4, n_ranges + 1) float64: smallest and largest |η|, smallest pT, first algorithm; the
        last column has the number of algorithms.
    step
        Which of the algorithms of a range, from 0.

    Returns
    -------
    numpy.ndarray
        (n,) int64; -1 without one.
    """
    chosen = np.full(len(pt), -1)
    eta = np.abs(eta)
    # The first range that holds a candidate counts: the last one to be written.
    for low, high, pt_min, first, end in reversed(
        [*zip(*ranges[:, :-1], ranges[3, 1:], strict=True)]
    ):
        algorithm = int(first) + step
        inside = (low <= eta) & (eta <= high) & (pt >= pt_min)
        chosen[inside] = algorithm if algorithm < end else -1
    return chosen


def shapes(
    offsets: NDArray[np.int64],
    pt: NDArray[np.float64],
    y: NDArray[np.float64],
    eta: NDArray[np.float64],
    phi: NDArray[np.float64],
    is_source: NDArray[np.bool_],
    algorithm: NDArray[np.int64],
    metrics: NDArray[np.int64],
    cones: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the shape of the neighbourhood of each candidate.

    Parameters
    ----------
    offsets
        (n_events + 1,) rows of each event.
    pt, y, eta, phi
        (n,) momentum; neighbours are selected by rapidity `y` and weighted by `eta`.
    is_source
        (n,) which candidates are neighbours.
    algorithm
        (n,) the algorithm of each candidate; -1 is skipped.
    metrics, cones
        (n_algorithms,) kind of shape, cone size.

    Returns
    -------
    numpy.ndarray
        (n,) float64; 0 without neighbours and for skipped candidates.
    """
    width = max(cones.max(), 0.05)
    n_y, n_phi = 2 * int(GRID_RAPIDITY / width) + 2, int(2.0 * math.pi / width)
    if n_phi < 3:
        n_phi = 1  # neighbours on both sides would be the same cell
    # An empty row above and below those of each event, as if all events were one.
    event = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    row = 1 + np.clip((y / width + 0.5 * n_y).astype(np.int64), 0, n_y - 1) + event * (n_y + 2)
    column = np.minimum(((phi + math.pi) * (n_phi / (2.0 * math.pi))).astype(np.int64), n_phi - 1)
    n_cells = (len(offsets) - 1) * (n_y + 2) * n_phi
    source = np.flatnonzero(is_source)
    # numpy sorts numbers of few bits fastest.
    cell = (row[source] * n_phi + column[source]).astype(np.min_scalar_type(n_cells))
    start = np.concatenate(([0], np.cumsum(np.bincount(cell, minlength=n_cells))))
    source = source[np.argsort(cell, kind="stable")]
    result = np.zeros(len(pt))
    _shapes(
        y, eta, phi, row, column, n_phi, 1 if n_phi > 1 else 0, start, source,
        np.stack([np.ones_like(pt), pt, pt * pt]), algorithm, _POWERS[metrics],
        np.isin(metrics, OVER_DISTANCE), np.isin(metrics, LOGARITHMIC), cones * cones, result,
    )  # fmt: skip
    metric = np.where(algorithm >= 0, metrics[algorithm], 0)
    result[metric == -1] = 1.0
    return np.where(metric == 1, result + pt, result)


@kernel()
def _shapes(
    y, eta, phi, row, column, n_phi, reach, start, source,
    weight, algorithm, power, over_distance, logarithmic, cone2, result,
):  # fmt: skip
    """Sum over the sources within each candidate's cone; those of a cell stand together."""
    for i in range(len(result)):
        a = algorithm[i]
        if a < 0:
            continue
        total = 0.0
        for r in range(row[i] - 1, row[i] + 2):
            for c in range(column[i] - reach, column[i] + reach + 1):
                cell = r * n_phi + c
                if c < 0:
                    cell += n_phi
                elif c >= n_phi:
                    cell -= n_phi
                for k in range(start[cell], start[cell + 1]):
                    j = source[k]
                    delta_phi, delta_y = abs(phi[i] - phi[j]), y[i] - y[j]
                    if delta_phi > math.pi:
                        delta_phi = 2.0 * math.pi - delta_phi
                    if delta_y * delta_y + delta_phi * delta_phi > cone2[a]:
                        continue
                    delta_eta = eta[i] - eta[j]
                    distance2 = delta_eta * delta_eta + delta_phi * delta_phi
                    if distance2 < DR2_MIN:
                        continue
                    if not over_distance[a]:
                        distance2 = 1.0
                    total += weight[power[a], j] / distance2
        if logarithmic[a] and total != 0.0:
            total = math.log(total)
        result[i] = total


def reference_shapes(
    offsets: NDArray[np.int64],
    shape: NDArray[np.float64],
    algorithm: NDArray[np.int64],
    in_sample: NDArray[np.bool_],
    below_median_only: NDArray[np.bool_],
    scale: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the median and the spread of the sample's shapes in each event.

    Parameters
    ----------
    offsets
        (n_events + 1,) rows of each event.
    shape, algorithm
        (n,) shapes and their algorithms.
    in_sample
        (n,) which candidates make the sample.
    below_median_only
        (n_algorithms,) whether only shapes up to the median enter the spread.
    scale
        (n_algorithms,) factor of the spread.

    Returns
    -------
    numpy.ndarray
        (3, n_events, n_algorithms) float64: number of shapes, median, spread.
    """
    n_events, n_algorithms = len(offsets) - 1, len(scale)
    result = np.zeros((3, n_events, n_algorithms))
    for a in range(n_algorithms):
        rows = np.flatnonzero(in_sample & (algorithm == a))
        bounds = np.searchsorted(rows, offsets)
        values = shape[rows]
        for event in range(n_events):
            sample = np.sort(values[bounds[event] : bounds[event + 1]])
            if len(sample):
                median, spread = _median_and_spread(sample, below_median_only[a])
                result[:, event, a] = len(sample), median, spread * scale[a]
    return result


def _median_and_spread(sample: NDArray[np.float64], below_only: bool) -> tuple[float, float]:
    """Return the median of what follows the last zero of a sorted sample, and the spread."""
    zeros = np.flatnonzero(sample == 0.0)
    last_zero = int(zeros[-1]) if len(zeros) else 0
    median = sample[last_zero + (len(sample) - last_zero) // 2]
    used = sample[(sample != 0.0) & (sample <= median)] if below_only else sample[sample != 0.0]
    square = np.mean((used - median) ** 2) if len(used) else 0.0
    return median, math.sqrt(square if square > 0.0 else 1e-5)


def weights(
    event: NDArray[np.int64],
    shape: NDArray[np.float64],
    algorithm: NDArray[np.int64],
    reference: NDArray[np.float64],
    metrics: NDArray[np.int64],
    combinations: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return the probability of each candidate not to be pile-up.

    Parameters
    ----------
    event
        (n,) event of each candidate.
    shape, algorithm
        (n_steps, n) shape and algorithm in each step; algorithm -1 ends a candidate's steps.
    reference
        What `reference_shapes` has returned.
    metrics, combinations
        (n_algorithms,) kind of shape, and 1 where the probability of the algorithms before is
        multiplied instead of their χ² added.

    Returns
    -------
    numpy.ndarray
        (n,) float64; 0 for candidates without an algorithm.
    """
    probability, chi2 = np.ones(shape.shape[1]), np.zeros(shape.shape[1])
    degrees = np.zeros(shape.shape[1], np.int64)
    comparable = metrics[algorithm[0]] != -1
    for step, a in enumerate(algorithm):
        count, median, spread = reference[:, event, a]
        comparable &= (a < 0) | (count > 0.0)
        active = comparable & (a >= 0)
        apart = active & (combinations[a] == 1) & (step > 0)
        probability[apart] *= chi2_probability(chi2[apart], degrees[apart])
        chi2[apart], degrees[apart] = 0.0, 0
        logarithm_of_nothing = (shape[step] == 0.0) & np.isin(metrics[a], LOGARITHMIC)
        distance = np.where(logarithm_of_nothing, 0.0, shape[step] - median)
        spread = np.where(active, spread, 1.0)
        chi2 += np.where(active, distance * np.abs(distance) / spread**2, 0.0)
        degrees += active
    # Without tracks to compare with, everything is kept.
    result = np.where(comparable, probability * chi2_probability(chi2, degrees), 1.0)
    return np.where(algorithm[0] >= 0, result, 0.0)


def chi2_probability(x: NDArray[np.float64], degrees: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the cumulative χ² distribution for integer numbers of degrees of freedom."""
    result = np.zeros(len(x))
    _chi2_probability(x, degrees, result)
    return result


@kernel()
def _chi2_probability(x, degrees, result):
    for i in range(len(x)):
        half = 0.5 * x[i]
        if not half > 0.0:
            continue
        if degrees[i] % 2:
            probability, k = math.erf(math.sqrt(half)), 1
        else:
            probability, k = 1.0 - math.exp(-half), 2
        while k < degrees[i]:
            probability -= math.exp(0.5 * k * math.log(half) - half - math.lgamma(0.5 * k + 1.0))
            k += 2
        result[i] = probability
