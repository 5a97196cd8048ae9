"""Jets from particles: anti-kT clustering, soft drop and N-subjettiness.

Clustering is FastJet's (arXiv:1111.6097), called for many events at once. Soft drop
(arXiv:1402.2657) and N-subjettiness (arXiv:1011.2268) are compiled here: through FastJet's wrapper
they would take more time than everything else together.
"""

from dataclasses import dataclass

import awkward as ak
import fastjet
import numba
import numpy as np

SOFT_DROP_Z_CUT = 0.1
N_SUBJETS_MAX = 4
# Axes have arrived when they move by less than this (mean ΔR), or after so many steps.
AXES_ACCURACY = 1e-4
AXES_STEPS = 1000
# Powers of pT² in the distance of sequential recombination.
_CAMBRIDGE_AACHEN, _KT = 0, 1


@dataclass(frozen=True)
class Momenta:
    """Flat four-momenta of the particles of a batch of events, float64 GeV, with event offsets."""

    offsets: np.ndarray
    px: np.ndarray
    py: np.ndarray
    pz: np.ndarray
    energy: np.ndarray

    def take(self, index: np.ndarray, offsets: np.ndarray) -> "Momenta":
        """Return the particles of `index`, grouped by other offsets."""
        return Momenta(offsets, self.px[index], self.py[index], self.pz[index], self.energy[index])


@dataclass(frozen=True)
class Jets:
    """Jets of a batch of events: by event, then by falling pT.

    Attributes
    ----------
    event
        int64 (n_jets,): the event of each jet.
    pt, eta, phi, mass
        float32 (n_jets,), as Delphes stores them.
    offsets, constituents
        int64: constituents of jet j are `constituents[offsets[j]:offsets[j + 1]]`, positions in
        the arrays of particles that were clustered.
    """

    event: np.ndarray
    pt: np.ndarray
    eta: np.ndarray
    phi: np.ndarray
    mass: np.ndarray
    offsets: np.ndarray
    constituents: np.ndarray

    def select(self, jets: np.ndarray) -> "Jets":
        """Return the jets of a boolean mask or an index array."""
        counts = np.diff(self.offsets)
        chosen = np.arange(len(self.event))[jets]
        offsets = np.concatenate(([0], np.cumsum(counts[chosen])))
        within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts[chosen])
        constituents = self.constituents[np.repeat(self.offsets[chosen], counts[chosen]) + within]
        return Jets(
            self.event[chosen],
            self.pt[chosen],
            self.eta[chosen],
            self.phi[chosen],
            self.mass[chosen],
            offsets,
            constituents,
        )

    @property
    def energy(self) -> np.ndarray:
        """Energy from the stored (pT, η, φ, mass), float64 (n_jets,)."""
        momentum = self.pt.astype(np.float64) * np.cosh(self.eta.astype(np.float64))
        mass = self.mass.astype(np.float64)
        return np.sqrt(np.maximum(momentum**2 + mass * np.abs(mass), 0))


def cluster(particles: Momenta, radius: float, pt_min: float) -> Jets:
    """Cluster the particles of each event with the anti-kT algorithm (arXiv:0802.1189), E scheme.

    Parameters
    ----------
    particles
        What to cluster; all values finite (FastJet crashes on others).
    radius
        The jet radius R.
    pt_min
        Jets below this transverse momentum (GeV) are left out.

    Returns
    -------
    Jets
        Constituents are in FastJet's order.
    """
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, radius)
    sequence = fastjet.ClusterSequence(_as_awkward(particles), definition)
    momenta = sequence.inclusive_jets(pt_min)
    members = sequence.constituent_index(pt_min)

    per_event = np.asarray(ak.num(momenta))
    event = np.repeat(np.arange(len(per_event)), per_event)
    px, py, pz, energy = (ak.to_numpy(ak.flatten(momenta[name])) for name in momenta.fields)
    pt = np.hypot(px, py)
    mass_squared = energy**2 - (px**2 + py**2 + pz**2)
    per_jet = np.asarray(ak.flatten(ak.num(members, axis=2)))
    flat = np.asarray(ak.flatten(members, axis=None), np.int64)
    jets = Jets(
        event,
        pt.astype(np.float32),
        np.arcsinh(pz / pt).astype(np.float32),
        np.arctan2(py, px).astype(np.float32),
        (np.sign(mass_squared) * np.sqrt(np.abs(mass_squared))).astype(np.float32),
        np.concatenate(([0], np.cumsum(per_jet))),
        flat + np.repeat(particles.offsets[event], per_jet),
    )
    return jets.select(np.lexsort((-pt, event)))


def subjettiness(constituents: Momenta, radius: float) -> np.ndarray:
    """Return τ1 to τ4 of each jet: normalised measure with β = 1, one-pass kT axes.

    The axes start at the exclusive kT jets and move to the nearest minimum of τ_N
    (arXiv:1108.2701). A jet of no more than N constituents has τ_N = 0.

    Parameters
    ----------
    constituents
        The constituents of each jet.
    radius
        R0 of the normalisation Σ pT R0.

    Returns
    -------
    numpy.ndarray
        float64 (n_jets, 4).
    """
    return _subjettiness(
        constituents.offsets,
        constituents.px,
        constituents.py,
        constituents.pz,
        constituents.energy,
        radius,
        N_SUBJETS_MAX,
    )


def soft_drop_mass(constituents: Momenta) -> np.ndarray:
    """Return the soft-drop mass (β = 0) of each jet in GeV, float64 (n_jets,).

    The constituents are reclustered with Cambridge/Aachen and declustered along the branch of
    higher pT until the softer branch carries more than `SOFT_DROP_Z_CUT` of the pT; when no step
    passes, the last particle remains. A negative value is the root of a negative m², as in ROOT.
    """
    return _soft_drop_masses(
        constituents.offsets,
        constituents.px,
        constituents.py,
        constituents.pz,
        constituents.energy,
        SOFT_DROP_Z_CUT,
    )


def _as_awkward(particles: Momenta) -> ak.Array:
    contents = [
        ak.contents.NumpyArray(np.ascontiguousarray(values, np.float64))
        for values in (particles.px, particles.py, particles.pz, particles.energy)
    ]
    record = ak.contents.RecordArray(
        contents, ["px", "py", "pz", "E"], parameters={"__record__": "Momentum4D"}
    )
    return ak.Array(ak.contents.ListOffsetArray(ak.index.Index64(particles.offsets), record))


@numba.njit(cache=True)
def _rapidity_azimuth(px, py, pz, energy):
    """Return FastJet's rapidity and azimuth in [0, 2π); a particle at rest lies at (0, 0)."""
    pt2 = px * px + py * py
    azimuth = 0.0
    if pt2 > 0:
        azimuth = np.arctan2(py, px)
        if azimuth < 0:
            azimuth += 2 * np.pi
    if pt2 == 0 and energy == abs(pz):
        rapidity = 1e5 + abs(pz)
    else:
        mass2 = max(0.0, (energy + pz) * (energy - pz) - pt2)
        e_plus_pz = energy + abs(pz)
        rapidity = -0.5 * np.log((pt2 + mass2) / (e_plus_pz * e_plus_pz))
    return (rapidity if pz >= 0 else -rapidity), azimuth


@numba.njit(cache=True)
def _distance2(rapidity1, azimuth1, rapidity2, azimuth2):
    delta = abs(azimuth1 - azimuth2)
    if delta > np.pi:
        delta = 2 * np.pi - delta
    return (rapidity1 - rapidity2) ** 2 + delta * delta


@numba.njit(cache=True)
def _nearest(i, n, rapidity, azimuth, distance):
    """Return which of the first n pseudojets is nearest to `i`, and how near (ΔR²).

    All distances are left in `distance`, infinite to itself. Two loops, so that the first one
    compiles to vector instructions.
    """
    for k in range(n):
        delta = abs(azimuth[k] - azimuth[i])
        delta = min(delta, 2 * np.pi - delta)
        distance[k] = (rapidity[k] - rapidity[i]) ** 2 + delta * delta
    distance[i] = np.inf
    nearest = -1
    for k in range(n):
        if nearest < 0 or distance[k] < distance[nearest]:
            nearest = k
    return nearest, distance[nearest]


@numba.njit(cache=True)
def _recombine_all(px, py, pz, energy, power):
    """Cluster particles into one jet with d_ij = min(pT_i, pT_j)^(2 power) ΔR², E scheme.

    Returns momenta (2n − 1, 4), rapidities and azimuths (2n − 1, 2) and parents (2n − 1, 2) of the
    pseudojets: the n particles with parents −1, then each recombination in order.

    If i and j are closest in d_ij, one of them is the geometric neighbour of the other
    (M. Cacciari, G. P. Salam, hep-ph/0512210), so that one neighbour each is all to remember.
    """
    n = len(px)
    momentum = np.empty((2 * n - 1, 4))
    position = np.empty((2 * n - 1, 2))
    parents = np.full((2 * n - 1, 2), -1)
    # What is left to recombine lies without gaps in the first n_left places of these.
    identity = np.arange(n)
    rapidity, azimuth, weight = np.empty(n), np.empty(n), np.empty(n)
    neighbour, reach = np.empty(n, np.int64), np.empty(n)
    distance, from_new = np.empty(n), np.empty(n)
    for i in range(n):
        momentum[i, 0], momentum[i, 1], momentum[i, 2] = px[i], py[i], pz[i]
        momentum[i, 3] = energy[i]
        rapidity[i], azimuth[i] = _rapidity_azimuth(px[i], py[i], pz[i], energy[i])
        position[i, 0], position[i, 1] = rapidity[i], azimuth[i]
        weight[i] = (px[i] * px[i] + py[i] * py[i]) ** power
    if n > 1:
        for i in range(n):
            neighbour[i], reach[i] = _nearest(i, n, rapidity, azimuth, distance)

    for n_left in range(n, 1, -1):
        new = 2 * n - n_left
        first = 0
        smallest = reach[0] * min(weight[0], weight[neighbour[0]])
        for k in range(1, n_left):
            measure = reach[k] * min(weight[k], weight[neighbour[k]])
            if measure < smallest:
                first, smallest = k, measure
        second = neighbour[first]
        parents[new, 0], parents[new, 1] = identity[first], identity[second]
        for component in range(4):
            momentum[new, component] = (
                momentum[identity[first], component] + momentum[identity[second], component]
            )

        # The sum takes the place of one, the last in line that of the other.
        place, gap, last = min(first, second), max(first, second), n_left - 1
        p = momentum[new]
        identity[place] = new
        rapidity[place], azimuth[place] = _rapidity_azimuth(p[0], p[1], p[2], p[3])
        position[new, 0], position[new, 1] = rapidity[place], azimuth[place]
        weight[place] = (p[0] * p[0] + p[1] * p[1]) ** power
        for column in (rapidity, azimuth, weight, reach):
            column[gap] = column[last]
        identity[gap], neighbour[gap] = identity[last], neighbour[last]
        neighbour[place], reach[place] = _nearest(place, last, rapidity, azimuth, from_new)
        for k in range(last):
            if k == place:
                continue
            if neighbour[k] == place or neighbour[k] == gap:
                neighbour[k], reach[k] = _nearest(k, last, rapidity, azimuth, distance)
                continue
            if neighbour[k] == last:
                neighbour[k] = gap
            if from_new[k] < reach[k]:
                neighbour[k], reach[k] = place, from_new[k]
    return momentum, position, parents


@numba.njit(cache=True)
def _soft_drop_masses(offsets, px, py, pz, energy, z_cut):
    masses = np.zeros(len(offsets) - 1)
    for jet in range(len(offsets) - 1):
        start, stop = offsets[jet], offsets[jet + 1]
        if start == stop:
            continue
        momentum, _, parents = _recombine_all(
            px[start:stop], py[start:stop], pz[start:stop], energy[start:stop], _CAMBRIDGE_AACHEN
        )
        current = len(momentum) - 1
        while parents[current, 0] >= 0:
            harder, softer = parents[current]
            pt_harder = np.hypot(momentum[harder, 0], momentum[harder, 1])
            pt_softer = np.hypot(momentum[softer, 0], momentum[softer, 1])
            if pt_harder < pt_softer:
                harder, softer = softer, harder
                pt_harder, pt_softer = pt_softer, pt_harder
            if pt_softer > z_cut * (pt_harder + pt_softer):
                break
            current = harder
        p = momentum[current]
        mass2 = p[3] * p[3] - (p[0] * p[0] + p[1] * p[1] + p[2] * p[2])
        masses[jet] = np.sqrt(mass2) if mass2 >= 0 else -np.sqrt(-mass2)
    return masses


@numba.njit(cache=True)
def _subjettiness(offsets, px, py, pz, energy, radius, n_max):
    taus = np.zeros((len(offsets) - 1, n_max))
    axes = np.empty((n_max, 2))
    sums = np.empty((n_max, 3))
    for jet in range(len(offsets) - 1):
        start, n = offsets[jet], offsets[jet + 1] - offsets[jet]
        if n < 2:
            continue
        stop = start + n
        pt = np.hypot(px[start:stop], py[start:stop])
        _, position, parents = _recombine_all(
            px[start:stop], py[start:stop], pz[start:stop], energy[start:stop], _KT
        )
        # Undoing the last recombinations leaves the exclusive kT jets.
        seeds = np.empty(n_max, np.int64)
        seeds[0] = 2 * n - 2
        for n_axes in range(1, min(n_max, n - 1) + 1):
            if n_axes > 1:
                latest = np.argmax(seeds[: n_axes - 1])
                seeds[n_axes - 1] = parents[seeds[latest], 1]
                seeds[latest] = parents[seeds[latest], 0]
            for k in range(n_axes):
                axes[k, 0], axes[k, 1] = position[seeds[k], 0], position[seeds[k], 1]
            for _ in range(AXES_STEPS):
                if _move_axes(axes, n_axes, pt, position, sums) <= AXES_ACCURACY:
                    break
            total = 0.0
            for i in range(n):
                total += pt[i] * np.sqrt(_nearest_axis(axes, n_axes, position[i])[1])
            taus[jet, n_axes - 1] = total / (pt.sum() * radius)
    return taus


@numba.njit(cache=True)
def _nearest_axis(axes, n_axes, position):
    best, best_distance = -1, np.inf
    for k in range(n_axes):
        distance = _distance2(axes[k, 0], axes[k, 1], position[0], position[1])
        if distance < best_distance:
            best, best_distance = k, distance
    return best, best_distance


@numba.njit(cache=True)
def _move_axes(axes, n_axes, pt, position, sums):
    """Move each axis to the mean of its particles, weighted by pT / ΔR; return the mean step.

    One step of the minimisation for β = 1 (arXiv:1108.2701, section 3).
    """
    sums[:] = 0
    for i in range(len(pt)):
        k, distance2 = _nearest_axis(axes, n_axes, position[i])
        weight = pt[i] / np.sqrt(AXES_ACCURACY**2 + distance2)
        azimuth = position[i, 1]
        if azimuth - axes[k, 1] > np.pi:
            azimuth -= 2 * np.pi
        elif azimuth - axes[k, 1] < -np.pi:
            azimuth += 2 * np.pi
        sums[k, 0] += weight * position[i, 0]
        sums[k, 1] += weight * azimuth
        sums[k, 2] += weight
    step = 0.0
    for k in range(n_axes):
        if sums[k, 2] == 0:
            continue
        rapidity = sums[k, 0] / sums[k, 2]
        azimuth = (sums[k, 1] / sums[k, 2] + 2 * np.pi) % (2 * np.pi)
        step += np.sqrt(_distance2(axes[k, 0], axes[k, 1], rapidity, azimuth))
        axes[k, 0], axes[k, 1] = rapidity, azimuth
    return step / n_axes
