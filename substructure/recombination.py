"""Sequential recombination of the constituents of jets, for grooming and jet shapes.

The nearest-neighbour algorithm of FastJet (hep-ph/0512210), O(N²): right for the tens to hundreds
of constituents of a jet, where building a FastJet object for each jet would dominate. Jets of
thousands of constituents go to FastJet's own O(N ln N) algorithm.
"""

import math
from typing import NamedTuple

import fastjet
import numpy as np
from numpy.typing import NDArray

from substructure.kernels import inlined, kernel

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

EVERYTHING = math.inf  # a radius in which all constituents end in one jet
FASTJET_RADIUS_MAX = 1000.0


@inlined()
def rapidity(px, py, pz, e):
    """Return the rapidity as FastJet's PseudoJet defines it, finite for every momentum."""
    pt2 = px * px + py * py
    along = abs(pz)
    value = MAX_RAPIDITY + along
    if pt2 > 0.0 or e != along:
        transverse2 = pt2 + max(0.0, (e + pz) * (e - pz) - pt2)
        if transverse2 > 0.0:
            total = e + along
            value = -0.5 * math.log(transverse2 / (total * total))
    return value if pz >= 0.0 else -value


@inlined()
def azimuth(px, py):
    """Return the azimuth as FastJet has it, 0 to 2π; 0 of nothing."""
    value = math.atan2(py, px) if px != 0.0 or py != 0.0 else 0.0
    return value + 2.0 * math.pi if value < 0.0 else value


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
        (nodes,) direction of each; azimuths are 0 to 2π.
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
    """Cluster the constituents of each jet, E scheme.

    Parameters
    ----------
    constituents, offsets
        (n, 4) px, py, pz, E in GeV, all finite, and the rows of each jet.
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
        *np.empty((6, most)), *np.empty((2, most), np.int64),
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
    settings = min(radius, FASTJET_RADIUS_MAX), fastjet.NlnN4pi, fastjet.E_scheme
    definition = fastjet.JetDefinition(algorithm, *settings)
    # The recombiner belongs to this definition, which must outlive the clustering.
    plain = definition
    pruning = fastjet.PruningRecombiner(pruning_fraction, pruning_radius, plain.recombiner())
    if pruning_radius < math.inf:
        definition = fastjet.JetDefinition(algorithm, *settings)
        definition.set_recombiner(pruning)
    start, n = history.start[jet], history.members[jet]
    particles = fastjet.vectorPJ()
    for momentum in history.momenta[start : start + n].tolist():
        particles.append(fastjet.PseudoJet(*momentum))
    sequence = fastjet._swig.ClusterSequence(particles, definition)

    # In the order of the nodes: the particles, then what each recombination has made.
    nodes = list(sequence.jets())
    stop = start + len(nodes)
    history.momenta[start:stop] = [(p.px(), p.py(), p.pz(), p.e()) for p in nodes]
    history.rapidity[start:stop] = [p.rap() for p in nodes]
    history.azimuth[start:stop] = [p.phi() for p in nodes]
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
    history.end[jet] = stop
    if radius > FASTJET_RADIUS_MAX:
        _recombine_the_rest(history, jet)


def _recombine_the_rest(history: Clusterings, jet: int) -> None:
    """Make one jet of those that FastJet has left, too far apart for its largest radius."""
    start, stop = history.start[jet], history.end[jet]
    rest, *others = (start + np.flatnonzero(history.child[start:stop] < 0)).tolist()
    for made, other in enumerate(others, stop):
        history.child[[rest, other]] = made
        history.parents[made] = rest, other
        history.momenta[made] = history.momenta[rest] + history.momenta[other]
        history.rapidity[made] = rapidity(*history.momenta[made])
        history.azimuth[made] = azimuth(*history.momenta[made, :2])
        rest = made
    history.end[jet] = stop + len(others)


@inlined()
def _enter(node, place, momenta, rap, phi, pt2, is_kt, x, y, scale, node_of):
    """Give a node its direction, and put it in a place among those left to recombine."""
    px, py = momenta[node, 0], momenta[node, 1]
    rap[node] = rapidity(px, py, momenta[node, 2], momenta[node, 3])
    phi[node], pt2[node] = azimuth(px, py), px * px + py * py
    x[place], y[place], node_of[place] = rap[node], phi[node], node
    scale[place] = pt2[node] if is_kt else 1.0


@kernel()
def _nearest(i, n, x, y, radius2, distance):
    """Return which of the first n places is nearest to `i`, or the beam, and ΔR² to it.

    All distances are left in `distance`, infinite to itself. Two loops, so that the first one
    compiles to vector instructions.
    """
    for k in range(n):
        delta = abs(y[k] - y[i])
        delta = min(delta, 2.0 * math.pi - delta)
        distance[k] = (x[k] - x[i]) * (x[k] - x[i]) + delta * delta
    distance[i] = math.inf
    nearest, shortest = BEAM, radius2
    for k in range(n):
        if distance[k] < shortest:
            nearest, shortest = k, distance[k]
    return nearest, shortest


@kernel()
def _cluster_jets(
    momenta, rap, phi, pt2, parents, child, start, members, end, is_kt,
    radius2, pruning_radius2, pruning_fraction2,
    x, y, scale, gap, distance, from_new, node_of, nearest,
):  # fmt: skip
    """Fill the nodes of each jet.

    What is left to recombine lies side by side in the last arrays: rapidity and azimuth, the
    factor of kT (pT²) or Cambridge/Aachen (1) distances, ΔR² to the nearest neighbour among the
    rest, the node, and the neighbour's place.

    If two are closest in their distance, one of them is the geometric neighbour of the other
    (hep-ph/0512210), so that one neighbour each is all to remember.
    """
    for jet in range(len(end)):
        node, left = start[jet], members[jet]
        for k in range(left):
            _enter(node, k, momenta, rap, phi, pt2, is_kt, x, y, scale, node_of)
            node += 1
        for k in range(left):
            nearest[k], gap[k] = _nearest(k, left, x, y, radius2, distance)
        while left > 0:
            # Either two nodes become one, which comes to the place of the first, or a node leaves
            # for the beam. The last one takes the empty place.
            gone, shortest = 0, math.inf
            for k in range(left):
                factor = scale[k]
                if nearest[k] != BEAM and scale[nearest[k]] < factor:
                    factor = scale[nearest[k]]
                if factor * gap[k] < shortest:
                    gone, shortest = k, factor * gap[k]
            left -= 1
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
                _enter(node, place, momenta, rap, phi, pt2, is_kt, x, y, scale, node_of)
                node += 1
            x[gone], y[gone], scale[gone] = x[left], y[left], scale[left]
            gap[gone], node_of[gone], nearest[gone] = gap[left], node_of[left], nearest[left]
            if place >= 0:
                nearest[place], gap[place] = _nearest(place, left, x, y, radius2, from_new)
            for k in range(left):
                if k == place:
                    continue
                if nearest[k] == gone or nearest[k] == place:
                    # The neighbour has gone: look for the next one.
                    nearest[k], gap[k] = _nearest(k, left, x, y, radius2, distance)
                    continue
                if nearest[k] == left:
                    nearest[k] = gone
                if place >= 0 and from_new[k] < gap[k]:
                    nearest[k], gap[k] = place, from_new[k]
        end[jet] = node
