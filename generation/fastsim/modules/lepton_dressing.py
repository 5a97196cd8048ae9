"""Adds radiated photons to leptons (Delphes: LeptonDressing)."""

import numpy as np

from generation.fastsim.card import ModuleConfig
from generation.fastsim.cones import pairs_within
from generation.fastsim.module import EventStore, Module

# GeV; what is softer does not count.
PT_MIN = 0.1


class LeptonDressing(Module):
    """Adds to each candidate the momenta of all photons within `DeltaRMax`."""

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.photons = config.text("DressingInputArray", "Calorimeter/photons")
        self.leptons = config.text("CandidateInputArray", "UniqueObjectFinder/electrons")
        self.output = config.text("OutputArray", "electrons")
        self.radius = config.number("DeltaRMax", 0.4)

    def run(self, store: EventStore) -> None:
        """Write clones with the sums."""
        leptons, photons = self.array(store, self.leptons), self.array(store, self.photons)
        photons = photons.select(photons["pt"] > PT_MIN)
        pairs = pairs_within(leptons, photons, self.radius)
        momentum = {
            name: leptons[name]
            + np.bincount(pairs.first, photons[name][pairs.second], minlength=len(leptons))
            for name in ("px", "py", "pz", "e")
        }
        self.export(store, self.output, leptons.clone(np.arange(len(leptons)), **momentum))
