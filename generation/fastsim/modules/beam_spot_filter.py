"""Finds the first particle of the hard event (Delphes: BeamSpotFilter)."""

import numpy as np

from generation.fastsim.card import ModuleConfig
from generation.fastsim.module import EventStore, Module


class BeamSpotFilter(Module):
    """Keeps the particles of each event up to the first one that is not pile-up."""

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.input = config.text("InputArray", "Delphes/allParticles")
        self.output = config.text("OutputArray", "filteredParticles")

    def run(self, store: EventStore) -> None:
        """Write these particles."""
        particles = self.array(store, self.input)
        hard = (particles["is_pu"] == 0).astype(np.int64)
        before = np.concatenate(([0], np.cumsum(hard)))
        earlier = before[:-1] - np.repeat(before[particles.offsets[:-1]], particles.counts)
        self.export(store, self.output, particles.select(earlier == 0))
