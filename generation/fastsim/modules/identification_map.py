"""Mistakes particles for others (Delphes: IdentificationMap)."""

import numpy as np

from generation.fastsim.card import ModuleConfig
from generation.fastsim.formula import Formula, FormulaError
from generation.fastsim.module import EventStore, Module, evaluate


class IdentificationMap(Module):
    """Gives each particle, at random, one of the codes that the card lists for it, or drops it.

    `EfficiencyFormula` holds triples of PDG code, code it is taken for, and probability, a formula
    of (pt, eta, phi, energy) with the angles of the position. A particle looks for its own code,
    then for that of its antiparticle, then for 0. The new code is multiplied by the charge, so
    that a positive pion with {211} {-13} becomes an antimuon; {0} leaves the code as it is.
    """

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.input = config.text("InputArray", "ParticlePropagator/stableParticles")
        self.output = config.text("OutputArray", "stableParticles")
        self.map: dict[int, list[tuple[int, Formula]]] = {}
        values = config.texts("EfficiencyFormula")
        if len(values) % 3:
            raise config.error("EfficiencyFormula", "is not made of triples: code, code, formula")
        for code, taken_for, formula in zip(values[::3], values[1::3], values[2::3], strict=True):
            try:
                self.map.setdefault(int(code), []).append((int(taken_for), Formula(formula)))
            except (FormulaError, ValueError) as error:
                raise config.error("EfficiencyFormula", f"is not a list of them: {error}") from None
        self.map.setdefault(0, [(0, Formula("1.0"))])

    def run(self, store: EventStore) -> None:
        """Write clones of the particles that are identified, with their new codes."""
        particles = self.array(store, self.input)
        pid, charge = particles["pid"], particles["charge"]
        draw = store.rng.random(len(particles))
        identified = np.full(len(particles), False)
        new = pid.copy()
        for code in np.unique(pid):
            rows = np.flatnonzero(pid == code)
            some = particles.at(rows)
            total = np.zeros(len(rows))
            for taken_for, formula in self.map.get(code, self.map.get(-code, self.map[0])):
                probability = evaluate(formula, some, "position_eta", "position_phi")
                hit = rows[(total <= draw[rows]) & (draw[rows] < total + probability)]
                # Of overlapping probabilities the first one listed decides.
                hit = hit[~identified[hit]]
                identified[hit] = True
                if taken_for != 0:
                    new[hit] = charge[hit] * taken_for
                total += probability
        rows = np.flatnonzero(identified)
        self.export(store, self.output, particles.clone(rows, pid=new[rows]))
