"""Event-object files (contract 3): the leading objects of each event in fixed slots."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from ntuplizer.delphes import Batch, Collection, read_events
from ntuplizer.particles import check_losses, delta_r, unphysical_events
from ntuplizer.schema import EVENT_SCHEMA, EVENT_SLOTS, tabulate
from provenance.errors import UserError

# Delphes does not store the mass of its leptons, GeV.
LEPTON_MASS = {"Electron": 0.000511, "Muon": 0.10566}
# The first bit is the (only) working point of the cards.
B_TAG_BIT = 1


@dataclass(frozen=True)
class EventSelection:
    """Which events to keep, and where their objects are.

    Attributes
    ----------
    lepton_pt_min, jet_pt_min
        Lowest pT in GeV of leptons and jets: at least one lepton, two jets with a b-tag and two
        without are needed above.
    overlap
        Jets within this ΔR of the leading lepton are no jets; 0 keeps all. Delphes makes a jet
        of an isolated electron too.
    jet_branch, met_branch
        Branches of the jets and of the missing transverse momentum.
    """

    lepton_pt_min: float = 10.0
    jet_pt_min: float = 20.0
    overlap: float = 0.0
    jet_branch: str = "JetPUPPI"
    met_branch: str = "PuppiMissingET"

    def __post_init__(self) -> None:
        for name in ("lepton_pt_min", "jet_pt_min", "overlap"):
            if not getattr(self, name) >= 0:
                raise UserError(f"{name} = {getattr(self, name)}: a number from 0 on is needed")

    @property
    def branches(self) -> dict[str, tuple[str, ...]]:
        """The branches and leaves that an event file must hold."""
        return {
            "Electron": ("PT", "Eta", "Phi"),
            "Muon": ("PT", "Eta", "Phi"),
            self.jet_branch: ("PT", "Eta", "Phi", "Mass", "BTag"),
            self.met_branch: ("MET", "Phi"),
        }


@dataclass
class EventCounts:
    """What was read, lost and kept."""

    events: int = 0
    events_skipped: Counter[str] = field(default_factory=Counter)
    events_with_lepton: int = 0
    events_selected: int = 0

    def as_dict(self) -> dict:
        """Return the counts as plain JSON values."""
        return vars(self) | {"events_skipped": dict(self.events_skipped)}


def iterate_events(
    path: str | Path, selection: EventSelection, counts: EventCounts
) -> Iterator[pa.Table]:
    """Yield the selected events of an event file as `EVENT_SCHEMA`; adds to `counts`.

    Raises
    ------
    UserError
        When the file cannot be read (see `read_events`).
    """
    for batch in read_events(path, selection.branches):
        yield _select(batch, selection, counts)
    check_losses(path, counts.events, counts.events_skipped)


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
        return columns | {f"{name}_type": np.full(len(positions), EVENT_SLOTS[name][0])}


def _select(batch: Batch, selection: EventSelection, counts: EventCounts) -> pa.Table:
    batch = _drop_infinite(batch, counts)
    met, jet_branch = batch[selection.met_branch], batch[selection.jet_branch]
    n_events = len(met.offsets) - 1
    leptons, jets = _leptons(batch), _jets(jet_branch)

    lepton = leptons.leading(n_events, 1, leptons.pt > selection.lepton_pt_min)[:, 0]
    counts.events_with_lepton += int((lepton >= 0).sum())
    usable = (jets.pt > selection.jet_pt_min) & (lepton[jets.event] >= 0)
    nearby = lepton[jets.event[usable]]
    distance = delta_r(jets.eta[usable], jets.phi[usable], leptons.eta[nearby], leptons.phi[nearby])
    usable[usable] = distance >= selection.overlap
    tagged = (jet_branch["BTag"] & B_TAG_BIT) != 0
    b_jets = jets.leading(n_events, 2, usable & tagged)
    light_jets = jets.leading(n_events, 2, usable & ~tagged)

    kept = (lepton >= 0) & (b_jets >= 0).all(axis=1) & (light_jets >= 0).all(axis=1)
    kept &= met.counts > 0
    counts.events_selected += int(kept.sum())
    # One object per event, its pseudorapidity and mass without meaning.
    missing = _Objects(
        np.arange(n_events),
        met.first("MET").astype(np.float64),
        np.zeros(n_events),
        met.first("Phi").astype(np.float64),
        np.zeros(n_events),
    )
    columns = {
        **leptons.slot("lepton", lepton[kept]),
        **missing.slot("met", np.flatnonzero(kept)),
        **jets.slot("bjet1", b_jets[kept, 0]),
        **jets.slot("bjet2", b_jets[kept, 1]),
        **jets.slot("jet1", light_jets[kept, 0]),
        **jets.slot("jet2", light_jets[kept, 1]),
    }
    return tabulate(columns, EVENT_SCHEMA)


def _drop_infinite(batch: Batch, counts: EventCounts) -> Batch:
    unphysical = unphysical_events(batch)
    counts.events += len(unphysical)
    if not unphysical.any():
        return batch
    counts.events_skipped["unphysical values"] += int(unphysical.sum())
    return {branch: collection.select(~unphysical) for branch, collection in batch.items()}


def _leptons(batch: Batch) -> _Objects:
    kinds = [_objects(batch[branch], mass) for branch, mass in LEPTON_MASS.items()]
    names = ("event", "pt", "eta", "phi", "mass")
    return _Objects(*(np.concatenate([getattr(kind, name) for kind in kinds]) for name in names))


def _jets(jets: Collection) -> _Objects:
    return _objects(jets, jets["Mass"].astype(np.float64))


def _objects(collection: Collection, mass: float | np.ndarray) -> _Objects:
    pt, eta, phi = (collection[leaf].astype(np.float64) for leaf in ("PT", "Eta", "Phi"))
    return _Objects(collection.event, pt, eta, phi, np.broadcast_to(mass, pt.shape))
