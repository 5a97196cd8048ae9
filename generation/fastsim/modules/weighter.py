"""Weights events by the particles of their hard process (Delphes: Weighter)."""

import numpy as np

from generation.fastsim.candidates import Candidates
from generation.fastsim.card import ModuleConfig
from generation.fastsim.module import EventStore, Module
from generation.fastsim.tower_grid import numbers

# The most PDG codes of one weight.
MOST_CODES = 4

HARD_PROCESS = 3


class Weighter(Module):
    """Weights each event by the set of the listed PDG codes that its hard process holds.

    `Weight` holds pairs: one to four codes with their signs, and the weight of the events with just
    these of all the listed codes; {0} is the weight of all others, 1 where the card gives none.
    As in Delphes, only status 3 counts, which Pythia 8 does not give to any particle.
    """

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.input = config.text("InputArray", "Delphes/allParticles")
        self.output = config.text("OutputArray", "weight")
        values = config.array("Weight")
        if len(values) % 2:
            raise config.error("Weight", "is not made of pairs of PDG codes and a weight")
        self.weights: dict[tuple[int, ...], float] = {}
        try:
            for listed, weight in zip(values[::2], values[1::2], strict=True):
                codes = [int(code) for code in numbers(listed)]
                if not 1 <= len(codes) <= MOST_CODES:
                    raise ValueError
                self.weights[tuple(sorted(code for code in codes if code))] = float(weight)
        except (TypeError, ValueError):
            raise config.error("Weight", "needs 1 to 4 PDG codes and one number each") from None
        self.codes = sorted({code for codes in self.weights for code in codes})

    def run(self, store: EventStore) -> None:
        """Write one candidate for each event, with the weight as its pT and energy."""
        particles = self.array(store, self.input)
        pid = particles["pid"]
        chosen = particles.select((particles["status"] == HARD_PROCESS) & np.isin(pid, self.codes))
        default = self.weights.get((), 1.0)
        weight = np.full(store.n_events, default)
        for event in np.flatnonzero(chosen.counts):
            found = chosen["pid"][chosen.offsets[event] : chosen.offsets[event + 1]]
            weight[event] = self.weights.get(tuple(np.unique(found).tolist()), default)
        zero = np.zeros(store.n_events)
        columns = {"px": weight, "py": zero, "pz": zero, "e": weight}
        self.export(store, self.output, Candidates(np.arange(store.n_events + 1), columns))
