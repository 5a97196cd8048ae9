"""Gives jets the flavour of the partons in them (Delphes: JetFlavorAssociation)."""

import math

import numpy as np

from generation.fastsim.card import ModuleConfig
from generation.fastsim.kernels import kernel
from generation.fastsim.module import EventStore, Module

GLUON = 21
HEAVIEST_QUARK = 5


class JetFlavorAssociation(Module):
    """Sets the flavour of each jet: the heaviest quark within `DeltaR`, else a gluon, else 0.

    Delphes has two more definitions, which compare with the partons of an LHE file as Delphes'
    own reader keeps them. Without that array they are 0, in Delphes too.
    """

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.partons = config.text("PartonInputArray", "Delphes/partons")
        self.jets = config.text("JetInputArray", "FastJetFinder/jets")
        self.marks = {self.jets: ("flavor",)}
        self.radius = config.number("DeltaR", 0.5)
        self.pt_min = config.number("PartonPTMin", 0.0)
        self.eta_max = config.number("PartonEtaMax", 2.5)
        config.ignore("ParticleInputArray", "ParticleLHEFInputArray")

    def run(self, store: EventStore) -> None:
        """Set `flavor` on the jets."""
        jets, partons = self.array(store, self.jets), self.array(store, self.partons)
        code = np.abs(partons["pid"])
        chosen = (partons["pt"] > self.pt_min) & (np.abs(partons["eta"]) <= self.eta_max)
        chosen &= ((code <= HEAVIEST_QUARK) | (code == GLUON)) & (partons["status"] != -1)
        partons = partons.select(chosen)
        flavor = _heaviest(
            jets["eta"], jets["phi"], jets.offsets,
            partons["eta"], partons["phi"], np.abs(partons["pid"]), partons.offsets, self.radius,
        )  # fmt: skip
        jets.mark("flavor", flavor)


@kernel()
def _heaviest(eta, phi, offsets, parton_eta, parton_phi, code, parton_offsets, radius):
    flavor = np.zeros(len(eta), np.int32)
    for event in range(len(offsets) - 1):
        for jet in range(offsets[event], offsets[event + 1]):
            heaviest = -1
            for i in range(parton_offsets[event], parton_offsets[event + 1]):
                angle = abs(phi[jet] - parton_phi[i])
                angle = min(angle, 2.0 * math.pi - angle)
                if math.hypot(eta[jet] - parton_eta[i], angle) <= radius:
                    heaviest = max(heaviest, 0 if code[i] == GLUON else code[i])
            flavor[jet] = GLUON if heaviest == 0 else max(heaviest, 0)
    return flavor
