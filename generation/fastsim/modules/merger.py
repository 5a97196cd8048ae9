"""Merges arrays and sums their momenta (Delphes: Merger)."""

import numpy as np

from generation.fastsim.candidates import Candidates, merge
from generation.fastsim.card import ModuleConfig
from generation.fastsim.module import EventStore, Module


class Merger(Module):
    """Concatenates its inputs event by event; missing momentum and HT come from its sums."""

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.inputs = config.texts("InputArray")
        if not self.inputs:
            raise config.error("InputArray", "is missing: there is nothing to merge")
        self.output = config.text("OutputArray", "candidates")
        self.momentum_output = config.text("MomentumOutputArray", "momentum")
        self.energy_output = config.text("EnergyOutputArray", "energy")

    def run(self, store: EventStore) -> None:
        """Write the merged array, and one candidate per event with each of the two sums."""
        inputs = [self.array(store, name) for name in self.inputs]
        self.export(store, self.output, merge(inputs))

        total = {
            name: np.sum([part.sum_by_event(part[name]) for part in inputs], axis=0)
            for name in ("px", "py", "pz", "e", "pt")
        }
        one_per_event = np.arange(store.n_events + 1)
        zero = np.zeros(store.n_events)
        momentum = {name: total[name] for name in ("px", "py", "pz", "e")}
        energy = {"px": total["pt"], "py": zero, "pz": zero, "e": total["e"]}
        self.export(store, self.momentum_output, Candidates(one_per_event, momentum))
        self.export(store, self.energy_output, Candidates(one_per_event, energy))
