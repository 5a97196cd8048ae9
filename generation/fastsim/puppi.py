"""The kernels of PUPPI (arXiv:1407.6013), in the form that Delphes carries (external/PUPPI).

The shape of each candidate's neighbourhood is compared with the median and the spread of the
shapes of charged tracks.
"""

import math

import numba
import numpy as np

# A neighbour closer than this (ΔR²) is the candidate itself or collinear with it.
DR2_MIN = 1e-4

# Half the range of the grid in rapidity; whatever is beyond falls into the outermost cells.
GRID_RAPIDITY = 6.0


@numba.njit(cache=True)
def algorithm_of(pt, eta, ranges, step):
    """Return the algorithm number `step` of the η range that holds each candidate.

    Parameters
    ----------
    pt, eta
        (n,) momentum.
    ranges
        (4, n_ranges) float64: smallest and largest |η|, smallest pT, first algorithm; one column
        more than there are ranges, with the number of algorithms.
    step
        Which of the algorithms of a range, from 0.

    Returns
    -------
    numpy.ndarray
        (n,) int64; -1 without one.
    """
    chosen = np.full(len(pt), -1)
    for i in range(len(pt)):
        for r in range(ranges.shape[1] - 1):
            if ranges[0, r] <= abs(eta[i]) <= ranges[1, r] and pt[i] >= ranges[2, r]:
                algorithm = int(ranges[3, r]) + step
                if algorithm < ranges[3, r + 1]:
                    chosen[i] = algorithm
                break
    return chosen


@numba.njit(cache=True, error_model="numpy")
def shapes(offsets, pt, y, eta, phi, is_source, algorithm, metrics, cones):
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
    result = np.zeros(len(pt))
    cell = max(cones.max(), 0.05)
    n_y = 2 * int(GRID_RAPIDITY / cell) + 2
    n_phi = max(int(2.0 * math.pi / cell), 1)
    if n_phi < 3:
        n_phi = 1
    reach = 1 if n_phi > 1 else 0
    phi_scale = n_phi / (2.0 * math.pi)
    cell_of = np.empty(len(pt), np.int64)
    start = np.zeros(n_y * n_phi + 1, np.int64)
    source = np.empty(len(pt), np.int64)
    for event in range(len(offsets) - 1):
        first, stop = offsets[event], offsets[event + 1]
        # Sort the sources by cell.
        start[:] = 0
        for i in range(first, stop):
            row = min(max(int(y[i] / cell + 0.5 * n_y), 0), n_y - 1)
            column = min(int((phi[i] + math.pi) * phi_scale), n_phi - 1)
            cell_of[i] = row * n_phi + column
            if is_source[i]:
                start[cell_of[i] + 1] += 1
        for c in range(n_y * n_phi):
            start[c + 1] += start[c]
        for i in range(first, stop):
            if is_source[i]:
                source[start[cell_of[i]]] = i
                start[cell_of[i]] += 1
        # start[c] is now the end of cell c, that is the start of cell c + 1.
        for i in range(first, stop):
            if algorithm[i] < 0:
                continue
            metric, cone2 = metrics[algorithm[i]], cones[algorithm[i]] ** 2
            row, column = cell_of[i] // n_phi, cell_of[i] % n_phi
            total = 0.0
            for a in range(max(row - 1, 0), min(row + 2, n_y)):
                for b in range(column - reach, column + reach + 1):
                    c = a * n_phi + b % n_phi
                    for k in range(start[c - 1] if c > 0 else 0, start[c]):
                        j = source[k]
                        dphi = abs(phi[i] - phi[j])
                        if dphi > math.pi:
                            dphi = 2.0 * math.pi - dphi
                        if (y[i] - y[j]) ** 2 + dphi * dphi > cone2:
                            continue
                        dr2 = (eta[i] - eta[j]) ** 2 + dphi * dphi
                        if dr2 < DR2_MIN:
                            continue
                        if metric == 0:
                            total += pt[j] / dr2
                        elif metric in (2, 3):
                            total += 1.0 / dr2
                        elif metric == 5:
                            total += pt[j] * pt[j] / dr2
                        else:
                            total += pt[j]
            if metric == -1:
                total = 1.0
            elif metric == 1:
                total += pt[i]
            elif total != 0.0 and metric in (0, 3, 5):
                total = math.log(total)
            result[i] = total
    return result


@numba.njit(cache=True, error_model="numpy")
def reference_shapes(offsets, shape, algorithm, in_sample, below_median_only, scale):
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
    for event in range(n_events):
        first, stop = offsets[event], offsets[event + 1]
        values = np.empty(stop - first)
        for a in range(n_algorithms):
            count = 0
            for i in range(first, stop):
                if in_sample[i] and algorithm[i] == a:
                    values[count] = shape[i]
                    count += 1
            if count == 0:
                continue
            ordered = np.sort(values[:count])
            # Delphes takes the median of what follows the last shape that is exactly zero.
            last_zero = 0
            for i in range(count):
                if ordered[i] == 0.0:
                    last_zero = i
            median = ordered[last_zero + int((count - last_zero) * 0.5)]
            square, n = 0.0, 0
            for i in range(count):
                if ordered[i] != 0.0 and not (below_median_only[a] and ordered[i] > median):
                    square += (ordered[i] - median) ** 2
                    n += 1
            square = square / n if n > 0 else 0.0
            if square == 0.0:
                square = 1e-5
            result[0, event, a] = count
            result[1, event, a] = median
            result[2, event, a] = math.sqrt(square) * scale[a]
    return result


@numba.njit(cache=True, error_model="numpy")
def chi2_probability(x, degrees):
    """Return the cumulative χ² distribution for an integer number of degrees of freedom."""
    if not x > 0.0:
        return 0.0
    if degrees % 2:
        probability, k = math.erf(math.sqrt(0.5 * x)), 1
    else:
        probability, k = 1.0 - math.exp(-0.5 * x), 2
    while k < degrees:
        probability -= math.exp(0.5 * k * math.log(0.5 * x) - 0.5 * x - math.lgamma(0.5 * k + 1.0))
        k += 2
    return probability


@numba.njit(cache=True, error_model="numpy")
def weights(offsets, shape, algorithm, reference, metrics, combinations):
    """Return the probability of each candidate not to be pile-up.

    Parameters
    ----------
    offsets
        (n_events + 1,) rows of each event.
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
    result = np.zeros(shape.shape[1])
    for event in range(len(offsets) - 1):
        for i in range(offsets[event], offsets[event + 1]):
            if algorithm[0, i] < 0:
                continue
            probability, chi2, degrees = 1.0, 0.0, 0
            comparable = metrics[algorithm[0, i]] != -1
            for step in range(shape.shape[0]):
                a = algorithm[step, i]
                if a < 0:
                    break
                if reference[0, event, a] == 0.0:
                    comparable = False
                if not comparable:
                    break
                if step > 0 and combinations[a] == 1:
                    probability *= chi2_probability(chi2, degrees)
                    chi2, degrees = 0.0, 0
                median, spread = reference[1, event, a], reference[2, event, a]
                value = shape[step, i]
                if value == 0.0 and metrics[a] in (0, 3, 5):
                    value = median
                chi2 += (value - median) * abs(value - median) / spread**2
                degrees += 1
            # Without tracks to compare with, everything is kept.
            result[i] = probability * chi2_probability(chi2, degrees) if comparable else 1.0
    return result
