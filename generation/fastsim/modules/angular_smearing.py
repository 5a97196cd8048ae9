"""Smears directions (Delphes: AngularSmearing)."""

import numpy as np
from numpy.typing import NDArray

from generation.fastsim.candidates import Candidates
from generation.fastsim.card import ModuleConfig
from generation.fastsim.module import EventStore, Module, evaluate


class AngularSmearing(Module):
    """Smears η and φ of momenta with Gaussians; transverse momentum and mass stay.

    The widths are formulas of the momentum's (pt, eta, phi, energy). Candidates without
    transverse momentum are dropped.
    """

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.input = config.text("InputArray", "ParticlePropagator/stableParticles")
        self.output = config.text("OutputArray", "stableParticles")
        self.widths = [self.formula(f"{angle}ResolutionFormula", "0.0") for angle in ("Eta", "Phi")]

    def run(self, store: EventStore) -> None:
        """Write clones with smeared directions."""
        candidates = self.array(store, self.input)
        candidates = candidates.select(candidates["pt"] > 0.0)
        width = np.stack([evaluate(formula, candidates) for formula in self.widths])
        shift = width * store.rng.standard_normal(width.shape)
        self.export(store, self.output, turned(candidates, shift, pt=candidates["pt"]))


def turned(
    candidates: Candidates, shift: NDArray[np.float64], **columns: NDArray[np.float64]
) -> Candidates:
    """Return clones with the same pT and mass, their directions moved.

    Parameters
    ----------
    candidates
        The candidates.
    shift
        (2, n) by how much in η and φ.
    columns
        Further columns of the clones.
    """
    eta, phi = candidates["eta"] + shift[0], candidates["phi"] + shift[1]
    pt, mass = candidates["pt"], candidates["m"]
    pz = pt * np.sinh(eta)
    return candidates.clone(
        np.arange(len(candidates)),
        px=pt * np.cos(phi),
        py=pt * np.sin(phi),
        pz=pz,
        e=np.sqrt(pt**2 + pz**2 + mass**2),
        m=mass,
        **columns,
    )
