"""Smears the transverse momentum of tracks (Delphes: MomentumSmearing)."""

import numpy as np

from generation.fastsim.card import ModuleConfig
from generation.fastsim.module import EventStore, Module, evaluate
from generation.fastsim.random import log_normal


class MomentumSmearing(Module):
    """Draws the transverse momentum from a log-normal; direction and mass stay.

    The relative width is a formula of (pt, eta, phi, energy), at most 1; it is kept as the
    track's resolution, which the calorimeters ask for.
    """

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.input = config.text("InputArray", "ParticlePropagator/stableParticles")
        self.output = config.text("OutputArray", "stableParticles")
        self.resolution = self.formula("ResolutionFormula", "0.0")
        self.angles = "" if config.flag("UseMomentumVector", False) else "position_"

    def run(self, store: EventStore) -> None:
        """Write clones with the smeared momentum."""
        candidates = self.array(store, self.input)
        pt = candidates["pt"]
        resolution = np.minimum(
            evaluate(self.resolution, candidates, f"{self.angles}eta", f"{self.angles}phi"), 1.0
        )
        smeared = log_normal(pt, resolution * pt, store.rng)
        scale = np.divide(smeared, pt, out=np.zeros_like(pt), where=pt > 0.0)
        pz, mass = candidates["pz"] * scale, candidates["m"]
        clones = candidates.clone(
            np.arange(len(candidates)),
            px=candidates["px"] * scale,
            py=candidates["py"] * scale,
            pz=pz,
            e=np.sqrt(smeared**2 + pz**2 + mass**2),
            pt=smeared,
            m=mass,
            track_resolution=resolution,
        )
        self.export(store, self.output, clones)
