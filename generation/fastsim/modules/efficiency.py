"""Loses candidates at random (Delphes: Efficiency)."""

from generation.fastsim.card import ModuleConfig
from generation.fastsim.module import EventStore, Module, evaluate


class Efficiency(Module):
    """Keeps each candidate with the probability that a formula of (pt, eta, phi, energy) gives.

    The angles are those of the candidate's position at the calorimeter, or those of its momentum
    with `UseMomentumVector`.
    """

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.input = config.text("InputArray", "ParticlePropagator/stableParticles")
        self.output = config.text("OutputArray", "stableParticles")
        self.probability = self.formula("EfficiencyFormula", "1.0")
        self.angles = "" if config.flag("UseMomentumVector", False) else "position_"

    def run(self, store: EventStore) -> None:
        """Write the surviving candidates."""
        candidates = self.array(store, self.input)
        probability = evaluate(
            self.probability, candidates, f"{self.angles}eta", f"{self.angles}phi"
        )
        kept = store.rng.random(len(candidates)) <= probability
        self.export(store, self.output, candidates.select(kept))
