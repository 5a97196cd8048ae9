"""Pythia's event record as Delphes reads it (DelphesPythia8Reader of Delphes 3.5)."""

from dataclasses import dataclass

import awkward as ak
import numpy as np
import pythia8mc
from numpy.typing import NDArray

from generation.record import BEAM, DECAYED, STABLE, GeneratorRecord

# TDatabasePDG of ROOT, where Delphes looks up charges, lacks these particles that Pythia makes.
UNKNOWN_TO_ROOT = (4124, 30443, 9000221, 9010221)
UNKNOWN_CHARGE = -999

# Pythia's own status codes: of incoming beams, and of the products of ordinary decays.
BEAM_LINE = -12
FIRST_DECAY_PRODUCT, LAST_DECAY_PRODUCT = 91, 94
MUON, TAU = 13, 15


@dataclass(frozen=True)
class ParticleTable:
    """What the record needs to know of each kind of particle.

    Attributes
    ----------
    codes
        (n,) int32, PDG codes of particles (not antiparticles), sorted.
    charge
        (n,) int32, in units of the proton's charge, cut to whole numbers as Delphes does: 0 for
        quarks; -999 for the particles that Delphes does not know.
    mass
        (n,) float64, nominal mass in GeV.
    hadron
        (n,) bool.
    """

    codes: NDArray[np.int32]
    charge: NDArray[np.int32]
    mass: NDArray[np.float64]
    hadron: NDArray[np.bool_]

    @classmethod
    def of_pythia(cls, data: pythia8mc.ParticleData) -> "ParticleTable":
        """Take the table out of Pythia's particle data."""
        codes = [1]
        while following := data.nextId(codes[-1]):
            codes.append(following)
        charge = np.array([int(data.charge(code)) for code in codes], np.int32)
        charge[np.isin(codes, UNKNOWN_TO_ROOT)] = UNKNOWN_CHARGE
        return cls(
            codes=np.array(codes, np.int32),
            charge=charge,
            mass=np.array([data.m0(code) for code in codes]),
            hadron=np.array([data.isHadron(code) for code in codes]),
        )

    def rows(self, pid: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the row of each particle or antiparticle; every code must be in the table."""
        return np.searchsorted(self.codes, np.abs(pid))

    def charges(self, pid: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the charge of each particle, as Delphes gives it."""
        charge = self.charge[self.rows(pid)]
        return np.where((pid < 0) & (charge != UNKNOWN_CHARGE), -charge, charge)


def to_record(particles: ak.Array, table: ParticleTable) -> GeneratorRecord:
    """Return Pythia's particles as the generator record that Delphes makes of them.

    Delphes leaves out line 0, which stands for the event as a whole, and therefore counts mothers
    and daughters from one less.

    Parameters
    ----------
    particles
        (n_events, var) records, the `prt` of Pythia's `nextBatch`.
    table
        The particles that Pythia knows.
    """
    layout = particles.layout
    first, lines = np.asarray(layout.offsets.data), layout.content
    keep = np.ones(len(lines), dtype=bool)
    keep[first[:-1]] = False

    def column(name: str) -> NDArray:
        return np.asarray(lines[name].data)[keep]

    momentum, vertex = lines["p"], lines["vProd"]
    # Particles without a vertex of their own (index -1) come from the origin.
    at_vertex = np.asarray(vertex.index.data)[keep]
    position = {
        name: np.append(np.asarray(vertex.content[component].data), 0.0)[at_vertex]
        for name, component in (("x", "px"), ("y", "py"), ("z", "pz"), ("t", "e"))
    }
    pid = column("id")
    return GeneratorRecord(
        offsets=first - np.arange(len(first)),
        pid=pid,
        status=_hepmc_status(lines, first, table)[keep],
        m1=column("mother1") - 1,
        m2=column("mother2") - 1,
        d1=column("daughter1") - 1,
        d2=column("daughter2") - 1,
        charge=table.charges(pid),
        mass=column("m"),
        **{name: np.asarray(momentum[name].data)[keep] for name in ("e", "px", "py", "pz")},
        **position,
    )


def _hepmc_status(
    lines: ak.contents.RecordArray, first: NDArray[np.int64], table: ParticleTable
) -> NDArray[np.int32]:
    """Return the HepMC status of all lines, line 0 of each event included."""
    pid = np.asarray(lines["id"].data)
    status = np.asarray(lines["status"].data)
    daughter = np.repeat(first[:-1], np.diff(first)) + np.asarray(lines["daughter1"].data)
    decay_product = np.abs(status[daughter])
    code = np.abs(pid)
    can_decay = table.hadron[table.rows(pid)] | (code == MUON) | (code == TAU)
    decayed = (
        can_decay
        # A particle that decays to itself was only shifted, as by Bose-Einstein effects.
        & (pid[daughter] != pid)
        & (decay_product >= FIRST_DECAY_PRODUCT)
        & (decay_product <= LAST_DECAY_PRODUCT)
    )
    return np.select(
        [status > 0, status == BEAM_LINE, decayed], [STABLE, BEAM, DECAYED], default=-status
    )
