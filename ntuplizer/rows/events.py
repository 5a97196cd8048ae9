"""The rows of the product `events`: the leading objects of each event in fixed slots."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ntuplizer.batch import Collection, EventBatch
from ntuplizer.counts import Counts
from ntuplizer.geometry import delta_r
from ntuplizer.products.events import SLOTS, EventOptions

# Delphes does not store the mass of its leptons, GeV.
LEPTON_MASS = {"Electron": 0.000511, "Muon": 0.10566}
# The first bit is the (only) working point of the cards.
B_TAG_BIT = 1


def make_events(batch: EventBatch, options: EventOptions, counts: Counts) -> dict[str, Any]:
    """Return the columns of those events that fill all slots."""
    met, jet_branch = batch[options.met_branch], batch[options.jet_branch]
    n_events = batch.n_events
    leptons, jets = _leptons(batch), _jets(jet_branch)

    lepton = leptons.leading(n_events, 1, leptons.pt > options.lepton_pt_min)[:, 0]
    counts.steps["events_with_lepton"] += int((lepton >= 0).sum())
    usable = (jets.pt > options.jet_pt_min) & (lepton[jets.event] >= 0)
    nearby = lepton[jets.event[usable]]
    distance = delta_r(jets.eta[usable], jets.phi[usable], leptons.eta[nearby], leptons.phi[nearby])
    usable[usable] = distance >= options.overlap
    tagged = (jet_branch["BTag"] & B_TAG_BIT) != 0
    b_jets = jets.leading(n_events, 2, usable & tagged)
    light_jets = jets.leading(n_events, 2, usable & ~tagged)

    kept = (lepton >= 0) & (b_jets >= 0).all(axis=1) & (light_jets >= 0).all(axis=1)
    kept &= met.counts > 0
    # One object per event, its pseudorapidity and mass without meaning.
    missing = _Objects(
        np.arange(n_events),
        met.first("MET").astype(np.float64),
        np.zeros(n_events),
        met.first("Phi").astype(np.float64),
        np.zeros(n_events),
    )
    return {
        **batch.identify(np.flatnonzero(kept)),
        **leptons.slot("lepton", lepton[kept]),
        **missing.slot("met", np.flatnonzero(kept)),
        **jets.slot("bjet1", b_jets[kept, 0]),
        **jets.slot("bjet2", b_jets[kept, 1]),
        **jets.slot("jet1", light_jets[kept, 0]),
        **jets.slot("jet2", light_jets[kept, 1]),
    }


@dataclass(frozen=True)
class _Objects:
    """Flat objects of one kind with their event, float64."""

    event: np.ndarray
    pt: np.ndarray
    eta: np.ndarray
    phi: np.ndarray
    mass: np.ndarray

    def leading(self, n_events: int, n: int, chosen: np.ndarray) -> np.ndarray:
        """Return the positions of the n hardest chosen objects per event, −1 for none."""
        index = np.flatnonzero(chosen)
        index = index[np.lexsort((-self.pt[index], self.event[index]))]
        event = self.event[index]
        rank = np.arange(len(index)) - np.searchsorted(event, event)
        positions = np.full((n_events, n), -1)
        kept = rank < n
        positions[event[kept], rank[kept]] = index[kept]
        return positions

    def slot(self, name: str, positions: np.ndarray) -> dict[str, np.ndarray]:
        """Return the columns of a slot from one position per event."""
        columns = {f"{name}_{q}": getattr(self, q)[positions] for q in ("pt", "eta", "phi", "mass")}
        return columns | {f"{name}_type": np.full(len(positions), SLOTS[name][0])}


def _leptons(batch: EventBatch) -> _Objects:
    kinds = [_objects(batch[branch], mass) for branch, mass in LEPTON_MASS.items()]
    names = ("event", "pt", "eta", "phi", "mass")
    return _Objects(*(np.concatenate([getattr(kind, name) for kind in kinds]) for name in names))


def _jets(jets: Collection) -> _Objects:
    return _objects(jets, jets["Mass"].astype(np.float64))


def _objects(collection: Collection, mass: float | np.ndarray) -> _Objects:
    pt, eta, phi = (collection[leaf].astype(np.float64) for leaf in ("PT", "Eta", "Phi"))
    return _Objects(collection.event, pt, eta, phi, np.broadcast_to(mass, pt.shape))
