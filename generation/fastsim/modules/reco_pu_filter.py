"""Removes what is reconstructed as pile-up (Delphes: RecoPuFilter)."""

from generation.fastsim.card import ModuleConfig
from generation.fastsim.module import EventStore, Module


class RecoPuFilter(Module):
    """Drops candidates that a `TrackPileUpSubtractor` has marked."""

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.input = config.text("InputArray", "Delphes/allParticles")
        self.output = config.text("OutputArray", "filteredParticles")

    def run(self, store: EventStore) -> None:
        """Write the unmarked candidates."""
        candidates = self.array(store, self.input)
        self.export(store, self.output, candidates.select(candidates["is_reco_pu"] == 0))
