"""Removes objects that are made of the same as earlier ones (Delphes: UniqueObjectFinder)."""

import numpy as np

from generation.fastsim.card import ModuleConfig
from generation.fastsim.composition import contents
from generation.fastsim.module import EventStore, Module


class UniqueObjectFinder(Module):
    """Goes through its arrays in order and drops what overlaps with something kept already.

    Candidates overlap when they, or anything that they are made of, are the same or clones of the
    same: a photon overlaps with the electron that has left energy in its tower, a jet with each of
    its constituents. With `UseUniqueID` only the candidates themselves are compared. Candidates of
    one array are not compared with each other.
    """

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        names = config.texts("InputArray")
        if not names or len(names) % 2:
            raise config.error("InputArray", "is not made of pairs of input and output arrays")
        self.pairs = list(zip(names[::2], names[1::2], strict=True))
        self.only_identity = config.flag("UseUniqueID", False)

    def run(self, store: EventStore) -> None:
        """Write what is left of each array."""
        kept = np.zeros(0, np.int64)
        for name, output in self.pairs:
            candidates = self.array(store, name)
            identity, owner = candidates.identity, np.arange(len(candidates))
            if not self.only_identity:
                identity, owner = contents(candidates)
            unique = np.full(len(candidates), True)
            unique[owner[np.isin(identity, kept)]] = False
            self.export(store, output, candidates.select(unique))
            kept = np.concatenate((kept, identity[unique[owner]]))
