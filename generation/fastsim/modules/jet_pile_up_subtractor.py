"""Subtracts pile-up from jets by their area (Delphes: JetPileUpSubtractor)."""

import numpy as np

from generation.fastsim.card import ModuleConfig
from generation.fastsim.module import EventStore, Module
from generation.fastsim.modules.isolation import density_at


class JetPileUpSubtractor(Module):
    """Takes ρ times the area, a four-vector, off each jet (arXiv:0707.1378).

    ρ is that of the last range which holds the jet's η, 0 outside all of them. Jets that the
    subtraction would use up, and those of less than `JetPTMin` after it, are dropped.
    """

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.jets = config.text("JetInputArray", "FastJetFinder/jets")
        self.rho = config.text("RhoInputArray", "Rho/rho")
        self.output = config.text("OutputArray", "jets")
        self.pt_min = config.number("JetPTMin", 20.0)

    def run(self, store: EventStore) -> None:
        """Write clones with the corrected momenta, in the order of the jets before."""
        jets = self.array(store, self.jets)
        rho = density_at(jets["eta"], jets.offsets, self.array(store, self.rho))
        pileup = {name: rho * jets[f"area_{name}"] for name in ("px", "py", "pz", "e")}
        momentum = {name: jets[name] - pileup[name] for name in pileup}
        kept = jets["pt"] > np.hypot(pileup["px"], pileup["py"])
        kept &= np.hypot(momentum["px"], momentum["py"]) > self.pt_min
        rows = np.flatnonzero(kept)
        corrected = jets.clone(rows, **{name: value[rows] for name, value in momentum.items()})
        self.export(store, self.output, corrected)
