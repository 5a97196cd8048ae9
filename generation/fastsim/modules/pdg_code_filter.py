"""Removes particles by their PDG code (Delphes: PdgCodeFilter)."""

import numpy as np

from generation.fastsim.card import ModuleConfig
from generation.fastsim.module import EventStore, Module


class PdgCodeFilter(Module):
    """Drops the listed PDG codes, or keeps only those with `Invert`; optional further cuts."""

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.input = config.text("InputArray", "Delphes/allParticles")
        self.output = config.text("OutputArray", "filteredParticles")
        self.codes = config.array("PdgCode")
        if not all(isinstance(code, int | float) for code in self.codes):
            raise config.error("PdgCode", "is not a list of numbers")
        self.invert = config.flag("Invert", False)
        self.pt_min = config.number("PTMin", 0.0)
        self.not_pileup = config.flag("RequireNotPileup", False)
        status, charge = config.integer("Status", 1), config.integer("Charge", 1)
        self.required = {
            **({"status": status} if config.flag("RequireStatus", False) else {}),
            **({"charge": charge} if config.flag("RequireCharge", False) else {}),
        }

    def run(self, store: EventStore) -> None:
        """Write the particles that pass."""
        particles = self.array(store, self.input)
        listed = np.isin(particles["pid"], self.codes)
        kept = listed if self.invert else ~listed
        if self.pt_min > 0.0:
            kept &= particles["pt"] >= self.pt_min
        for column, value in self.required.items():
            kept &= particles[column] == value
        if self.not_pileup:
            kept &= particles["is_pu"] == 0
        self.export(store, self.output, particles.select(kept))
