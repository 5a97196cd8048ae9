"""Smears times of arrival (Delphes: TimeSmearing)."""

import numpy as np

from generation.fastsim.card import ModuleConfig
from generation.fastsim.kinematics import SPEED_OF_LIGHT
from generation.fastsim.module import EventStore, Module, evaluate


class TimeSmearing(Module):
    """Smears the time at the position of each candidate with a Gaussian.

    The width (s) is a number or a formula of (pt, eta, phi, energy).
    """

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.input = config.text("InputArray", "MuonMomentumSmearing/muons")
        self.output = config.text("OutputArray", "muons")
        self.resolution = self.formula("TimeResolution", "1.0E-10")

    def run(self, store: EventStore) -> None:
        """Write clones with smeared times."""
        candidates = self.array(store, self.input)
        width = evaluate(self.resolution, candidates, "position_eta", "position_phi")
        width = width * (SPEED_OF_LIGHT * 1e3)
        position = {name: candidates[name] for name in ("x", "y", "z")}
        time = candidates["t"] + width * store.rng.standard_normal(len(candidates))
        rows = np.arange(len(candidates))
        smeared = candidates.clone(rows, **position, t=time, error_t=width)
        self.export(store, self.output, smeared)
