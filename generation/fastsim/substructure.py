"""Groomed jets and N-subjettiness, with the conventions of FastJet and its contributed tools.

Every function takes the constituents of all jets as one (n, 4) array of px, py, pz, E in GeV,
jet `i` being rows `offsets[i]` to `offsets[i + 1]`. Groomed jets come as a (jets, 5, 4) array: the
groomed jet, then up to four of its subjets by falling pT, zeros for what does not exist; with the
number of subjets of each.
"""

import math

import numpy as np
from numpy.typing import NDArray

from generation.fastsim.kernels import device, kernel
from generation.fastsim.reclustering import (
    CAMBRIDGE_AACHEN,
    EVERYTHING,
    KT,
    Clusterings,
    cluster,
    delta_phi,
    place,
)

MAX_SUBJETS = 5

# fjcontrib: OnePass axes stop after so many steps, or when the axes move less than this.
AXES_STEPS = 1000
AXES_ACCURACY = 1e-4

Groomed = tuple[NDArray[np.float64], NDArray[np.int32]]


def soft_drop(
    constituents: NDArray[np.float64],
    offsets: NDArray[np.int64],
    symmetry_cut: float,
    beta: float,
    radius: float,
) -> Groomed:
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
    history = cluster(constituents, offsets, CAMBRIDGE_AACHEN, EVERYTHING)
    nodes = _descend(history.momenta, history.parents, history.end - 1, symmetry_cut, beta, radius)
    return _with_parents(history, nodes)


def prune(
    constituents: NDArray[np.float64],
    offsets: NDArray[np.int64],
    radius: float,
    radius_factor: float,
    symmetry_cut: float,
) -> Groomed:
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
    total = _sum(constituents, _owners(np.diff(offsets)), len(offsets) - 1)
    mass2 = total[:, 3] ** 2 - (total[:, :3] ** 2).sum(axis=1)
    cut = radius_factor * 2.0 * np.sqrt(np.maximum(mass2, 0.0)) / np.maximum(_pt(total), 1e-300)
    history = cluster(constituents, offsets, CAMBRIDGE_AACHEN, radius, cut, symmetry_cut)
    found, owner = _inclusive_jets(history)
    order = np.lexsort((-_pt(history.momenta[found]), owner))
    nodes = found[order][np.searchsorted(owner, np.arange(len(history.start)))]
    while True:  # down to the last recombination that dropped nothing
        parents = history.parents[nodes]
        dropped = (parents[:, 0] >= 0) & (parents[:, 1] < 0)
        if not dropped.any():
            return _with_parents(history, nodes)
        nodes = np.where(dropped, parents[:, 0], nodes)


def trim(
    constituents: NDArray[np.float64],
    offsets: NDArray[np.int64],
    radius: float,
    fraction: float,
) -> Groomed:
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
    n_jets = len(offsets) - 1
    total = _sum(constituents, _owners(np.diff(offsets)), n_jets)
    history = cluster(constituents, offsets, KT, radius)
    found, owner = _inclusive_jets(history)
    kept = _pt(history.momenta[found]) >= fraction * _pt(total)[owner]
    subjets, owner = history.momenta[found[kept]], owner[kept]
    return _groomed(_sum(subjets, owner, n_jets), subjets, owner)


def n_subjettiness(
    constituents: NDArray[np.float64],
    offsets: NDArray[np.int64],
    radius: float,
    beta: float,
    minimise: bool,
) -> NDArray[np.float64]:
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
    history = cluster(constituents, offsets, KT, EVERYTHING)
    taus = np.zeros((len(history.start), MAX_SUBJETS))
    _measure(
        history.momenta, history.child, history.start, history.members, radius, beta, minimise,
        np.empty((3, len(history.child))), np.empty((5, MAX_SUBJETS)), taus,
    )  # fmt: skip
    return taus


def _pt(momenta: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.hypot(momenta[:, 0], momenta[:, 1])


def _owners(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.repeat(np.arange(len(counts)), counts)


def _sum(
    momenta: NDArray[np.float64], owner: NDArray[np.int64], n_jets: int
) -> NDArray[np.float64]:
    """Return the sum of the momenta of each owner."""
    sums = [np.bincount(owner, weights=axis, minlength=n_jets) for axis in momenta.T]
    return np.stack(sums, axis=1)


def _inclusive_jets(history: Clusterings) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the nodes that became part of nothing, and the jet that each was found in."""
    owner = np.searchsorted(history.start, np.arange(len(history.child)), side="right") - 1
    found = np.flatnonzero(
        (history.child < 0) & (np.arange(len(history.child)) < history.end[owner])
    )
    return found, owner[found]


def _with_parents(history: Clusterings, nodes: NDArray[np.int64]) -> Groomed:
    """Return groomed jets that are nodes, with their parents as subjets; a particle has none."""
    parents = history.parents[nodes]
    owner = _owners(2 * (parents[:, 0] >= 0))
    return _groomed(history.momenta[nodes], history.momenta[parents[parents >= 0]], owner)


def _groomed(
    jets: NDArray[np.float64], subjets: NDArray[np.float64], owner: NDArray[np.int64]
) -> Groomed:
    """Return jets with their hardest subjets behind them."""
    momenta = np.zeros((len(jets), MAX_SUBJETS, 4))
    momenta[:, 0] = jets
    counts = np.bincount(owner, minlength=len(jets))
    order = np.lexsort((-_pt(subjets), owner))
    place = 1 + np.arange(len(order)) - (np.cumsum(counts) - counts)[owner]
    stored = place < MAX_SUBJETS
    momenta[owner[stored], place[stored]] = subjets[order[stored]]
    return momenta, counts.astype(np.int32)


@kernel()
def _descend(momenta, parents, nodes, symmetry_cut, beta, radius):
    """Follow the harder parents of each node until both are hard enough; return the node there."""
    for jet in range(len(nodes)):
        node = nodes[jet]
        while parents[node, 0] >= 0:
            first, second = parents[node, 0], parents[node, 1]
            first_pt = math.hypot(momenta[first, 0], momenta[first, 1])
            second_pt = math.hypot(momenta[second, 0], momenta[second, 1])
            symmetry = min(first_pt, second_pt) / max(first_pt + second_pt, 1e-300)
            first_rap, first_phi, _ = place(momenta, first)
            second_rap, second_phi, _ = place(momenta, second)
            distance = math.hypot(first_rap - second_rap, delta_phi(first_phi, second_phi))
            if symmetry > symmetry_cut * (distance / radius) ** beta:
                break
            node = first if first_pt >= second_pt else second
        nodes[jet] = node
    return nodes


@kernel()
def _measure(momenta, child, start, members, radius, beta, minimise, points, axes, taus):
    """Set τ; `points` and `axes` are scratch: rapidity, azimuth, pT, and sums for new axes."""
    for node in range(len(child)):
        points[0, node], points[1, node], _ = place(momenta, node)
        points[2, node] = math.hypot(momenta[node, 0], momenta[node, 1])
    for jet in range(len(start)):
        first, n = start[jet], members[jet]
        scale = 0.0
        for i in range(first, first + n):
            scale += points[2, i]
        scale = max(scale * radius**beta, 1e-300)
        for n_axes in range(1, min(MAX_SUBJETS, n - 1) + 1):
            # With k axes, the last k - 1 recombinations are undone.
            first_undone = first + 2 * n - n_axes
            found = 0
            for node in range(first, first_undone):
                if child[node] >= first_undone or child[node] < 0:
                    axes[0, found], axes[1, found] = points[0, node], points[1, node]
                    found += 1
            if minimise:
                _minimise(points, first, first + n, axes, n_axes, beta)
            total = 0.0
            for i in range(first, first + n):
                distance2 = _nearest(points, i, axes, n_axes)[1]
                total += points[2, i] * _power(distance2, 0.5 * beta)
            taus[jet, n_axes - 1] = total / scale


@device()
def _minimise(points, first, last, axes, n_axes, beta):
    """Move axes to a minimum of τ: each to the weighted mean of the points nearest to it."""
    for _ in range(AXES_STEPS):
        for k in range(n_axes):
            axes[2, k] = axes[3, k] = axes[4, k] = 0.0
        for i in range(first, last):
            k, distance2 = _nearest(points, i, axes, n_axes)
            weight = points[2, i] * _power(AXES_ACCURACY**2 + distance2, 0.5 * beta - 1.0)
            azimuth = points[1, i]
            if azimuth - axes[1, k] > math.pi:
                azimuth -= 2.0 * math.pi
            elif azimuth - axes[1, k] < -math.pi:
                azimuth += 2.0 * math.pi
            axes[2, k] += weight * points[0, i]
            axes[3, k] += weight * azimuth
            axes[4, k] += weight
        moved = 0.0
        for k in range(n_axes):
            if axes[4, k] == 0.0:  # no point is nearest to this axis
                continue
            rap, phi = axes[2, k] / axes[4, k], axes[3, k] / axes[4, k]
            moved += math.hypot(axes[0, k] - rap, axes[1, k] - phi)
            if phi > math.pi:
                phi -= 2.0 * math.pi
            elif phi < -math.pi:
                phi += 2.0 * math.pi
            axes[0, k], axes[1, k] = rap, phi
        if moved <= AXES_ACCURACY * n_axes:
            return


@device()
def _nearest(points, i, axes, n_axes):
    """Return the axis nearest to a point, and ΔR²."""
    best, shortest = 0, math.inf
    for k in range(n_axes):
        delta_rapidity = points[0, i] - axes[0, k]
        angle = delta_phi(points[1, i], axes[1, k])
        distance2 = delta_rapidity * delta_rapidity + angle * angle
        if distance2 < shortest:
            best, shortest = k, distance2
    return best, shortest


@device()
def _power(value, exponent):
    """Return value**exponent, quickly for the exponents of beta = 1."""
    if exponent == 0.5:
        return math.sqrt(value)
    if exponent == -0.5:
        return 1.0 / math.sqrt(value)
    return value**exponent
