"""Sequential recombination for lepton colliders, and exclusive jets of any of its algorithms.

FastJet's Python package has neither the Valencia algorithm nor exclusive jets for many events at
once. Events have some hundred particles here, so that the search for the closest pair by nearest
neighbours, O(N²), is fast enough.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from generation.fastsim.kernels import inlined, kernel

# What the distances are made of: generalised kT in rapidity and azimuth; or energies and angles,
# with the beam at E^2p (ee_genkt), without a beam (Durham), or with it at E^2β sin^2γ(θ) (Valencia,
# arXiv:1404.4294).
HADRON, EE_GENKT, DURHAM, VALENCIA = range(4)

BEAM = -1
# FastJet's rapidity of what has no transverse momentum.
LARGEST_RAPIDITY = 1e5
# Numbers of jets whose merging scale Delphes writes: two into one, ..., six into five.
MERGING_STEPS = 5


@dataclass(frozen=True)
class Recombination:
    """An algorithm and which of its jets are wanted.

    Attributes
    ----------
    family
        `HADRON`, `EE_GENKT`, `DURHAM` or `VALENCIA`.
    radius
        R; of no use in Durham's algorithm.
    power
        Exponent of the squared transverse momentum or energy: 1 kT, 0 Cambridge/Aachen, -1
        anti-kT; β of Valencia.
    gamma
        γ of Valencia.
    pt_min
        Lowest pT in GeV of inclusive jets.
    n_jets
        Exclusive jets: stop with so many; 0 for inclusive jets.
    distance_max
        Exclusive jets: stop when all distances are larger, GeV²; 0 to stop by number.
    """

    family: int
    radius: float
    power: float
    gamma: float = 1.0
    pt_min: float = 0.0
    n_jets: int = 0
    distance_max: float = 0.0

    @property
    def exclusive(self) -> bool:
        """Whether clustering stops before everything is in a jet or the beam."""
        return self.n_jets > 0 or self.distance_max > 0.0


def find_jets(
    momenta: NDArray[np.float64], offsets: NDArray[np.int64], how: Recombination
) -> tuple[
    NDArray[np.float64],
    NDArray[np.int64],
    NDArray[np.int64],
    NDArray[np.int64],
    NDArray[np.float64],
]:
    """Find the jets of each event.

    Parameters
    ----------
    momenta, offsets
        (n, 4) px, py, pz, E in GeV of the particles, and (n_events + 1,) the rows of each event.
    how
        The algorithm.

    Returns
    -------
    jets
        (n_jets, 4) momenta, each event's by falling pT. An event with fewer particles than
        exclusive jets are wanted has none.
    jet_offsets
        (n_events + 1,) the jets of each event.
    rows, row_offsets
        The rows of the constituents, and (n_jets + 1,) those of each jet.
    merging
        (n_jets, 5) of exclusive jets, their event's distance at which two jets become one, three
        two, and so on, over its squared energy; 0 else.
    """
    size = np.diff(offsets).max(initial=0)
    tree = np.empty((2 * size, 4)), np.empty((2 * size, 2), np.int64), np.empty(size)
    work = np.empty((2 * size, 5)), np.empty(size, np.int64), np.empty(size, np.int64)
    nearest = np.empty(2 * size, np.int64), np.empty(2 * size)
    jets, members, merging = [], [], []
    counts = np.zeros(len(offsets) - 1, np.int64)
    for event in np.flatnonzero(np.diff(offsets)):
        first, last = offsets[event], offsets[event + 1]
        n = last - first
        tree[0][:n] = momenta[first:last]
        _recombine(
            *tree, *work[:2], *nearest, n, how.family, how.radius, how.power, how.gamma
        )  # fmt: skip
        found = _chosen(tree, n, how)
        pt = np.hypot(tree[0][found, 0], tree[0][found, 1])
        found = found[np.argsort(-pt, kind="stable")]
        counts[event] = len(found)
        owner = np.full(n, -1)
        _own(owner, tree[1], found, n, work[2])
        jets.append(tree[0][found].copy())
        members += [first + np.flatnonzero(owner == i) for i in range(len(found))]
        scales = _merging_scales(tree, n) if how.exclusive else np.zeros(MERGING_STEPS)
        merging.append(np.tile(scales, (len(found), 1)))
    row_offsets = np.cumsum([0, *map(len, members)])
    return (
        np.concatenate([np.zeros((0, 4)), *jets]),
        np.concatenate(([0], np.cumsum(counts))),
        np.concatenate([np.zeros(0, np.int64), *members]),
        row_offsets,
        np.concatenate([np.zeros((0, MERGING_STEPS)), *merging]),
    )


def _chosen(tree: tuple, n: int, how: Recombination) -> NDArray[np.int64]:
    """Return the nodes that are the jets wanted of an event of n particles."""
    momenta, parents, distance = tree
    ends = np.full(2 * n, n)  # the step in which a node is used up
    steps = np.arange(n)
    first, second = parents[n : 2 * n].T
    ends[first] = steps
    merged = second != BEAM
    ends[second[merged]] = steps[merged]
    if not how.exclusive:
        pt = np.hypot(momenta[first, 0], momenta[first, 1])
        return first[(second == BEAM) & (pt >= how.pt_min)]
    if how.distance_max > 0.0:
        below = np.flatnonzero(np.maximum.accumulate(distance[:n]) <= how.distance_max)
        stop = 0 if len(below) == 0 else below[-1] + 1
    elif how.n_jets > n:
        return np.zeros(0, np.int64)
    else:
        stop = n - how.n_jets
    # Step s makes node n + s, unless it was a merger with the beam.
    made = np.concatenate([np.ones(n, bool), merged & (steps < stop)])
    return np.flatnonzero(made & (ends >= stop))


def _merging_scales(tree: tuple, n: int) -> NDArray[np.float64]:
    """Return the distance of the step from k + 1 to k jets, over the squared energy."""
    momenta, _, distance = tree
    energy = momenta[:n, 3].sum()
    scales = np.zeros(MERGING_STEPS)
    for jets in range(1, min(MERGING_STEPS + 1, n)):
        scales[jets - 1] = distance[n - jets - 1]
    return scales / energy**2


@inlined()
def _describe(node, momenta, about, family, power, gamma):
    """Note direction, scale and distance to the beam of a node."""
    px, py, pz, e = momenta[node]
    pt2 = px * px + py * py
    if family == HADRON:
        mass2 = max(0.0, (e + pz) * (e - pz) - pt2)
        if pt2 + mass2 > 0.0:
            rapidity = 0.5 * math.log((pt2 + mass2) / (e + abs(pz)) ** 2)
            rapidity = -rapidity if pz > 0.0 else rapidity
        else:
            rapidity = LARGEST_RAPIDITY + abs(pz)
            rapidity = rapidity if pz >= 0.0 else -rapidity
        about[node, 0] = rapidity
        about[node, 1] = math.atan2(py, px)
        scale = pt2**power if pt2 > 0.0 else (1e300 if power < 0.0 else 0.0)
        about[node, 4] = scale
    else:
        p = math.sqrt(pt2 + pz * pz)
        about[node, 0] = px / p if p > 0.0 else 0.0
        about[node, 1] = py / p if p > 0.0 else 0.0
        about[node, 2] = pz / p if p > 0.0 else 1.0
        scale = (e * e) ** power if e > 0.0 else (1e300 if power < 0.0 else 0.0)
        if family == VALENCIA:
            sine2 = pt2 / (p * p) if p > 0.0 else 0.0
            about[node, 4] = scale * sine2**gamma
        elif family == DURHAM:
            about[node, 4] = math.inf
        else:
            about[node, 4] = scale
    about[node, 3] = scale


@inlined()
def _distance(a, b, about, family, factor):
    """Return the distance of two nodes."""
    scale = min(about[a, 3], about[b, 3])
    if family == HADRON:
        turn = abs(about[a, 1] - about[b, 1])
        turn = 2.0 * math.pi - turn if turn > math.pi else turn
        apart = about[a, 0] - about[b, 0]
        return scale * (apart * apart + turn * turn) * factor
    x = about[a, 0] - about[b, 0]
    y = about[a, 1] - about[b, 1]
    z = about[a, 2] - about[b, 2]
    # 1 - cos θ without the loss of digits at small angles.
    return scale * 0.5 * (x * x + y * y + z * z) * factor


@inlined()
def _find_nearest(node, active, n_active, about, neighbour, shortest, family, factor):
    """Find what is closest to a node, another one or the beam."""
    best, of = about[node, 4], BEAM
    for k in range(n_active):
        other = active[k]
        if other != node:
            value = _distance(node, other, about, family, factor)
            if value < best:
                best, of = value, other
    neighbour[node] = of
    shortest[node] = best


@kernel
def _recombine(
    momenta, parents, distance, about, active, neighbour, shortest, n, family, radius, power, gamma
):
    """Recombine n particles until all is merged with the beam; fills `parents` and `distance`."""
    if family == HADRON:
        factor = 1.0 / (radius * radius)
    elif family == EE_GENKT:
        factor = 1.0 / (1.0 - math.cos(radius) if radius < math.pi else 3.0 + math.cos(radius))
    elif family == DURHAM:
        factor = 2.0
    else:
        factor = 2.0 / (radius * radius)
    for i in range(n):
        active[i] = i
        _describe(i, momenta, about, family, power, gamma)
    for i in range(n):
        _find_nearest(i, active, n, about, neighbour, shortest, family, factor)
    n_active = n
    for step in range(n):
        place = 0
        for k in range(1, n_active):
            if shortest[active[k]] < shortest[active[place]]:
                place = k
        first = active[place]
        second = neighbour[first]
        distance[step] = shortest[first]
        parents[n + step, 0] = first
        parents[n + step, 1] = second
        n_active -= 1
        active[place] = active[n_active]
        new = BEAM
        if second != BEAM:
            new = n + step
            for c in range(4):
                momenta[new, c] = momenta[first, c] + momenta[second, c]
            _describe(new, momenta, about, family, power, gamma)
            for k in range(n_active):
                if active[k] == second:
                    active[k] = new
        for k in range(n_active):
            node = active[k]
            if node == new or neighbour[node] == first or neighbour[node] == second != BEAM:
                _find_nearest(
                    node, active, n_active, about, neighbour, shortest, family, factor
                )  # fmt: skip
            elif new != BEAM:
                value = _distance(node, new, about, family, factor)
                if value < shortest[node]:
                    shortest[node] = value
                    neighbour[node] = new


@kernel
def _own(owner, parents, jets, n, stack):
    """Give each particle the number of the jet that it is part of."""
    for jet in range(len(jets)):
        stack[0] = jets[jet]
        depth = 1
        while depth > 0:
            depth -= 1
            node = stack[depth]
            if node < n:
                owner[node] = jet
            else:
                stack[depth] = parents[node, 0]
                stack[depth + 1] = parents[node, 1]
                depth += 2
