"""Tags jets by their flavour (Delphes: BTagging)."""

import numpy as np
from numpy.typing import NDArray

from generation.fastsim.candidates import Candidates
from generation.fastsim.card import ModuleConfig
from generation.fastsim.formula import Formula, keyed_formulas
from generation.fastsim.module import EventStore, Module, evaluate


class BTagging(Module):
    """Tags each jet at random, with the efficiency for its flavour, once for each definition."""

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.jets = config.text("JetInputArray", "FastJetFinder/jets")
        self.marks = {self.jets: ("b_tag", "b_tag_algo", "b_tag_phys")}
        self.bit = config.bit("BitNumber")
        self.efficiencies = read_efficiencies(config)
        # Flavours come from JetFlavorAssociation; these are of older cards.
        config.ignore("PartonInputArray", "DeltaR", "PartonPTMin", "PartonEtaMax")

    def run(self, store: EventStore) -> None:
        """Set this module's bit in the tags of the jets."""
        jets = self.array(store, self.jets)
        for suffix in ("", "_algo", "_phys"):
            efficiency = look_up(self.efficiencies, jets[f"flavor{suffix}"], jets)
            tagged = store.rng.random(len(jets)) <= efficiency
            tags = jets[f"b_tag{suffix}"].astype(np.int32) | (tagged.astype(np.int32) << self.bit)
            jets.mark(f"b_tag{suffix}", tags)


def read_efficiencies(config: ModuleConfig) -> dict[int, Formula]:
    """Return the efficiency formula of each |PDG code|; code 0 is every other one."""
    try:
        return {0: Formula("0.0")} | keyed_formulas(config.texts("EfficiencyFormula"))
    except ValueError as error:
        raise config.error("EfficiencyFormula", f"is not a list of formulas: {error}") from None


def look_up(formulas: dict[int, Formula], code: NDArray, jets: Candidates) -> NDArray[np.float64]:
    """Return for each jet the value of the formula of its code."""
    values = np.array(evaluate(formulas[0], jets))
    for known, formula in formulas.items():
        rows = np.flatnonzero(code == known)
        if known and len(rows):
            values[rows] = evaluate(formula, jets)[rows]
    return values
