"""Groomed jets and N-subjettiness, with the conventions of FastJet and its contributed tools.

Every function takes the constituents of all jets as one (n, 4) array of px, py, pz, E in GeV,
jet `i` being rows `offsets[i]` to `offsets[i + 1]`. Groomed jets come as a (jets, 5, 4) array: the
groomed jet, then up to four of its subjets by falling pT, zeros for what does not exist; with the
number of subjets of each.
"""

import math

import numba
import numpy as np

from generation.fastsim.reclustering import (
    CAMBRIDGE_AACHEN,
    EVERYTHING,
    KT,
    NO_PRUNING,
    cluster,
    delta_phi,
    rapidity,
)

MAX_SUBJETS = 5

# fjcontrib: OnePass axes stop after so many steps, or when the axes move less than this.
AXES_STEPS = 1000
AXES_ACCURACY = 1e-4


@numba.njit(cache=True)
def soft_drop(constituents, offsets, symmetry_cut, beta, radius):
    """Groom jets by soft drop (arXiv:1402.2657) on their Cambridge/Aachen history.

    Parameters
    ----------
    constituents, offsets
        The jets; see the module.
    symmetry_cut, beta, radius
        A splitting passes with min(pT)/sum(pT) > symmetry_cut (ΔR/radius)^beta.

    Returns
    -------
    momenta, counts
        The groomed jets; see the module.
    """
    momenta, counts = _nothing(len(offsets) - 1)
    for jet in range(len(counts)):
        members = constituents[offsets[jet] : offsets[jet + 1]]
        if len(members) == 0:
            continue
        nodes, parents, _, jets = cluster(members, CAMBRIDGE_AACHEN, EVERYTHING, NO_PRUNING, 0.0)
        node = jets[0]
        while parents[node, 0] >= 0:
            first, second = parents[node, 0], parents[node, 1]
            first_pt = math.hypot(nodes[first, 0], nodes[first, 1])
            second_pt = math.hypot(nodes[second, 0], nodes[second, 1])
            distance = _distance(nodes, first, second)
            symmetry = min(first_pt, second_pt) / (first_pt + second_pt)
            if symmetry > symmetry_cut * (distance / radius) ** beta:
                break
            node = first if first_pt >= second_pt else second
        counts[jet] = _store(nodes, parents, node, momenta, jet)
    return momenta, counts


@numba.njit(cache=True)
def prune(constituents, offsets, radius, radius_factor, symmetry_cut):
    """Groom jets by pruning (arXiv:0912.0033) in a Cambridge/Aachen clustering.

    Parameters
    ----------
    constituents, offsets
        The jets; see the module.
    radius
        Radius of the clustering; the hardest jet that it finds is the pruned jet.
    radius_factor
        Recombinations are tested beyond ΔR = radius_factor · 2m/pT.
    symmetry_cut
        Least share of the softer side in the pT of both.

    Returns
    -------
    momenta, counts
        The pruned jets; see the module.
    """
    momenta, counts = _nothing(len(offsets) - 1)
    for jet in range(len(counts)):
        members = constituents[offsets[jet] : offsets[jet + 1]]
        if len(members) == 0:
            continue
        px, py, pz, e = _sum(members)
        mass = math.sqrt(max(0.0, e * e - px * px - py * py - pz * pz))
        cut = radius_factor * 2.0 * mass / max(math.hypot(px, py), 1e-300)
        nodes, parents, _, jets = cluster(members, CAMBRIDGE_AACHEN, radius, cut, symmetry_cut)
        node = _hardest(nodes, jets)
        while parents[node, 0] >= 0 and parents[node, 1] < 0:
            node = parents[node, 0]
        counts[jet] = _store(nodes, parents, node, momenta, jet)
    return momenta, counts


@numba.njit(cache=True)
def trim(constituents, offsets, radius, fraction):
    """Groom jets by trimming (arXiv:0912.1342) with kT subjets.

    Parameters
    ----------
    constituents, offsets
        The jets; see the module.
    radius
        Radius of the subjets.
    fraction
        Least share of a subjet in the pT of the jet.

    Returns
    -------
    momenta, counts
        The trimmed jets; see the module.
    """
    momenta, counts = _nothing(len(offsets) - 1)
    for jet in range(len(counts)):
        members = constituents[offsets[jet] : offsets[jet + 1]]
        px, py, _, _ = _sum(members)
        least = fraction * math.hypot(px, py)
        nodes, _, _, jets = cluster(members, KT, radius, NO_PRUNING, 0.0)
        kept = 0
        for k in range(len(jets)):
            node = jets[k]
            if math.hypot(nodes[node, 0], nodes[node, 1]) >= least:
                jets[kept] = node
                kept += 1
        for k in range(kept):
            for axis in range(4):
                momenta[jet, 0, axis] += nodes[jets[k], axis]
        counts[jet] = kept
        _store_hardest(nodes, jets, kept, momenta, jet)
    return momenta, counts


@numba.njit(cache=True)
def n_subjettiness(constituents, offsets, radius, beta, minimise):
    """Return τ₁ … τ₅ of jets (arXiv:1011.2268) with exclusive kT axes and the normalised measure.

    Parameters
    ----------
    constituents, offsets
        The jets; see the module.
    radius, beta
        Of the measure: τ = Σ pT min(ΔR)^beta / (Σ pT radius^beta).
    minimise
        Whether the axes are moved to the next minimum of τ (one pass).

    Returns
    -------
    numpy.ndarray
        (jets, 5) float64; 0 where there are not more constituents than axes.
    """
    taus = np.zeros((len(offsets) - 1, MAX_SUBJETS))
    for jet in range(len(taus)):
        members = constituents[offsets[jet] : offsets[jet + 1]]
        n = len(members)
        if n < 2:
            continue
        nodes, _, child, _ = cluster(members, KT, EVERYTHING, NO_PRUNING, 0.0)
        rap, phi, pt = np.empty(len(nodes)), np.empty(len(nodes)), np.empty(len(nodes))
        for node in range(len(nodes)):
            px, py = nodes[node, 0], nodes[node, 1]
            rap[node] = rapidity(px, py, nodes[node, 2], nodes[node, 3])
            phi[node] = math.atan2(py, px)
            pt[node] = math.hypot(px, py)
        scale = 0.0
        for i in range(n):
            scale += pt[i]
        scale *= radius**beta
        for n_axes in range(1, min(MAX_SUBJETS, n - 1) + 1):
            # With k axes, the last k - 1 recombinations are undone.
            first_undone = 2 * n - n_axes
            axes = np.empty((2, n_axes))
            found = 0
            for node in range(first_undone):
                if child[node] >= first_undone or child[node] < 0:
                    axes[0, found], axes[1, found] = rap[node], phi[node]
                    found += 1
            if minimise:
                _minimise(rap[:n], phi[:n], pt[:n], axes, beta)
            total = 0.0
            for i in range(n):
                total += pt[i] * _power(_nearest(rap[i], phi[i], axes)[1], 0.5 * beta)
            taus[jet, n_axes - 1] = total / scale
    return taus


@numba.njit(cache=True)
def _minimise(rap, phi, pt, axes, beta):
    """Move axes to a minimum of τ: each to the weighted mean of the points nearest to it."""
    n_axes = axes.shape[1]
    sums = np.empty((3, n_axes))
    for _ in range(AXES_STEPS):
        for k in range(n_axes):
            sums[0, k] = sums[1, k] = sums[2, k] = 0.0
        for i in range(len(rap)):
            k, distance2 = _nearest(rap[i], phi[i], axes)
            weight = pt[i] * _power(AXES_ACCURACY**2 + distance2, 0.5 * beta - 1.0)
            azimuth = phi[i]
            if azimuth - axes[1, k] > math.pi:
                azimuth -= 2.0 * math.pi
            elif azimuth - axes[1, k] < -math.pi:
                azimuth += 2.0 * math.pi
            sums[0, k] += weight * rap[i]
            sums[1, k] += weight * azimuth
            sums[2, k] += weight
        moved = 0.0
        for k in range(n_axes):
            if sums[2, k] == 0.0:  # no point is nearest to this axis
                continue
            new_rap, new_phi = sums[0, k] / sums[2, k], sums[1, k] / sums[2, k]
            moved += math.hypot(axes[0, k] - new_rap, axes[1, k] - new_phi)
            axes[0, k] = new_rap
            axes[1, k] = new_phi - 2.0 * math.pi * round(new_phi / (2.0 * math.pi))
        if moved <= AXES_ACCURACY * n_axes:
            return


@numba.njit(cache=True)
def _nearest(rap, phi, axes):
    """Return the axis nearest to a point, and ΔR²."""
    best, shortest = 0, math.inf
    for k in range(axes.shape[1]):
        delta_rapidity = rap - axes[0, k]
        angle = delta_phi(phi, axes[1, k])
        distance2 = delta_rapidity * delta_rapidity + angle * angle
        if distance2 < shortest:
            best, shortest = k, distance2
    return best, shortest


@numba.njit(cache=True)
def _power(value, exponent):
    """Return value**exponent, quickly for the exponents of beta = 1."""
    if exponent == 0.5:
        return math.sqrt(value)
    if exponent == -0.5:
        return 1.0 / math.sqrt(value)
    return value**exponent


@numba.njit(cache=True)
def _nothing(n_jets):
    return np.zeros((n_jets, MAX_SUBJETS, 4)), np.zeros(n_jets, np.int32)


@numba.njit(cache=True)
def _sum(momenta):
    px, py, pz, e = 0.0, 0.0, 0.0, 0.0
    for i in range(len(momenta)):
        px += momenta[i, 0]
        py += momenta[i, 1]
        pz += momenta[i, 2]
        e += momenta[i, 3]
    return px, py, pz, e


@numba.njit(cache=True)
def _distance(nodes, first, second):
    delta_rapidity = rapidity(
        nodes[first, 0], nodes[first, 1], nodes[first, 2], nodes[first, 3]
    ) - rapidity(nodes[second, 0], nodes[second, 1], nodes[second, 2], nodes[second, 3])
    angle = delta_phi(
        math.atan2(nodes[first, 1], nodes[first, 0]), math.atan2(nodes[second, 1], nodes[second, 0])
    )
    return math.hypot(delta_rapidity, angle)


@numba.njit(cache=True)
def _hardest(nodes, jets):
    best = jets[0]
    for k in range(len(jets)):
        if math.hypot(nodes[jets[k], 0], nodes[jets[k], 1]) > math.hypot(
            nodes[best, 0], nodes[best, 1]
        ):
            best = jets[k]
    return best


@numba.njit(cache=True)
def _store(nodes, parents, node, momenta, jet):
    """Store a groomed jet and its two parents; return the number of those, none of a particle."""
    for axis in range(4):
        momenta[jet, 0, axis] = nodes[node, axis]
    if parents[node, 0] < 0:
        return 0
    _store_hardest(nodes, parents[node], 2, momenta, jet)
    return 2


@numba.njit(cache=True)
def _store_hardest(nodes, subjets, count, momenta, jet):
    """Store the hardest of the first `count` subjets after the jet itself, by falling pT."""
    for place in range(1, min(count, MAX_SUBJETS - 1) + 1):
        best, hardest = 0, -1.0
        for k in range(count):
            if subjets[k] < 0:
                continue
            pt2 = nodes[subjets[k], 0] ** 2 + nodes[subjets[k], 1] ** 2
            if pt2 > hardest:
                best, hardest = k, pt2
        for axis in range(4):
            momenta[jet, place, axis] = nodes[subjets[best], axis]
        subjets[best] = -1  # taken
