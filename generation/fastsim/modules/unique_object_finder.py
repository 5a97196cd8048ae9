"""Removes objects that are made of the same as earlier ones (Delphes: UniqueObjectFinder)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from generation.fastsim.candidates import Candidates
from generation.fastsim.card import ModuleConfig
from generation.fastsim.kernels import device, kernel
from generation.fastsim.module import EventStore, Module

ELECTRON = 11


class UniqueObjectFinder(Module):
    """Goes through its arrays in order and drops what overlaps with something kept already.

    Candidates overlap when they, or any of their constituents, are the same or clones of the
    same, or when one is the ECAL tower that an electron has showered in: where such a tower has
    become a photon too, whichever comes first in the card is kept.
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
        kept: list[Parts] = []
        for name, output in self.pairs:
            candidates = self.array(store, name)
            parts = itself(candidates) if self.only_identity else parts_of(candidates)
            unique = np.full(len(candidates), True)
            for earlier in kept:
                unique[parts.owner[self._overlaps(parts, earlier)]] = False
            self.export(store, output, candidates.select(unique))
            kept.append(parts.select(unique[parts.owner]))

    def _overlaps(self, parts: "Parts", earlier: "Parts") -> NDArray[np.bool_]:
        """Tell for each part whether it overlaps with any of the earlier ones."""
        if self.only_identity:
            return np.isin(parts.candidates.identity, earlier.candidates.identity)
        return _overlaps(*parts.arrays(), *earlier.arrays())


@dataclass(frozen=True)
class Parts:
    """What candidates are made of.

    Attributes
    ----------
    candidates
        The parts.
    owner
        (n_parts,) the candidate that each belongs to.
    """

    candidates: Candidates
    owner: NDArray[np.int64]

    def select(self, mask: NDArray[np.bool_]) -> "Parts":
        """Return the parts where `mask` is true."""
        return Parts(self.candidates.select(mask), self.owner[mask])

    def arrays(self) -> tuple[NDArray, ...]:
        """Return what decides on an overlap, for `_overlaps`."""
        parts = self.candidates
        showers = (np.abs(parts["pid"]) == ELECTRON) & (parts["charge"] != 0)
        eta = np.where(showers, parts["position_eta"], np.nan)
        edges = np.stack([parts[f"edge_{side}"] for side in _EDGES], axis=1)
        edges[parts["e_em"] <= 0.0] = 0.0
        return parts.offsets, parts.identity, eta, parts["position_phi"], edges


_EDGES = ("eta_min", "eta_max", "phi_min", "phi_max")


def itself(candidates: Candidates) -> Parts:
    """Return candidates as their own only parts."""
    return Parts(candidates, np.arange(len(candidates)))


def parts_of(candidates: Candidates) -> Parts:
    """Return the constituents of jets; other candidates are their own parts."""
    origin = candidates.origin
    found, jets = candidates, np.arange(len(candidates))
    if origin.parents:
        found, jets = origin.parents[0], origin.index
    if len(origin.parents) > 1 or found.constituents is None:
        return itself(candidates)
    members, offsets = found.constituents
    counts = np.diff(offsets)[jets]
    owner = np.repeat(np.arange(len(jets)), counts)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    return Parts(members.at(np.repeat(offsets[jets], counts) + within), owner)


@kernel()
def _overlaps(
    offsets, identity, eta, phi, edges,
    other_offsets, other_identity, other_eta, other_phi, other_edges,
):  # fmt: skip
    """Tell for each part whether it overlaps with any of the others."""
    overlapping = np.full(len(identity), False)
    for event in range(len(offsets) - 1):
        for i in range(offsets[event], offsets[event + 1]):
            for j in range(other_offsets[event], other_offsets[event + 1]):
                if (
                    identity[i] == other_identity[j]
                    or _inside(eta[i], phi[i], other_edges[j])
                    or _inside(other_eta[j], other_phi[j], edges[i])
                ):
                    overlapping[i] = True
                    break
    return overlapping


@device()
def _inside(eta, phi, edges):
    """Tell whether a shower lies within the edges of a tower."""
    return edges[0] <= eta < edges[1] and edges[2] <= phi < edges[3]
