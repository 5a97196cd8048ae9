"""Groomed jets and N-subjettiness, with the conventions of FastJet and its contributed tools.

Every function takes the constituents of all jets as one (n, 4) array of px, py, pz, E in GeV,
jet `i` being rows `offsets[i]` to `offsets[i + 1]`. Groomed jets come as a (jets, 5, 4) array: the
groomed jet, then up to four of its subjets by falling pT, zeros for what does not exist; with the
number of subjets of each.
"""

import math

import numpy as np
from numpy.typing import NDArray

from generation.fastsim.kernels import kernel
from generation.fastsim.reclustering import (
    CAMBRIDGE_AACHEN,
    EVERYTHING,
    KT,
    Clusterings,
    cluster,
    distance2,
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
    nodes = _descend(history, symmetry_cut, beta, radius)
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
    pt = _pt(history.momenta)
    stop = history.start + history.members
    taus = np.zeros((len(stop), MAX_SUBJETS))
    for n_axes in range(1, MAX_SUBJETS + 1):
        jets = np.flatnonzero(history.members > n_axes)
        axes, measured = _exclusive_jets(history, jets, n_axes), np.empty(len(jets))
        _measure(
            history.rapidity, history.azimuth, pt, history.start[jets], stop[jets],
            history.rapidity[axes], history.azimuth[axes], np.zeros((3, n_axes)), beta,
            AXES_STEPS if minimise else 0, measured,
        )  # fmt: skip
        taus[jets, n_axes - 1] = measured
    owner = _owners(history.members)
    scale = np.bincount(owner, weights=_pt(constituents), minlength=len(stop)) * radius**beta
    return taus / np.maximum(scale, 1e-300)[:, None]


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


def _exclusive_jets(
    history: Clusterings, jets: NDArray[np.int64], number: int
) -> NDArray[np.int64]:
    """Return the nodes, (jets, number), that are left when the last recombinations are undone."""
    first_undone = np.zeros_like(history.end)
    first_undone[jets] = history.end[jets] - (number - 1)
    owner = np.repeat(
        np.arange(len(history.start)), np.diff(history.start, append=len(history.child))
    )
    undone = first_undone[owner]
    node = np.arange(len(owner))
    found = np.flatnonzero((node < undone) & ((history.child >= undone) | (history.child < 0)))
    first = np.searchsorted(found, history.start[jets])
    # More of them when some could not be recombined, being too far away.
    return found[first[:, None] + np.arange(number)]


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


def _descend(
    history: Clusterings, symmetry_cut: float, beta: float, radius: float
) -> NDArray[np.int64]:
    """Follow the harder parents of each jet until both are hard enough; return the nodes there."""
    made = np.flatnonzero(history.parents[:, 0] >= 0)
    first, second = history.parents[made].T
    pt = _pt(history.momenta)
    symmetry = np.minimum(pt[first], pt[second]) / np.maximum(pt[first] + pt[second], 1e-300)
    delta_phi = np.abs(history.azimuth[first] - history.azimuth[second])
    distance = np.hypot(
        history.rapidity[first] - history.rapidity[second],
        np.minimum(delta_phi, 2.0 * np.pi - delta_phi),
    )
    passes = symmetry > symmetry_cut * (distance / radius) ** beta
    harder = np.where(pt[first] >= pt[second], first, second)
    following = np.arange(len(pt))
    following[made] = np.where(passes, made, harder)
    nodes = history.end - 1
    while np.any(following[nodes] != nodes):
        following = following[following]  # twice as many steps at a time
        nodes = following[nodes]
    return nodes


@kernel()
def _measure(rap, phi, pt, start, stop, axis_rap, axis_phi, sums, beta, steps, measured):
    """Measure Σ pT min(ΔR)^beta of each jet, after moving its axes to a minimum of that.

    A step moves each axis to the weighted mean of the points nearest to it. `sums` is working
    memory, zero: rapidity, azimuth and weight of each axis.
    """
    n_axes = axis_rap.shape[1]
    for jet in range(len(start)):
        total, left = 0.0, steps
        while True:
            for i in range(start[jet], stop[jet]):
                near, shortest = 0, math.inf
                for k in range(n_axes):
                    square = distance2(rap[i], phi[i], axis_rap[jet, k], axis_phi[jet, k])
                    if square < shortest:
                        near, shortest = k, square
                if left == 0:
                    total += pt[i] * (
                        math.sqrt(shortest) if beta == 1.0 else shortest ** (0.5 * beta)
                    )
                    continue
                weight = AXES_ACCURACY * AXES_ACCURACY + shortest
                if beta == 1.0:
                    weight = pt[i] * (1.0 / math.sqrt(weight))
                else:
                    weight = pt[i] * weight ** (0.5 * beta - 1.0)
                azimuth = phi[i]
                if azimuth - axis_phi[jet, near] > math.pi:
                    azimuth -= 2.0 * math.pi
                elif azimuth - axis_phi[jet, near] < -math.pi:
                    azimuth += 2.0 * math.pi
                sums[0, near] += weight * rap[i]
                sums[1, near] += weight * azimuth
                sums[2, near] += weight
            if left == 0:
                break
            left -= 1
            moved = 0.0
            for k in range(n_axes):
                if sums[2, k] == 0.0:  # no point is nearest to this axis
                    continue
                x, y = sums[0, k] / sums[2, k], sums[1, k] / sums[2, k]
                moved += math.hypot(axis_rap[jet, k] - x, axis_phi[jet, k] - y)
                if y > math.pi:
                    y -= 2.0 * math.pi
                elif y < -math.pi:
                    y += 2.0 * math.pi
                axis_rap[jet, k], axis_phi[jet, k] = x, y
                sums[0, k] = sums[1, k] = sums[2, k] = 0.0
            if moved <= AXES_ACCURACY * n_axes:
                left = 0
        measured[jet] = total
