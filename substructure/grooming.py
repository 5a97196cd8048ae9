"""Groomed jets, with the conventions of FastJet and its contributed tools.

Every function takes the constituents of all jets as one (n, 4) array of px, py, pz, E in GeV,
jet `i` being rows `offsets[i]` to `offsets[i + 1]`. Groomed jets come as a (jets, 5, 4) array: the
groomed jet, then up to four of its subjets by falling pT, zeros for what does not exist; with the
number of subjets of each.
"""

import numpy as np
from numpy.typing import NDArray

from substructure.recombination import (
    CAMBRIDGE_AACHEN,
    EVERYTHING,
    KT,
    Clusterings,
    cluster,
)

# The groomed jet and its hardest subjets.
STORED = 5

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
        A splitting passes with min(pT)/sum(pT) > symmetry_cut (ΔR/radius)^beta. Where none does,
        the last particle remains.

    Returns
    -------
    momenta, counts
        The groomed jets; see the module.
    """
    return _with_parents(*_softened(constituents, offsets, symmetry_cut, beta, radius))


def soft_drop_momenta(
    constituents: NDArray[np.float64],
    offsets: NDArray[np.int64],
    symmetry_cut: float,
    beta: float,
    radius: float,
) -> NDArray[np.float64]:
    """Return the (jets, 4) momenta of jets groomed as by `soft_drop`; 0 without constituents."""
    history, nodes = _softened(constituents, offsets, symmetry_cut, beta, radius)
    momenta = np.zeros((len(nodes), 4))
    momenta[nodes >= 0] = history.momenta[nodes[nodes >= 0]]
    return momenta


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
    momenta = np.zeros((len(jets), STORED, 4))
    momenta[:, 0] = jets
    counts = np.bincount(owner, minlength=len(jets))
    order = np.lexsort((-_pt(subjets), owner))
    place = 1 + np.arange(len(order)) - (np.cumsum(counts) - counts)[owner]
    stored = place < STORED
    momenta[owner[stored], place[stored]] = subjets[order[stored]]
    return momenta, counts.astype(np.int32)


def _softened(
    constituents: NDArray[np.float64],
    offsets: NDArray[np.int64],
    symmetry_cut: float,
    beta: float,
    radius: float,
) -> tuple[Clusterings, NDArray[np.int64]]:
    """Return the Cambridge/Aachen histories and where soft drop stops, -1 for jets of nothing."""
    history = cluster(constituents, offsets, CAMBRIDGE_AACHEN, EVERYTHING)
    made = np.flatnonzero(history.parents[:, 0] >= 0)
    first, second = history.parents[made].T
    pt = _pt(history.momenta)
    cut: float | NDArray[np.float64] = symmetry_cut
    if beta != 0.0:
        delta_phi = np.abs(history.azimuth[first] - history.azimuth[second])
        distance = np.hypot(
            history.rapidity[first] - history.rapidity[second],
            np.minimum(delta_phi, 2.0 * np.pi - delta_phi),
        )
        cut = symmetry_cut * (distance / radius) ** beta
    passes = np.minimum(pt[first], pt[second]) > cut * (pt[first] + pt[second])
    # Where each node leads: itself where it passes, else its harder parent.
    following = np.arange(len(pt))
    following[made] = np.where(passes, made, np.where(pt[first] >= pt[second], first, second))
    nodes = np.where(history.members > 0, history.end - 1, -1)
    there = nodes[nodes >= 0]
    while np.any(following[there] != there):
        following = following[following]  # twice as many steps at a time
        there = following[there]
    nodes[nodes >= 0] = there
    return history, nodes
