"""Jets from particles: anti-kT clustering, soft drop and N-subjettiness.

Clustering is FastJet's (arXiv:1111.6097), called for many events at once. Soft drop
(arXiv:1402.2657) and N-subjettiness (arXiv:1011.2268) are those of `substructure`: through
FastJet's wrapper they would take more time than everything else together.
"""

from dataclasses import dataclass

import awkward as ak
import fastjet
import numpy as np

from substructure.grooming import soft_drop_momenta
from substructure.subjettiness import n_subjettiness

SOFT_DROP_Z_CUT = 0.1
N_SUBJETS_MAX = 4


@dataclass(frozen=True)
class Momenta:
    """Flat four-momenta of the particles of a batch of events, float64 GeV, with event offsets."""

    offsets: np.ndarray
    px: np.ndarray
    py: np.ndarray
    pz: np.ndarray
    energy: np.ndarray

    @property
    def components(self) -> np.ndarray:
        """The momenta as one array (n, 4) of px, py, pz, E."""
        return np.stack([self.px, self.py, self.pz, self.energy], axis=1)

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
    return n_subjettiness(
        constituents.components, constituents.offsets, N_SUBJETS_MAX, radius, 1.0, True
    )


def soft_drop_mass(constituents: Momenta) -> np.ndarray:
    """Return the soft-drop mass (β = 0) of each jet in GeV, float64 (n_jets,).

    The constituents are reclustered with Cambridge/Aachen and declustered along the branch of
    higher pT until the softer branch carries more than `SOFT_DROP_Z_CUT` of the pT; when no step
    passes, the last particle remains. A negative value is the root of a negative m², as in ROOT.
    """
    groomed = soft_drop_momenta(
        constituents.components, constituents.offsets, SOFT_DROP_Z_CUT, 0.0, 1.0
    )
    px, py, pz, energy = groomed.T
    mass_squared = energy * energy - (px * px + py * py + pz * pz)
    return np.copysign(np.sqrt(np.abs(mass_squared)), mass_squared)


def _as_awkward(particles: Momenta) -> ak.Array:
    contents = [
        ak.contents.NumpyArray(np.ascontiguousarray(values, np.float64))
        for values in (particles.px, particles.py, particles.pz, particles.energy)
    ]
    record = ak.contents.RecordArray(
        contents, ["px", "py", "pz", "E"], parameters={"__record__": "Momentum4D"}
    )
    return ak.Array(ak.contents.ListOffsetArray(ak.index.Index64(particles.offsets), record))
