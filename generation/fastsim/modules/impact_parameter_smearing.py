"""Smears the impact parameters of tracks (Delphes: ImpactParameterSmearing)."""

import numpy as np

from generation.fastsim.card import ModuleConfig
from generation.fastsim.module import EventStore, Module, evaluate


class ImpactParameterSmearing(Module):
    """Moves the point of closest approach by Gaussians in x, y and z, and d0 with it.

    The width (mm) is a formula of the generated momentum's (pt, eta, phi, energy). The error of d0
    is, as in Delphes, another number drawn from the same Gaussian: its sign is as random as its
    size.
    """

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.input = config.text("InputArray", "TrackMerger/tracks")
        self.output = config.text("OutputArray", "tracks")
        self.resolution = self.formula("ResolutionFormula", "0.0")
        # So written in a card of Delphes, which reads `InputArray`.
        config.ignore("TrackInputArray")

    def run(self, store: EventStore) -> None:
        """Write clones with smeared impact parameters."""
        tracks = self.array(store, self.input)
        particles = tracks.origin
        width = evaluate(self.resolution, particles)
        *shifts, error = width * store.rng.standard_normal((4, len(tracks)))
        x, y, z = (tracks[name] + shift for name, shift in zip(_POINT, shifts, strict=True))
        pt = particles["pt"]
        moment = x * particles["py"] - y * particles["px"]
        d0 = np.divide(moment, pt, out=np.zeros_like(pt), where=pt > 0.0)
        smeared = tracks.clone(np.arange(len(tracks)), xd=x, yd=y, zd=z, d0=d0, error_d0=error)
        self.export(store, self.output, smeared)


_POINT = ("xd", "yd", "zd")
