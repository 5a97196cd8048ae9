"""Identifies photons as prompt, non-prompt or fake (Delphes: PhotonID)."""

import numpy as np

from generation.fastsim.card import ModuleConfig
from generation.fastsim.cones import pairs_within
from generation.fastsim.module import EventStore, Module, evaluate

PHOTON, STABLE = 22, 1
# A photon is made of a generated one within this distance, whose pT differs by less than this
# fraction of the photon's own.
MATCH_RADIUS, MATCH_PT = 0.1, 0.5
# Of `IsolationVar`; Delphes reads a limit from the card and uses this number.
ISOLATED = 0.3
PROMPT, NON_PROMPT, FAKE = 1, 2, 3


class PhotonID(Module):
    """Keeps photons with probabilities of their own for prompt, non-prompt and fake ones.

    A photon without a generated one near it is a fake; others are prompt when they are isolated.
    The probabilities are formulas of (pt, eta, phi, energy) with the angles of the position. Which
    of the three a photon is becomes its status: 1 prompt, 2 non-prompt, 3 fake.
    """

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.input = config.text("InputPhotonArray", "PhotonIsolation/photons")
        self.generated = config.text("InputGenArray", "GenParticleFilter/filteredParticles")
        self.output = config.text("OutputArray", "photons")
        self.pt_min = config.number("PTMin", 10.0)
        self.probabilities = {
            PROMPT: self.formula("PromptFormula", "1.0"),
            NON_PROMPT: self.formula("NonPromptFormula", "1.0"),
            FAKE: self.formula("FakeFormula", "1.0"),
        }
        config.ignore("fRelIsoMax", "RelIsoMax")

    def run(self, store: EventStore) -> None:
        """Write clones of the photons that are identified."""
        photons, generated = self.array(store, self.input), self.array(store, self.generated)
        pairs = pairs_within(photons, generated, MATCH_RADIUS)
        pt = photons["pt"][pairs.first]
        difference = np.abs(generated["pt"][pairs.second] - pt)
        is_match = (
            (np.abs(generated["pid"][pairs.second]) == PHOTON)
            & (generated["status"][pairs.second] == STABLE)
            & (difference <= MATCH_PT * pt)
        )
        matched = np.zeros(len(photons), bool)
        matched[pairs.first[is_match]] = True
        isolated = photons["isolation_var"] < ISOLATED
        kind = np.where(matched, np.where(isolated, PROMPT, NON_PROMPT), FAKE)
        probability = np.zeros(len(photons))
        for number, formula in self.probabilities.items():
            values = evaluate(formula, photons, "position_eta", "position_phi")
            probability = np.where(kind == number, values, probability)
        drawn = store.rng.random(len(photons))
        rows = np.flatnonzero((photons["pt"] >= self.pt_min) & (drawn <= probability))
        self.export(store, self.output, photons.clone(rows, status=kind[rows].astype(np.int32)))
