"""The particles of a batch of events: their momenta, which jet they belong to."""

from dataclasses import dataclass

import numpy as np

from ntuplizer.batch import Collection
from ntuplizer.clustering import Jets, Momenta
from ntuplizer.geometry import delta_phi, delta_r

NEUTRINOS = (12, 14, 16)
# Constituents beyond these are unphysical leftovers of the simulation.
CONSTITUENT_PZ_MAX = 10_000.0
CONSTITUENT_ETA_MAX = 5.0
# Delphes writes ±999.9 for particles along the beam, beyond what float64 can turn into a momentum.
ETA_LIMIT = 100.0


def candidate_momenta(candidates: Collection) -> Momenta:
    """Return the four-momenta that Delphes clustered, from what its file keeps of them.

    A track whose smeared momentum came out as zero keeps its mass as energy; FastJet sees it at
    y = φ = 0, where it may join a jet. Old files hold the η at the calorimeter for tracks, so that
    pz comes from cot θ.
    """
    pt, phi, cot_theta, mass = (
        candidates[leaf].astype(np.float64) for leaf in ("PT", "Phi", "CtgTheta", "Mass")
    )
    pz = pt * cot_theta
    return Momenta(
        candidates.offsets,
        pt * np.cos(phi),
        pt * np.sin(phi),
        pz,
        np.sqrt(pt**2 + pz**2 + mass**2),
    )


def gen_particles(record: Collection, events: np.ndarray) -> tuple[Momenta, np.ndarray]:
    """Return what GEN-jets are made of: stable particles without neutrinos, in `events` only.

    Returns
    -------
    momenta : Momenta
        With one (possibly empty) entry per event of the record.
    stable : numpy.ndarray
        Position of each particle in the flat record.
    """
    wanted = np.zeros(len(record.offsets) - 1, bool)
    wanted[events] = True
    stable = np.flatnonzero(
        (record["Status"] == 1)
        & (record["PT"] > 0)
        & (np.abs(record["Eta"]) < ETA_LIMIT)
        & ~np.isin(np.abs(record["PID"]), NEUTRINOS)
        & np.repeat(wanted, record.counts)
    )
    offsets = np.searchsorted(stable, record.offsets)
    momentum = four_momentum(record, stable)
    return Momenta(offsets, *momentum), stable


def four_momentum(objects: Collection, index: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return px, py, pz and energy from (pT, η, φ, mass) at |η| < `ETA_LIMIT`, float64 GeV."""
    pt, eta, phi, mass = (
        objects[leaf][index].astype(np.float64) for leaf in ("PT", "Eta", "Phi", "Mass")
    )
    pz = pt * np.sinh(eta)
    energy_squared = pt**2 + pz**2 + mass * np.abs(mass)
    return pt * np.cos(phi), pt * np.sin(phi), pz, np.sqrt(np.maximum(energy_squared, 0))


def constituent_momenta(jets: Jets, momenta: Momenta) -> Momenta:
    """Return the momenta of each jet's constituents by falling pT."""
    pt = np.hypot(momenta.px[jets.constituents], momenta.py[jets.constituents])
    jet = np.repeat(np.arange(len(jets.event)), np.diff(jets.offsets))
    return momenta.take(jets.constituents[np.lexsort((-pt, jet))], jets.offsets)


def match_gen_jets(jets: Jets, gen_jets: Jets, reach: float) -> np.ndarray:
    """Match jets to GEN-jets: in order, each to the nearest unused one, accepted if ΔR < reach.

    Returns
    -------
    numpy.ndarray
        int64 (n_jets,): position of the GEN-jet, −1 for none.
    """
    match = np.full(len(jets.event), -1)
    used = np.zeros(len(gen_jets.event), bool)
    starts = np.searchsorted(gen_jets.event, jets.event, side="left")
    stops = np.searchsorted(gen_jets.event, jets.event, side="right")
    for jet, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        free = start + np.flatnonzero(~used[start:stop])
        if len(free):
            distance = delta_r(gen_jets.eta[free], gen_jets.phi[free], jets.eta[jet], jets.phi[jet])
            nearest = np.argmin(distance)
            if np.float32(distance[nearest]) < reach:
                match[jet] = free[nearest]
                used[free[nearest]] = True
    return match


@dataclass(frozen=True)
class Members:
    """Constituents to tabulate: positions in their collection, list offsets, jet of each."""

    index: np.ndarray
    offsets: np.ndarray
    jet: np.ndarray

    def select(self, members: np.ndarray) -> "Members":
        """Return the members of a boolean mask, for the same jets."""
        offsets = np.concatenate(([0], np.cumsum(members)))[self.offsets]
        return Members(self.index[members], offsets, self.jet[members])


def members_of(jets: Jets, objects: Collection, position: np.ndarray | None = None) -> Members:
    """Return the constituents of each jet by falling pT, without those that are unphysical."""
    jet = np.repeat(np.arange(len(jets.event)), np.diff(jets.offsets))
    index = jets.constituents if position is None else position[jets.constituents]
    pt, eta = objects["PT"][index], objects["Eta"][index]
    kept = (pt > 0) & (np.abs(eta) <= CONSTITUENT_ETA_MAX)
    kept &= np.abs(pt * np.sinh(np.where(kept, eta, 0))) <= CONSTITUENT_PZ_MAX
    jet, index, pt = jet[kept], index[kept], pt[kept]
    order = np.lexsort((-pt, jet))
    offsets = np.concatenate(([0], np.cumsum(np.bincount(jet, minlength=len(jets.event)))))
    return Members(index[order], offsets, jet[order])


def relative_direction(
    jets: Jets, members: Members, objects: Collection
) -> tuple[np.ndarray, np.ndarray]:
    """Return Δη, signed by the jet's side, and Δφ of each member to its jet, float64."""
    jet_eta, jet_phi = jets.eta[members.jet], jets.phi[members.jet]
    eta, phi = objects["Eta"][members.index], objects["Phi"][members.index]
    sign = np.where(jet_eta > 0, 1.0, -1.0)
    return sign * (eta.astype(np.float64) - jet_eta), delta_phi(phi, jet_phi)


def candidate_values(
    jets: Jets, members: Members, candidates: Collection, vertex_z: np.ndarray
) -> dict[str, np.ndarray]:
    """Return what is stored of each constituent, by name without prefix (see `schema`).

    Parameters
    ----------
    jets, members, candidates
        The jets, their constituents and the collection these are from.
    vertex_z
        (n_events,): z of the primary vertices, 0 where there is none.
    """
    deta, dphi = relative_direction(jets, members, candidates)
    px, py, pz, energy = four_momentum(candidates, members.index)
    charge, pdg = candidates["Charge"][members.index], np.abs(candidates["PID"][members.index])
    dz = candidates["DZ"][members.index]
    lepton = (pdg == 11) | (pdg == 13)
    return {
        "px": px,
        "py": py,
        "pz": pz,
        "energy": energy,
        "deta": deta,
        "dphi": dphi,
        "d0val": candidates["D0"][members.index],
        "d0err": candidates["ErrorD0"][members.index],
        "dzval": np.where(dz != 0, dz - vertex_z[jets.event[members.jet]], dz),
        "dzerr": candidates["ErrorDZ"][members.index],
        "charge": charge,
        "isElectron": pdg == 11,
        "isMuon": pdg == 13,
        "isPhoton": pdg == 22,
        "isChargedHadron": (charge != 0) & ~lepton,
        "isNeutralHadron": (charge == 0) & (pdg != 22),
    }
