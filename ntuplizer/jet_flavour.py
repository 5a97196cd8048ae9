"""Flavours of jets as CMS defines them: of hadrons and of partons, by ghost association.

Heavy hadrons and partons are clustered together with the particles of the jets, as ghosts: with
momenta so small that they change nothing and tell only which jet they end up in
(arXiv:0802.1188; CMS: JetFlavourClustering).

- *Hadron flavour*: 5 with a b hadron in the jet, else 4 with a c hadron, else 0.
- *Parton flavour*: the hardest b quark in the jet, else the hardest c quark, else the hardest light
  quark or gluon, as its PDG code; 0 without a parton. Gluons and light quarks are told apart by
  this one only.

Both flavours look at the end of a history: hadrons that do not decay to another one of the same
heavy quark (B* → B, B⁰ → B̄⁰), and partons that have no partons as daughters.
"""

from dataclasses import dataclass

import numpy as np

from ntuplizer.batch import Collection
from ntuplizer.branches import RECORD_LEAVES
from ntuplizer.clustering import Jets, Momenta, cluster
from ntuplizer.particles import ETA_LIMIT, four_momentum

LEAVES = RECORD_LEAVES
BOTTOM, CHARM, GLUON = 5, 4, 21
# CMS scales by this much too.
GHOST_SCALE = 1e-18
FINAL = 1


@dataclass(frozen=True)
class FlavourGhosts:
    """Particles that give jets their flavour, for all events of a batch.

    Attributes
    ----------
    index
        int64 (n,): their positions in the flat record, rising.
    momenta
        Their momenta by event, not scaled.
    hadron
        int8 (n,): 5 for a b hadron, 4 for a c hadron, 0 for a parton.
    parton
        int32 (n,): PDG code of a parton, 0 for a hadron.
    """

    index: np.ndarray
    momenta: Momenta
    hadron: np.ndarray
    parton: np.ndarray


def contains_quark(pdg: np.ndarray, quark: int) -> np.ndarray:
    """Tell hadrons with a heavy quark by the digits of their PDG codes.

    Parameters
    ----------
    pdg
        int (n,): PDG codes.
    quark
        4 or 5.

    Returns
    -------
    numpy.ndarray
        bool (n,): quarkonia and excited states are included, quarks and diquarks are not, and
        neither are nuclei and the codes of physics beyond the Standard Model.
    """
    code = np.abs(np.asarray(pdg, np.int64))
    # Excitations are digits in front: 10521, 20553, 100443, 9010553.
    excitation, digits = code // 10_000, code % 10_000
    baryon = digits // 1000
    diquark = (baryon > 0) & (digits // 10 % 10 == 0)
    hadron = (digits > 100) & ~diquark & (code < 10_000_000)
    # 1000001 to 6000615: squarks, technicolour, excited fermions, and so on.
    hadron &= (excitation < 100) | (excitation // 100 == 9)
    heaviest = np.where(baryon > 0, baryon, digits // 100 % 10)
    return hadron & (heaviest == quark)


def flavour_ghosts(record: Collection) -> FlavourGhosts:
    """Choose the hadrons and partons of a generator record that give jets their flavour.

    Parameters
    ----------
    record
        The branch `Particle` with `LEAVES`.
    """
    pdg, code = record["PID"], np.abs(record["PID"].astype(np.int64))
    parton = (((code >= 1) & (code <= BOTTOM)) | (code == GLUON)) & (record["Status"] != FINAL)
    parton &= ~_has_daughter(record, parton)
    hadron = np.zeros(len(pdg), np.int8)
    for quark in (CHARM, BOTTOM):
        heavy = contains_quark(pdg, quark)
        hadron[heavy & ~_has_daughter(record, heavy)] = quark
    chosen = (parton | (hadron > 0)) & (record["PT"] > 0) & (np.abs(record["Eta"]) < ETA_LIMIT)
    index = np.flatnonzero(chosen)
    momenta = Momenta(np.searchsorted(index, record.offsets), *four_momentum(record, index))
    return FlavourGhosts(
        index, momenta, hadron[index], np.where(parton[index], pdg[index], 0).astype(np.int32)
    )


def cluster_with_ghosts(
    particles: Momenta, ghosts: Momenta, radius: float, pt_min: float
) -> tuple[Jets, np.ndarray]:
    """Cluster as `clustering.cluster` does, and tell which jet each ghost ends up in.

    Parameters
    ----------
    particles
        What the jets are made of.
    ghosts
        What only looks on, for the same events, with any momenta.
    radius, pt_min
        The jet radius R and the lowest jet pT in GeV.

    Returns
    -------
    jets : Jets
        The jets of `particles`, without the ghosts.
    jet_of : numpy.ndarray
        int64 (n_ghosts,): the jet of each ghost, −1 for none above `pt_min`.
    """
    n_particles, n_ghosts = len(particles.px), len(ghosts.px)
    event = np.concatenate(
        [np.repeat(np.arange(len(m.offsets) - 1), np.diff(m.offsets)) for m in (particles, ghosts)]
    )
    order = np.argsort(event, kind="stable")
    both = Momenta(
        particles.offsets + ghosts.offsets,
        *(
            np.concatenate((getattr(particles, name), GHOST_SCALE * getattr(ghosts, name)))[order]
            for name in ("px", "py", "pz", "energy")
        ),
    )
    jets = cluster(both, radius, pt_min)
    members = order[jets.constituents]
    real = members < n_particles
    jet = np.repeat(np.arange(len(jets.event)), np.diff(jets.offsets))
    jet_of = np.full(n_ghosts, -1)
    jet_of[members[~real] - n_particles] = jet[~real]
    offsets = np.concatenate(([0], np.cumsum(real)))[jets.offsets]
    kept = Jets(jets.event, jets.pt, jets.eta, jets.phi, jets.mass, offsets, members[real])
    return kept, jet_of


def hadron_flavour(ghosts: FlavourGhosts, jet_of: np.ndarray, n_jets: int) -> np.ndarray:
    """Return the hadron flavour of each jet: 5, 4 or 0, int32 (n_jets,).

    Parameters
    ----------
    ghosts, jet_of
        From `flavour_ghosts` and `cluster_with_ghosts`.
    n_jets
        Number of jets.
    """
    flavour = np.zeros(n_jets, np.int32)
    inside = jet_of >= 0
    np.maximum.at(flavour, jet_of[inside], ghosts.hadron[inside].astype(np.int32))
    return flavour


def parton_flavour(ghosts: FlavourGhosts, jet_of: np.ndarray, n_jets: int) -> np.ndarray:
    """Return the parton flavour of each jet, a PDG code with its sign or 0, int32 (n_jets,).

    Parameters
    ----------
    ghosts, jet_of
        From `flavour_ghosts` and `cluster_with_ghosts`.
    n_jets
        Number of jets.
    """
    candidate = np.flatnonzero((jet_of >= 0) & (ghosts.parton != 0))
    pdg, jet = ghosts.parton[candidate], jet_of[candidate]
    code = np.abs(pdg)
    heavy = np.where((code == BOTTOM) | (code == CHARM), code, 0)
    pt = np.hypot(ghosts.momenta.px[candidate], ghosts.momenta.py[candidate])
    order = np.lexsort((-pt, -heavy, jet))
    owner, first = np.unique(jet[order], return_index=True)
    flavour = np.zeros(n_jets, np.int32)
    flavour[owner] = pdg[order[first]]
    return flavour


def combined_flavour(hadron: np.ndarray, parton: np.ndarray) -> np.ndarray:
    """Return one flavour: that of the hadrons where there is one, else the absolute parton's."""
    return np.where(hadron > 0, hadron, np.abs(parton))


def _has_daughter(record: Collection, kind: np.ndarray) -> np.ndarray:
    """Tell which particles have a daughter of a kind, bool (n,); `kind` is bool (n,)."""
    start = np.repeat(record.offsets[:-1], record.counts)
    first, last = record["D1"].astype(np.int64), record["D2"].astype(np.int64)
    decays = first >= 0
    total = np.concatenate(([0], np.cumsum(kind)))
    low = np.where(decays, start + first, 0)
    high = np.where(decays, start + np.maximum(last, first) + 1, 0)
    return total[high] > total[low]
