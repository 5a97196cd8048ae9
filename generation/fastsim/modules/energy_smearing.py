"""Smears energies (Delphes: EnergySmearing)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from generation.fastsim.card import ModuleConfig
from generation.fastsim.module import EventStore, Module


class EnergySmearing(Module):
    """Draws the energy from a Gaussian; direction and mass stay.

    The width (GeV) is a formula of (pt, eta, phi, energy). As in Delphes, its angles are those of
    the position, and its pt is the distance of the position from the beam. The relative width at
    the new momentum is kept as the track's resolution. Candidates without energy are dropped.
    """

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.input = config.text("InputArray", "ParticlePropagator/stableParticles")
        self.output = config.text("OutputArray", "stableParticles")
        self.resolution = self.formula("ResolutionFormula", "0.0")

    def run(self, store: EventStore) -> None:
        """Write clones with the smeared energies."""
        candidates = self.array(store, self.input)
        place = {"eta": "position_eta", "phi": "position_phi", "pt": "position_r", "energy": "e"}
        width = self._width({name: candidates[column] for name, column in place.items()})
        energy = candidates["e"] + width * store.rng.standard_normal(len(candidates))
        rows = np.flatnonzero(energy > 0.0)

        energy, mass = energy[rows], candidates["m"][rows]
        old, eta, phi = (candidates[name][rows] for name in ("e", "eta", "phi"))
        momentum2 = np.where(energy > mass, energy**2 - mass * np.abs(mass), 0.0)
        pt = np.sqrt(np.maximum(momentum2, 0.0)) / np.cosh(np.minimum(np.abs(eta), 100.0))
        width = self._width({"pt": pt, "eta": eta, "phi": phi, "energy": energy})
        resolution = np.divide(width, old, out=np.zeros_like(width), where=old > 0.0)
        smeared = candidates.clone(
            rows,
            px=pt * np.cos(phi),
            py=pt * np.sin(phi),
            pz=pt * np.sinh(np.clip(eta, -100.0, 100.0)),
            e=energy,
            pt=pt,
            track_resolution=resolution,
        )
        self.export(store, self.output, smeared)

    def _width(self, given: dict[str, Any]) -> NDArray[np.float64]:
        values = {name: given.get(name, 0.0) for name in self.resolution.names}
        return np.broadcast_to(self.resolution(**values), len(given["energy"])).astype(np.float64)
