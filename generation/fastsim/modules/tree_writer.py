"""Fills the branches of the event file (Delphes: TreeWriter)."""

from generation.fastsim.branches import LEAVES, SINGLE, make_branch
from generation.fastsim.candidates import Candidates
from generation.fastsim.card import ModuleConfig
from generation.fastsim.module import EventStore, Module


class TreeWriter(Module):
    """Turns arrays into branches, in the order of the card."""

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        values = config.texts("Branch")
        if len(values) % 3:
            raise config.error("Branch", "is not made of triples of array, branch and class")
        self.branches = list(zip(values[::3], values[1::3], values[2::3], strict=True))
        for _, _, delphes_class in self.branches:
            if delphes_class not in LEAVES:
                raise config.error("Branch", f"asks for the unknown class '{delphes_class}'")
        config.ignore("Info", "OffsetFromModifyBeamSpot")

    def run(self, store: EventStore) -> None:
        """Add the branches to the store."""
        for array, name, delphes_class in self.branches:
            candidates = self.array(store, array)
            if delphes_class in SINGLE:
                candidates = _first_of_each_event(candidates)
            store.branches[name] = make_branch(delphes_class, candidates)


def _first_of_each_event(candidates: Candidates) -> Candidates:
    return candidates.at(candidates.offsets[:-1][candidates.counts > 0])
