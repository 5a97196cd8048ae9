"""Jets from particles: anti-kT clustering, soft drop and N-subjettiness.

Clustering and N-subjettiness are FastJet's (arXiv:1111.6097, arXiv:1011.2268), called for many
events at once; soft drop (arXiv:1402.2657) is compiled here, as FastJet's wrapper spends most of
its time outside FastJet.
"""

from dataclasses import dataclass

import awkward as ak
import fastjet
import numba
import numpy as np

SOFT_DROP_Z_CUT = 0.1
N_AXES = (1, 2, 3, 4)
# Larger than any distance on the cylinder: a sequence with this radius ends in a single jet.
EVERYTHING = 1000.0


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
        scalars = (getattr(self, name)[chosen] for name in ("event", "pt", "eta", "phi", "mass"))
        return Jets(*scalars, offsets, constituents)

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

    Parameters
    ----------
    constituents
        The constituents of each jet by falling pT: where the minimisation of the axes has several
        minima, the order of its input decides which one is found.
    radius
        R0 of the normalisation Σ pT R0.

    Returns
    -------
    numpy.ndarray
        float64 (n_jets, 4).
    """
    if len(constituents.offsets) == 1:
        return np.zeros((0, len(N_AXES)))
    definition = fastjet.JetDefinition(fastjet.cambridge_algorithm, EVERYTHING)
    sequence = fastjet.ClusterSequence(_as_awkward(constituents), definition)
    values = sequence.njettiness(
        measure_definition="NormalizedMeasure",
        axes_definition="OnePass_KT_Axes",
        njets=list(N_AXES),
        beta=1.0,
        R0=radius,
    )
    return np.asarray(values).reshape(-1, len(N_AXES))


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
def _nearest(i, active, n_active, position):
    """Return the active pseudojet nearest to `i` among those before it in `active`, and how far."""
    best, best_distance = -1, np.inf
    for k in range(n_active):
        j = active[k]
        if j != i:
            distance = _distance2(position[i, 0], position[i, 1], position[j, 0], position[j, 1])
            if distance < best_distance:
                best, best_distance = j, distance
    return best, best_distance


@numba.njit(cache=True)
def _recluster(momentum, position, parents, n):
    """Cluster n particles with Cambridge/Aachen; pseudojet n + k is the k-th recombination."""
    active = np.arange(n)
    neighbour = np.empty(2 * n, np.int64)
    distance = np.empty(2 * n)
    for i in range(n):
        neighbour[i], distance[i] = _nearest(i, active, n, position)
    n_active = n
    for step in range(n - 1):
        first = active[0]
        for k in range(1, n_active):
            if distance[active[k]] < distance[first]:
                first = active[k]
        second = neighbour[first]
        new = n + step
        for component in range(4):
            momentum[new, component] = momentum[first, component] + momentum[second, component]
        position[new, 0], position[new, 1] = _rapidity_azimuth(
            momentum[new, 0], momentum[new, 1], momentum[new, 2], momentum[new, 3]
        )
        parents[new, 0], parents[new, 1] = first, second
        kept = 0
        for k in range(n_active):
            if active[k] != first and active[k] != second:
                active[kept] = active[k]
                kept += 1
        active[kept] = new
        n_active = kept + 1
        neighbour[new], distance[new] = _nearest(new, active, n_active, position)
        for k in range(kept):
            i = active[k]
            if neighbour[i] == first or neighbour[i] == second:
                neighbour[i], distance[i] = _nearest(i, active, n_active, position)
            else:
                to_new = _distance2(
                    position[i, 0], position[i, 1], position[new, 0], position[new, 1]
                )
                if to_new < distance[i]:
                    neighbour[i], distance[i] = new, to_new


@numba.njit(cache=True)
def _soft_drop_masses(offsets, px, py, pz, energy, z_cut):
    masses = np.zeros(len(offsets) - 1)
    for jet in range(len(offsets) - 1):
        start, n = offsets[jet], offsets[jet + 1] - offsets[jet]
        if n == 0:
            continue
        momentum = np.empty((2 * n, 4))
        position = np.empty((2 * n, 2))
        parents = np.full((2 * n, 2), -1)
        for i in range(n):
            momentum[i, 0], momentum[i, 1] = px[start + i], py[start + i]
            momentum[i, 2], momentum[i, 3] = pz[start + i], energy[start + i]
            position[i, 0], position[i, 1] = _rapidity_azimuth(
                momentum[i, 0], momentum[i, 1], momentum[i, 2], momentum[i, 3]
            )
        _recluster(momentum, position, parents, n)
        current = 2 * n - 2
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
