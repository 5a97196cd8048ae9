"""Clones candidates (Delphes: Cloner)."""

import numpy as np

from generation.fastsim.card import ModuleConfig
from generation.fastsim.module import EventStore, Module


class Cloner(Module):
    """Writes clones, so that what is marked on them later leaves the originals alone."""

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.input = config.text("InputArray", "FastJetFinder/jets")
        self.output = config.text("OutputArray", "jets")

    def run(self, store: EventStore) -> None:
        """Write the clones."""
        candidates = self.array(store, self.input)
        self.export(store, self.output, candidates.clone(np.arange(len(candidates))))
