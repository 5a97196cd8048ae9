"""Simulated events that are in memory, as if they had been written to a file and read back."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from ntuplizer.batch import Collection, EventBatch, simulated_identity
from provenance.errors import UserError


class Branch(Protocol):
    """A branch of a batch of events, as a detector simulation fills it."""

    @property
    def offsets(self) -> np.ndarray:
        """int64 (n_events + 1,): objects of each event."""

    @property
    def columns(self) -> Mapping[str, np.ndarray]:
        """Leaf → values; the name of a leaf that is an array may end in its length, `Edges[4]`."""


def batches(
    simulated: Iterable[tuple[str, int, Mapping[str, Branch]]],
    branches: Mapping[str, Sequence[str]],
    optional: Mapping[str, Sequence[str]] | None = None,
) -> Iterator[EventBatch]:
    """Turn simulated batches into batches of events, one by one.

    Parameters
    ----------
    simulated
        Process, number of the batch, and its branches by name.
    branches
        Branch → leaves wanted, as ``{"Particle": ("PID", "PT")}``.
    optional
        The same for branches that may be absent; those are left out of the batches.

    Raises
    ------
    UserError
        When a branch or a leaf is missing.
    """
    for process, number, made in simulated:
        source = f"batch {number} of {process}"
        collections = {}
        for branch, leaves in branches.items():
            found = _find_leaves(made, branch, leaves)
            for leaf in leaves:
                if leaf not in found:
                    raise UserError(f"{source}: the detector card writes no branch {branch}.{leaf}")
            collections[branch] = Collection(made[branch].offsets, found)
        for branch, leaves in (optional or {}).items():
            found = _find_leaves(made, branch, leaves)
            if len(found) == len(leaves):
                collections[branch] = Collection(made[branch].offsets, found)
        n_events = len(next(iter(made.values())).offsets) - 1
        yield EventBatch(collections, simulated_identity(process, number, n_events), source)


def _find_leaves(
    made: Mapping[str, Branch], branch: str, leaves: Sequence[str]
) -> dict[str, np.ndarray]:
    """Return the values of each leaf that exists, under its name in a file: without `[4]`."""
    if branch not in made:
        return {}
    columns = {name.partition("[")[0]: values for name, values in made[branch].columns.items()}
    return {leaf: columns[leaf] for leaf in leaves if leaf in columns}
