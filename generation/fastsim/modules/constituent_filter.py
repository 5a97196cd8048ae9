"""Keeps what jets are made of (Delphes: ConstituentFilter)."""

import numpy as np

from generation.fastsim.card import ModuleConfig
from generation.fastsim.composition import parts_of
from generation.fastsim.module import EventStore, Module


class ConstituentFilter(Module):
    """Drops the candidates that are in none of the jets above `JetPTMin`."""

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.jets = config.texts("JetInputArray")
        names = config.texts("ConstituentInputArray")
        if len(names) % 2:
            raise config.error(
                "ConstituentInputArray", "is not made of pairs of input and output arrays"
            )
        self.pairs = list(zip(names[::2], names[1::2], strict=True))
        self.pt_min = config.number("JetPTMin", 0.0)

    def run(self, store: EventStore) -> None:
        """Write the constituents in each of the arrays."""
        jets = [self.array(store, name) for name in self.jets]
        members = [parts_of(some.select(some["pt"] > self.pt_min)) for some in jets]
        identities = [parts.candidates.identity for parts in members] or [np.empty(0, np.int64)]
        inside = np.concatenate(identities)
        for name, output in self.pairs:
            candidates = self.array(store, name)
            kept = np.isin(candidates.identity, inside)
            self.export(store, output, candidates.select(kept))
