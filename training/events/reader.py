"""Event objects as fixed arrays, and batches of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ntuplizer.products.events import EVENT_IDENTITY
from ntuplizer.slots import EMPTY
from provenance.errors import UserError
from training.data.object_features import (
    FEATURES,
    FILLED,
    QUANTITIES,
    TYPE,
    stack_objects,
)
from training.data.reader import Batch, Kind, Reader, RowGroup, Scalars
from training.data.shards import read_table

PROCESS = "process"
Classes = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Events:
    """Events as arrays."""

    objects: np.ndarray  # (n_events, n_slots, 5) float32: pT, η, φ, mass, type
    scalars: Scalars  # (n_events,): what events are selected by

    def __len__(self) -> int:
        return len(self.objects)


class EventReader(Reader[Events]):
    """Reads the objects of events, and the class of the process that they were simulated for.

    Parameters
    ----------
    slots
        Names of the objects, in order.
    classes
        Processes of each class; events of others are left out. None: events have no class.
    filled
        Whether events with an empty slot are left out.
    """

    noun = "event"

    def __init__(self, slots: Sequence[str], classes: Classes | None = None, filled: bool = False):
        columns = [f"{slot}_{quantity}" for slot in slots for quantity in QUANTITIES]
        self.inputs: dict[str, Kind] = {
            name: "integer" if name.endswith("_type") else "number" for name in columns
        }
        self.truth: dict[str, Kind] = {}
        self.carried = tuple(column.name for column in EVENT_IDENTITY)
        self.class_of: dict[str, int] = {}
        self.filled = [f"{slot}_type" for slot in slots] if filled else []
        self.scalars = tuple(self.filled)
        if classes is not None:
            self.truth = {PROCESS: "text"}
            self.scalars = (PROCESS, *self.filled)
            # So that a subset keeps the processes, and with them the classes, in proportion.
            self.stratum = PROCESS
            self.labels = tuple(classes)
            self.class_of = {
                process: index
                for index, processes in enumerate(classes.values())
                for process in processes
            }

    @property
    def selection(self) -> str:
        """The processes, and whether slots may be empty, in words."""
        words = [f"process {' or '.join(self.class_of)}"] if self.class_of else []
        words += ["no slot empty"] if self.filled else []
        return ", ".join(words) or "all"

    def select(self, scalars: Scalars) -> np.ndarray | None:
        """Return which events are of a class and have the slots filled that must be, (n,) bool."""
        conditions = [scalars[name] != EMPTY for name in self.filled]
        if self.class_of:
            conditions.append(np.isin(scalars[PROCESS].astype(np.str_), list(self.class_of)))
        return np.logical_and.reduce(conditions) if conditions else None

    def read(self, groups: Sequence[RowGroup], truth: bool = True) -> Events:
        """Read row groups into one array.

        Raises
        ------
        UserError
            When a page is damaged, a number is not finite or a type is none; names the file.
        """
        names = [*self.inputs, *(self.truth if truth else ())]
        objects = []
        scalars: dict[str, list[np.ndarray]] = {}
        for group in groups:
            table = read_table(group, names)
            columns = {name: table[name].to_numpy() for name in self.inputs}
            piece = stack_objects(columns)
            _check_types(group, piece[..., TYPE])
            objects.append(piece)
            for name in self.filled:
                scalars.setdefault(name, []).append(columns[name])
            if PROCESS in table.column_names:
                scalars.setdefault(PROCESS, []).append(table[PROCESS].to_numpy().astype(np.str_))
        return Events(
            np.concatenate(objects),
            {name: np.concatenate(pieces) for name, pieces in scalars.items()},
        )

    def collate(self, rows: Events, chosen: np.ndarray) -> Batch:
        """Assemble a batch.

        Returns
        -------
        dict
            objects (B, S, 5) float32, and label (B,) int64 where events have a class: −1 for those
            that are of none.
        """
        batch = {"objects": torch.from_numpy(rows.objects[chosen])}
        if PROCESS in rows.scalars:
            names, place = np.unique(rows.scalars[PROCESS][chosen], return_inverse=True)
            classes = np.array([self.class_of.get(str(name), -1) for name in names], np.int64)
            batch["label"] = torch.from_numpy(classes[place])
        return batch

    def describe(self) -> dict[str, list[str]]:
        """Return the features of an object."""
        return {"features": list(FEATURES)}


def _check_types(group: RowGroup, types: np.ndarray) -> None:
    wrong = types[~np.isin(types, (EMPTY, *FILLED))]
    if len(wrong):
        raise UserError(
            f"{group.path}: an object of row group {group.index} has the type {wrong[0]:g}, where "
            f"0 to {max(FILLED)} are known"
        )
