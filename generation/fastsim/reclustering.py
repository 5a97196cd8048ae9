"""Sequential recombination of the constituents of one jet, for grooming and jet shapes.

The nearest-neighbour algorithm of FastJet (hep-ph/0512210), O(N²): right for the tens to hundreds
of constituents of a jet, where building a FastJet object for each jet would dominate.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from generation.fastsim.kernels import device, kernel

# FastJet's rapidity of a momentum along the beam starts here.
MAX_RAPIDITY = 1e5

BEAM = -1

CAMBRIDGE_AACHEN = 0.0
KT = 1.0

EVERYTHING = 1e3  # FastJet's largest radius: all constituents end in one jet


@kernel()
def rapidity(px, py, pz, e):
    """Return the rapidity as FastJet's PseudoJet defines it, finite for every momentum."""
    pt2 = px * px + py * py
    if e == abs(pz) and pt2 == 0.0:
        return math.copysign(MAX_RAPIDITY + abs(pz), pz)
    mass2 = max(0.0, e * e - pz * pz - pt2)
    sum_ = e + abs(pz)
    value = 0.5 * math.log((pt2 + mass2) / (sum_ * sum_)) if pt2 + mass2 > 0.0 else -MAX_RAPIDITY
    return -value if pz > 0.0 else value


@device()
def delta_phi(first, second):
    """Return the smaller angle between two azimuths, at most a turn apart."""
    delta = abs(first - second)
    return min(delta, 2.0 * math.pi - delta)


class Clusterings(NamedTuple):
    """How the constituents of each jet were recombined.

    The nodes of jet `i` are rows `start[i]` to `end[i]`: its constituents, then the results of the
    recombinations in their order.

    Attributes
    ----------
    momenta
        (nodes, 4) px, py, pz, E in GeV.
    parents
        (nodes, 2) the rows that each was made of; -1 for constituents, and in place of what was
        dropped.
    child
        (nodes,) the row that each became part of, -1 for inclusive jets.
    start, members, end
        (jets,) first node, number of constituents, node after the last.
    """

    momenta: NDArray[np.float64]
    parents: NDArray[np.int64]
    child: NDArray[np.int64]
    start: NDArray[np.int64]
    members: NDArray[np.int64]
    end: NDArray[np.int64]


def cluster(
    constituents: NDArray[np.float64],
    offsets: NDArray[np.int64],
    power: float,
    radius: float,
    pruning_radius: NDArray[np.float64] | None = None,
    pruning_fraction: float = 0.0,
) -> Clusterings:
    """Cluster the constituents of each jet.

    Parameters
    ----------
    constituents, offsets
        (n, 4) px, py, pz, E in GeV, and the rows of each jet.
    power
        `CAMBRIDGE_AACHEN` or `KT`.
    radius
        Radius parameter.
    pruning_radius, pruning_fraction
        Recombinations farther apart than the radius of the jet whose softer side has less than
        the fraction of the common pT drop that side (pruning, arXiv:0912.0033).

    Returns
    -------
    Clusterings
        The histories.
    """
    if pruning_radius is None:
        pruning_radius = np.full(len(offsets) - 1, np.inf)
    members = np.diff(offsets)
    # n constituents make n - 1 recombinations at most.
    start = np.concatenate(([0], np.cumsum(np.maximum(2 * members - 1, 0))))
    momenta = np.zeros((start[-1], 4))
    parents, child = np.full((start[-1], 2), -1), np.full(start[-1], -1)
    momenta[np.repeat(start[:-1] - offsets[:-1], members) + np.arange(offsets[-1])] = constituents
    most = members.max(initial=0)
    end = np.empty(len(members), np.int64)
    _cluster_jets(
        momenta, parents, child, start[:-1], members, end, power, radius,
        pruning_radius, pruning_fraction, np.empty((4, most)), np.empty((2, most), np.int64),
    )  # fmt: skip
    return Clusterings(momenta, parents, child, start[:-1], members, end)


@kernel()
def _cluster_jets(
    momenta, parents, child, start, members, end, power, radius,
    pruning_radius, pruning_fraction, scratch, places,
):  # fmt: skip
    for jet in range(len(end)):
        end[jet] = _recombine(
            momenta, parents, child, start[jet], members[jet], power, radius,
            pruning_radius[jet], pruning_fraction, scratch, places,
        )  # fmt: skip


@device()
def _recombine(
    momenta, parents, child, start, n, power, radius,
    pruning_radius, pruning_fraction, scratch, places,
):  # fmt: skip
    """Recombine the n nodes from `start` on; return the row after the last new one."""
    # What is left to recombine lies side by side: its node, rapidity and azimuth, the factor of
    # kT (pT²) or Cambridge/Aachen (1) distances, nearest neighbour among the rest, and ΔR² to it.
    rap, phi, scale, gap = scratch[0], scratch[1], scratch[2], scratch[3]
    node_of, nearest = places[0], places[1]
    for i in range(n):
        node_of[i] = start + i
        rap[i], phi[i], pt2 = place(momenta, start + i)
        scale[i] = pt2 if power == KT else 1.0
        nearest[i], gap[i] = BEAM, radius * radius
        for j in range(i):
            distance2 = _distance2(i, j, rap, phi)
            if distance2 < gap[i]:
                nearest[i], gap[i] = j, distance2
            if distance2 < gap[j]:
                nearest[j], gap[j] = i, distance2

    left, made = n, start + n
    while left > 0:
        i = _closest(left, scale, nearest, gap)
        j = nearest[i]
        if j == BEAM:
            gone = i
        else:
            gone = max(i, j)
            merged = min(i, j)
            first, second = node_of[i], node_of[j]
            child[first] = child[second] = made
            parents[made, 0], parents[made, 1] = first, second
            for axis in range(4):
                momenta[made, axis] = momenta[first, axis] + momenta[second, axis]
            if gap[i] > pruning_radius * pruning_radius:
                _veto(made, momenta, parents, pruning_fraction)
            rap[merged], phi[merged], pt2 = place(momenta, made)
            scale[merged] = pt2 if power == KT else 1.0
            node_of[merged] = made
            made += 1
        # The last one takes the empty place.
        left -= 1
        if gone != left:
            node_of[gone], nearest[gone], gap[gone] = node_of[left], nearest[left], gap[left]
            rap[gone], phi[gone], scale[gone] = rap[left], phi[left], scale[left]
        for k in range(left):
            near = nearest[k]
            if near == i or (near == j and j != BEAM) or (j != BEAM and k == merged):
                nearest[k], gap[k] = _find_nearest(k, left, rap, phi, radius)
            else:
                if near == left:
                    nearest[k] = gone
                if j != BEAM:
                    distance2 = _distance2(k, merged, rap, phi)
                    if distance2 < gap[k]:
                        nearest[k], gap[k] = merged, distance2
    return made


@device()
def place(momenta, node):
    """Return rapidity, azimuth and pT²."""
    px, py = momenta[node, 0], momenta[node, 1]
    y = rapidity(px, py, momenta[node, 2], momenta[node, 3])
    return y, math.atan2(py, px), px * px + py * py


@device()
def _distance2(i, j, rap, phi):
    """Return ΔR² of two places."""
    delta_rapidity = rap[i] - rap[j]
    angle = delta_phi(phi[i], phi[j])
    return delta_rapidity * delta_rapidity + angle * angle


@device()
def _find_nearest(i, left, rap, phi, radius):
    """Return the nearest other place within the radius, or the beam, and ΔR²."""
    nearest, shortest = BEAM, radius * radius
    for j in range(left):
        distance2 = _distance2(i, j, rap, phi)
        if distance2 < shortest and j != i:
            nearest, shortest = j, distance2
    return nearest, shortest


@device()
def _closest(left, scale, nearest, gap):
    """Return the place with the smallest distance measure."""
    best, shortest = 0, math.inf
    for i in range(left):
        factor = scale[i]
        if nearest[i] != BEAM:
            factor = min(factor, scale[nearest[i]])
        if factor * gap[i] < shortest:
            best, shortest = i, factor * gap[i]
    return best


@device()
def _veto(made, momenta, parents, fraction):
    """Drop the softer parent of a new node when its share of the pT is too small."""
    first, second = parents[made, 0], parents[made, 1]
    first2 = momenta[first, 0] ** 2 + momenta[first, 1] ** 2
    second2 = momenta[second, 0] ** 2 + momenta[second, 1] ** 2
    both2 = momenta[made, 0] ** 2 + momenta[made, 1] ** 2
    if min(first2, second2) < fraction * fraction * both2:
        kept = first if first2 > second2 else second
        for axis in range(4):
            momenta[made, axis] = momenta[kept, axis]
        parents[made, 0], parents[made, 1] = kept, -1
