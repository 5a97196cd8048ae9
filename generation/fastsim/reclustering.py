"""Sequential recombination of the constituents of one jet, for grooming and jet shapes.

The nearest-neighbour algorithm of FastJet (hep-ph/0512210), O(N²): right for the tens to hundreds
of constituents of a jet, where building a FastJet object for each jet would dominate. Jets of
thousands of constituents go to FastJet's own O(N ln N) algorithm.
"""

import math
from typing import NamedTuple

import fastjet
import numpy as np
from numpy.typing import NDArray

from generation.fastsim.kernels import inlined, kernel

# FastJet greets on standard output at its first use; its papers are named in the documentation.
fastjet._swig.ClusterSequence.set_fastjet_banner_stream(None)

# FastJet's rapidity of a momentum along the beam starts here.
MAX_RAPIDITY = 1e5

# Instead of the number of a place.
BEAM, NOWHERE = -1, -2

CAMBRIDGE_AACHEN = 0.0
KT = 1.0

# Beyond so many constituents FastJet is faster.
LARGE = 8000

EVERYTHING = 1e3  # FastJet's largest radius: all constituents end in one jet


@inlined()
def rapidity(px, py, pz, e):
    """Return the rapidity as FastJet's PseudoJet defines it, finite for every momentum."""
    pt2 = px * px + py * py
    if e == abs(pz) and pt2 == 0.0:
        return math.copysign(MAX_RAPIDITY + abs(pz), pz)
    mass2 = e * e - pz * pz - pt2
    transverse2 = pt2 + mass2 if mass2 > 0.0 else pt2
    sum_ = e + abs(pz)
    value = 0.5 * math.log(transverse2 / (sum_ * sum_)) if transverse2 > 0.0 else -MAX_RAPIDITY
    return -value if pz > 0.0 else value


@inlined()
def distance2(first_rapidity, first_azimuth, second_rapidity, second_azimuth):
    """Return ΔR² of two directions."""
    delta_rapidity = first_rapidity - second_rapidity
    delta_azimuth = abs(first_azimuth - second_azimuth)
    if delta_azimuth > math.pi:
        delta_azimuth = 2.0 * math.pi - delta_azimuth
    return delta_rapidity * delta_rapidity + delta_azimuth * delta_azimuth


class Clusterings(NamedTuple):
    """How the constituents of each jet were recombined.

    The nodes of jet `i` are rows `start[i]` to `end[i]`: its constituents, then the results of the
    recombinations in their order.

    Attributes
    ----------
    momenta
        (nodes, 4) px, py, pz, E in GeV.
    rapidity, azimuth
        (nodes,) direction of each.
    parents
        (nodes, 2) the rows that each was made of; -1 for constituents, and in place of what was
        dropped.
    child
        (nodes,) the row that each became part of, -1 for inclusive jets.
    start, members, end
        (jets,) first node, number of constituents, node after the last.
    """

    momenta: NDArray[np.float64]
    rapidity: NDArray[np.float64]
    azimuth: NDArray[np.float64]
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
    rap, phi, pt2 = np.zeros((3, start[-1]))
    end = np.empty(len(members), np.int64)
    history = Clusterings(momenta, rap, phi, parents, child, start[:-1], members, end)

    ordinary = np.flatnonzero(members <= LARGE)
    most, ends = members[ordinary].max(initial=0), np.empty(len(ordinary), np.int64)
    _cluster_jets(
        momenta, rap, phi, pt2, parents, child, start[ordinary], members[ordinary], ends,
        power == KT, radius * radius, pruning_radius[ordinary] ** 2,
        pruning_fraction * pruning_fraction,
        *np.empty((4, most)), *np.empty((2, most), np.int64),
    )  # fmt: skip
    end[ordinary] = ends
    for jet in np.flatnonzero(members > LARGE).tolist():
        _cluster_by_fastjet(history, jet, power, radius, pruning_radius[jet], pruning_fraction)
    return history


def _cluster_by_fastjet(
    history: Clusterings,
    jet: int,
    power: float,
    radius: float,
    pruning_radius: float,
    pruning_fraction: float,
) -> None:
    """Fill the nodes of one jet."""
    algorithm = fastjet.kt_algorithm if power == KT else fastjet.cambridge_algorithm
    definition = fastjet.JetDefinition(algorithm, radius, fastjet.NlnN4pi, fastjet.E_scheme)
    # The recombiner belongs to this definition, which must outlive the clustering.
    plain = definition
    pruning = fastjet.PruningRecombiner(pruning_fraction, pruning_radius, plain.recombiner())
    if pruning_radius < math.inf:
        definition = fastjet.JetDefinition(algorithm, radius, fastjet.NlnN4pi, fastjet.E_scheme)
        definition.set_recombiner(pruning)
    start, n = history.start[jet], history.members[jet]
    particles = fastjet.vectorPJ()
    for momentum in history.momenta[start : start + n].tolist():
        particles.append(fastjet.PseudoJet(*momentum))
    sequence = fastjet._swig.ClusterSequence(particles, definition)

    # In the order of the nodes: the particles, then what each recombination has made.
    nodes = list(sequence.jets())
    stop = start + len(nodes)
    history.end[jet] = stop
    history.momenta[start:stop] = [(p.px(), p.py(), p.pz(), p.e()) for p in nodes]
    history.rapidity[start:stop] = [p.rap() for p in nodes]
    history.azimuth[start:stop] = [p.phi_std() for p in nodes]
    node_of = {p.cluster_hist_index(): node for node, p in enumerate(nodes, start)}
    first, second = fastjet.PseudoJet(), fastjet.PseudoJet()
    pairs = np.empty((len(nodes) - n, 2), np.int64)
    for row, made in enumerate(nodes[n:]):
        sequence.has_parents(made, first, second)
        pairs[row] = node_of[first.cluster_hist_index()], node_of[second.cluster_hist_index()]
    made = np.arange(start + n, stop)
    history.child[pairs] = made[:, None]
    # A recombination that drops one has the momentum of the other.
    kept = (history.momenta[pairs] == history.momenta[made, None]).all(axis=2)
    drops = kept.any(axis=1) & (pruning_radius < math.inf)
    alone = np.stack([np.where(kept[:, 0], *pairs.T), np.full(len(pairs), -1)], axis=1)
    history.parents[made] = np.where(drops[:, None], alone, pairs)


@kernel()
def _cluster_jets(
    momenta, rap, phi, pt2, parents, child, start, members, end, is_kt,
    radius2, pruning_radius2, pruning_fraction2, x, y, scale, gap, node_of, nearest,
):  # fmt: skip
    """Fill the nodes of each jet.

    What is left to recombine lies side by side in the last six arrays: rapidity and azimuth, the
    factor of kT (pT²) or Cambridge/Aachen (1) distances, ΔR² to the nearest neighbour among the
    rest, the node, and the neighbour's place.
    """
    for jet in range(len(end)):
        node, left = start[jet], 0
        first_made = node + members[jet]
        while True:
            # Either the next constituent comes, or two nodes become one, which comes to the place
            # of the first, or a node leaves for the beam. The last one takes the empty place.
            place, gone = left, NOWHERE
            if node >= first_made:
                if left == 0:
                    break
                gone, shortest = 0, math.inf
                for k in range(left):
                    factor = scale[k]
                    if nearest[k] != BEAM and scale[nearest[k]] < factor:
                        factor = scale[nearest[k]]
                    if factor * gap[k] < shortest:
                        gone, shortest = k, factor * gap[k]
                place = nearest[gone]
                if place == BEAM:
                    place = NOWHERE
                else:
                    first, second = node_of[gone], node_of[place]
                    child[first] = child[second] = node
                    parents[node, 0], parents[node, 1] = first, second
                    px = momenta[first, 0] + momenta[second, 0]
                    py = momenta[first, 1] + momenta[second, 1]
                    far = gap[gone] > pruning_radius2[jet]
                    if pt2[first] <= pt2[second]:
                        first, second = second, first
                    if far and pt2[second] < pruning_fraction2 * (px * px + py * py):
                        parents[node, 0], parents[node, 1] = first, -1
                    for axis in range(4):
                        momenta[node, axis] = momenta[first, axis]
                        if parents[node, 1] >= 0:
                            momenta[node, axis] += momenta[second, axis]
                    if gone < place:
                        place, gone = gone, place
                left -= 1
                x[gone], y[gone], scale[gone] = x[left], y[left], scale[left]
                gap[gone], node_of[gone], nearest[gone] = gap[left], node_of[left], nearest[left]
            if place >= 0:
                px, py = momenta[node, 0], momenta[node, 1]
                rap[node] = rapidity(px, py, momenta[node, 2], momenta[node, 3])
                phi[node], pt2[node] = math.atan2(py, px), px * px + py * py
                x[place], y[place], scale[place] = rap[node], phi[node], 1.0
                if is_kt:
                    scale[place] = pt2[node]
                gap[place], node_of[place], nearest[place] = radius2, node, BEAM
                if place == left:
                    left += 1
                node += 1
            for k in range(left):
                if nearest[k] == gone or nearest[k] == place:
                    # The neighbour has gone: look for the next one.
                    gap[k], nearest[k] = radius2, BEAM
                    for other in range(left):
                        square = distance2(x[k], y[k], x[other], y[other])
                        if square < gap[k] and other != k:
                            gap[k], nearest[k] = square, other
                elif nearest[k] == left:
                    nearest[k] = gone
                if place >= 0 and place != k:
                    square = distance2(x[k], y[k], x[place], y[place])
                    if square < gap[k]:
                        gap[k], nearest[k] = square, place
                    if square < gap[place]:
                        gap[place], nearest[place] = square, k
        end[jet] = node
