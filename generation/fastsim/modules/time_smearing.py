"""Smears times of arrival (Delphes: TimeSmearing)."""

import numpy as np

from generation.fastsim.card import ModuleConfig
from generation.fastsim.kinematics import SPEED_OF_LIGHT
from generation.fastsim.module import EventStore, Module


class TimeSmearing(Module):
    """Smears the time at the position of each candidate with a Gaussian.

    The width (s) is a number or a formula of the momentum's eta and energy; pt and phi are 0 in it.
    """

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.input = config.text("InputArray", "MuonMomentumSmearing/muons")
        self.output = config.text("OutputArray", "tracks")
        self.resolution = self.formula("TimeResolution", "30e-12")

    def run(self, store: EventStore) -> None:
        """Write clones with smeared times."""
        candidates = self.array(store, self.input)
        known = {"eta": candidates["eta"], "energy": candidates["e"]}
        values = {name: known.get(name, 0.0) for name in self.resolution.names}
        width = np.broadcast_to(self.resolution(**values), len(candidates))
        width = width * (SPEED_OF_LIGHT * 1e3)
        position = {name: candidates[name] for name in ("x", "y", "z")}
        time = candidates["t"] + width * store.rng.standard_normal(len(candidates))
        rows = np.arange(len(candidates))
        smeared = candidates.clone(rows, **position, t=time, error_t=width)
        self.export(store, self.output, smeared)
