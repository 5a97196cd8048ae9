"""Events in memory: what sources give and products take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Collection:
    """The objects of one branch for a batch of events, flat.

    Attributes
    ----------
    offsets
        int64 (n_events + 1): objects of event i are `offsets[i]` to `offsets[i + 1]`.
    columns
        Leaf name → values of all objects, in the source's order and type.
    """

    offsets: np.ndarray
    columns: Mapping[str, np.ndarray]

    @staticmethod
    def empty(n_events: int, leaves: Sequence[str]) -> "Collection":
        """Return a collection without objects."""
        return Collection(
            np.zeros(n_events + 1, np.int64), {leaf: np.zeros(0, np.float32) for leaf in leaves}
        )

    def __getitem__(self, leaf: str) -> np.ndarray:
        return self.columns[leaf]

    @property
    def counts(self) -> np.ndarray:
        """Objects per event, int64 (n_events,)."""
        return np.diff(self.offsets)

    @property
    def event(self) -> np.ndarray:
        """The event of each object, int64 (n_objects,)."""
        return np.repeat(np.arange(len(self.offsets) - 1), self.counts)

    def first(self, leaf: str) -> np.ndarray:
        """Return the first object's value per event, 0 for an event without objects."""
        values = np.zeros(len(self.offsets) - 1, self.columns[leaf].dtype)
        filled = self.counts > 0
        values[filled] = self.columns[leaf][self.offsets[:-1][filled]]
        return values

    def select(self, events: np.ndarray) -> "Collection":
        """Return the same objects for the events of a boolean mask only."""
        offsets = np.concatenate(([0], np.cumsum(self.counts[events])))
        objects = np.repeat(events, self.counts)
        return Collection(offsets, {leaf: v[objects] for leaf, v in self.columns.items()})


@dataclass(frozen=True)
class EventBatch:
    """Some events of a source, with what names each of them.

    Attributes
    ----------
    collections
        Branch → its objects; a branch that is optional and absent is left out.
    identity
        Name → one value per event, (n_events,). Together they name an event for good. Sources of
        simulated events give `process` (str), `batch` and `event` (int64).
    source
        Where the events are from, for messages.
    """

    collections: Mapping[str, Collection]
    identity: Mapping[str, np.ndarray]
    source: str

    def __getitem__(self, branch: str) -> Collection:
        return self.collections[branch]

    def get(self, branch: str) -> Collection | None:
        """Return the objects of an optional branch, None when it is absent."""
        return self.collections.get(branch)

    @property
    def n_events(self) -> int:
        """How many events these are."""
        return len(next(iter(self.identity.values())))

    def select(self, events: np.ndarray) -> "EventBatch":
        """Return the events of a boolean mask only."""
        return EventBatch(
            {branch: objects.select(events) for branch, objects in self.collections.items()},
            {name: values[events] for name, values in self.identity.items()},
            self.source,
        )

    def identify(self, events: np.ndarray) -> dict[str, np.ndarray]:
        """Return the identity of the events at some positions, as columns of a table."""
        return {name: values[events] for name, values in self.identity.items()}


def simulated_identity(process: str, batch: int, n_events: int) -> dict[str, np.ndarray]:
    """Return the identity of the events of one simulated batch: numbered from 0 within it."""
    return {
        "process": np.full(n_events, process),
        "batch": np.full(n_events, batch, np.int64),
        "event": np.arange(n_events),
    }
