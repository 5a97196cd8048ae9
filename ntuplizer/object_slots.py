"""The objects of an event in fixed slots: leptons, missing momentum, b-jets, light jets.

Which events are kept, and which objects fill their slots, is decided here for simulated events and
for collisions alike: the functions know arrays, not files.
"""

from dataclasses import dataclass

import numpy as np

from ntuplizer.slots import EMPTY, SlotOptions

KINEMATICS = ("pt", "eta", "phi", "mass")


@dataclass(frozen=True)
class Objects:
    """Objects of one kind for a batch of events, flat.

    Attributes
    ----------
    offsets
        int64 (n_events + 1,): objects of event i are `offsets[i]` to `offsets[i + 1]`.
    pt, eta, phi, mass
        float64 (n_objects,), GeV and radian.
    """

    offsets: np.ndarray
    pt: np.ndarray
    eta: np.ndarray
    phi: np.ndarray
    mass: np.ndarray

    @property
    def n_events(self) -> int:
        """How many events these are."""
        return len(self.offsets) - 1

    @property
    def event(self) -> np.ndarray:
        """The event of each object, int64 (n_objects,)."""
        return np.repeat(np.arange(self.n_events), np.diff(self.offsets))

    def count(self, chosen: np.ndarray) -> np.ndarray:
        """Return how many objects of a boolean mask each event has, int64 (n_events,)."""
        return np.bincount(self.event[chosen], minlength=self.n_events)

    def leading(self, chosen: np.ndarray, n: int) -> np.ndarray:
        """Return the positions of the n hardest objects of a mask per event, −1 for none.

        Of equal pT the first one comes first.

        Returns
        -------
        numpy.ndarray
            int64 (n_events, n).
        """
        index = np.flatnonzero(chosen)
        event = self.event[index]
        order = np.lexsort((-self.pt[index], event))
        index, event = index[order], event[order]
        rank = np.arange(len(index)) - np.searchsorted(event, event)
        positions = np.full((self.n_events, n), -1)
        kept = rank < n
        positions[event[kept], rank[kept]] = index[kept]
        return positions


def merge(first: Objects, second: Objects) -> Objects:
    """Return the objects of both for the same events, those of `first` first in each event."""
    event = np.concatenate((first.event, second.event))
    order = np.argsort(event, kind="stable")
    values = (np.concatenate((getattr(first, q), getattr(second, q)))[order] for q in KINEMATICS)
    return Objects(first.offsets + second.offsets, *values)


@dataclass(frozen=True)
class FilledSlots:
    """The kept events with their slots.

    Attributes
    ----------
    events
        int64 (n_kept,): positions of the kept events in the batch.
    values
        float64 (n_kept, n_slots, 4): pT, η, φ, mass; 0 in empty slots. η and mass of the missing
        momentum are 0.
    types
        int32 (n_kept, n_slots): the slot's type, `EMPTY` where nothing fills it.
    steps
        Events left after each step, in order.
    """

    events: np.ndarray
    values: np.ndarray
    types: np.ndarray
    steps: dict[str, int]

    def columns(self, options: SlotOptions, ending: str = "") -> dict[str, np.ndarray]:
        """Return the columns `<slot>_pt`, `_eta`, `_phi`, `_mass` and `_type`, (n_kept,) each.

        Names of slots have the ending given.
        """
        columns: dict[str, np.ndarray] = {}
        for i, slot in enumerate(options.slots):
            name = f"{slot}{ending}"
            columns |= {f"{name}_{q}": self.values[:, i, k] for k, q in enumerate(KINEMATICS)}
            columns[f"{name}_type"] = self.types[:, i]
        return columns


def fill_slots(
    leptons: Objects, missing: Objects, jets: Objects, tagged: np.ndarray, options: SlotOptions
) -> FilledSlots:
    """Select events and fill their slots with the hardest objects of each kind.

    Parameters
    ----------
    leptons, jets
        Identified electrons and muons, and jets, of the same events.
    missing
        The missing transverse momentum, one object per event or none; events without are left out.
    tagged
        bool (n_jets,): which jets are b-jets.
    options
        Thresholds and slots.
    """
    hard_leptons = leptons.pt > options.lepton_pt_min
    hard_jets = jets.pt > options.jet_pt_min
    clean = hard_jets & ~_near(jets, hard_jets, leptons, hard_leptons, options.overlap)
    kinds = {
        "leptons": (leptons, hard_leptons),
        "b_jets": (jets, clean & tagged),
        "light_jets": (jets, clean & ~tagged),
    }

    kept = np.diff(missing.offsets) > 0
    steps = {"met": int(kept.sum())}
    for kind, (objects, chosen) in kinds.items():
        n_objects = objects.count(chosen)
        kept &= n_objects >= options.required(kind)
        if kind == "leptons" and options.leptons_max is not None:
            kept &= n_objects <= options.leptons_max
        steps[kind] = int(kept.sum())

    events = np.flatnonzero(kept)
    filled = {
        kind: _gather(objects, objects.leading(chosen, getattr(options, kind))[events])
        for kind, (objects, chosen) in kinds.items()
    }
    first = missing.offsets[:-1][events]
    transverse = np.zeros((len(events), 1, 4))
    transverse[:, 0, 0], transverse[:, 0, 2] = missing.pt[first], missing.phi[first]
    there = np.ones((len(events), 1), bool)

    parts = (filled["leptons"], (transverse, there), filled["b_jets"], filled["light_jets"])
    values = np.concatenate([part[0] for part in parts], axis=1)
    present = np.concatenate([part[1] for part in parts], axis=1)
    types = np.where(present, np.array(list(options.slots.values()), np.int32), np.int32(EMPTY))
    return FilledSlots(events, values, types, steps)


def _gather(objects: Objects, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the kinematics at (n, slots) positions and which of them are there."""
    present = positions >= 0
    values = np.zeros((*positions.shape, len(KINEMATICS)))
    for k, quantity in enumerate(KINEMATICS):
        values[present, k] = getattr(objects, quantity)[positions[present]]
    return values, present


def _near(
    jets: Objects, some_jets: np.ndarray, leptons: Objects, some_leptons: np.ndarray, reach: float
) -> np.ndarray:
    """Return which of the jets lie within ΔR < `reach` of one of the leptons, bool (n_jets,)."""
    jet, lepton = _pairs(jets, some_jets, leptons, some_leptons)
    delta_phi = (jets.phi[jet] - leptons.phi[lepton] + np.pi) % (2 * np.pi) - np.pi
    close = np.hypot(jets.eta[jet] - leptons.eta[lepton], delta_phi) < reach
    near = np.zeros(len(jets.pt), bool)
    near[jet[close]] = True
    return near


def _pairs(
    first: Objects, some_first: np.ndarray, second: Objects, some_second: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return all pairs of chosen objects within an event, as positions."""
    left, right = np.flatnonzero(some_first), np.flatnonzero(some_second)
    ends = np.concatenate(([0], np.cumsum(second.count(some_second))))
    event = first.event[left]
    partners = np.diff(ends)[event]
    within = np.arange(partners.sum()) - np.repeat(np.cumsum(partners) - partners, partners)
    return np.repeat(left, partners), right[np.repeat(ends[event], partners) + within]
