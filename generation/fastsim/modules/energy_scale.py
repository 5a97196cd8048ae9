"""Scales momenta (Delphes: EnergyScale)."""

import numpy as np

from generation.fastsim.card import ModuleConfig
from generation.fastsim.module import EventStore, Module, evaluate


class EnergyScale(Module):
    """Multiplies each four-momentum by a formula of (pt, eta, phi, energy), where positive."""

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.input = config.text("InputArray", "FastJetFinder/jets")
        self.output = config.text("OutputArray", "jets")
        self.scale = self.formula("ScaleFormula", "0.0")

    def run(self, store: EventStore) -> None:
        """Write clones with scaled momenta."""
        candidates = self.array(store, self.input)
        scale = evaluate(self.scale, candidates)
        scale = np.where(scale > 0.0, scale, 1.0)
        momentum = {name: candidates[name] * scale for name in ("px", "py", "pz", "e")}
        scaled = candidates.clone(np.arange(len(candidates)), **momentum)
        self.export(store, self.output, scaled)
