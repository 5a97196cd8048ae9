"""What stands between the columns of a product and the batches of a task."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

# Tensors by name; the first axis of each is that of the rows, or of what many of a row are laid
# end to end, where the task knows which are whose. What is no tensor is for the host alone.
Batch = dict[str, Any]
# Numbers of rows by column, (n,) each.
Scalars = Mapping[str, np.ndarray]
Kind = Literal["integer", "number", "list", "text"]


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Return a batch with its tensors on a device."""
    return {name: x.to(device) if isinstance(x, Tensor) else x for name, x in batch.items()}


@dataclass(frozen=True)
class RowGroup:
    """A piece of a shard that is read in one go."""

    path: Path
    part: str
    index: int
    rows: int  # used of it
    # Values in all its rows, of each of the reader's `ragged` columns.
    lengths: tuple[int, ...] = ()
    kept: np.ndarray | None = None  # (rows,) which rows are used, rising; None: all


@dataclass(frozen=True)
class Axis:
    """A column in whose bins sampling weights make rows equally frequent."""

    title: str
    edges: tuple[float, ...]
    logarithmic: bool = False  # drawn so


@dataclass(frozen=True)
class SamplingScheme:
    """What sampling weights do: rows become flat over axes within groups, which have shares."""

    axes: Mapping[str, Axis]  # by column
    shares: Mapping[str, float]  # relative, by group
    group: Callable[[Scalars], np.ndarray]  # of rows: (n,) position in `shares`


class Rows(Protocol):
    """Rows in memory, as a reader keeps them."""

    @property
    def scalars(self) -> Scalars:
        """The reader's `scalars`."""

    def __len__(self) -> int: ...


AnyRows = TypeVar("AnyRows", bound=Rows)


class Reader(ABC, Generic[AnyRows]):
    """How a task reads a product.

    Attributes
    ----------
    noun
        What a row is called.
    inputs
        Columns that the network needs, and their kind.
    truth
        Columns that only training and evaluation need.
    optional
        Columns that the network uses where a file has them.
    scalars
        Which of both are numbers or names that selection, classes or sampling weights look at.
    ragged
        A column of each kind of list, whose lengths are wanted before rows are read.
    carried
        Columns that a file of predictions copies from its input, where that has them: what names a
        row, what one would compare with.
    stratum
        The scalar whose values a subset of the rows keeps in proportion; None: rows have no class.
    sampling
        What sampling weights do; None: the task has none.
    labels
        Names of the classes, by index; None: rows have no class.
    dataset_labels
        What the manifest's labels must be; None: anything.
    """

    noun: str = "row"
    inputs: Mapping[str, Kind]
    truth: Mapping[str, Kind]
    optional: Mapping[str, Kind] = {}
    scalars: tuple[str, ...] = ()
    ragged: tuple[str, ...] = ()
    carried: tuple[str, ...] = ()
    stratum: str | None = None
    sampling: SamplingScheme | None = None
    labels: tuple[str, ...] | None = None
    dataset_labels: tuple[str, ...] | None = None

    @property
    def selection(self) -> str:
        """Which rows are trained and measured on, in words."""
        return "all"

    @abstractmethod
    def read(self, groups: Sequence[RowGroup], truth: bool = True) -> AnyRows:
        """Read row groups, without the truth where there is none.

        Raises
        ------
        UserError
            When a page is damaged or holds what cannot be; names the file.
        """

    def select(self, scalars: Scalars) -> np.ndarray | None:
        """Return which rows are trained and measured on, (n,) bool; None: all."""
        return None

    def chosen(self, scalars: Scalars, rows: int) -> np.ndarray:
        """Return the indices of the selected of so many rows, rising."""
        selected = self.select(scalars)
        return np.arange(rows) if selected is None else np.flatnonzero(selected)

    def check(self, group: RowGroup, scalars: Scalars) -> None:
        """Refuse impossible numbers among the scalars of a row group.

        Raises
        ------
        UserError
            Names the file, the column and the value.
        """
        return

    @abstractmethod
    def collate(self, rows: AnyRows, chosen: np.ndarray) -> Batch:
        """Assemble a batch of the rows with the indices `chosen`, (B,)."""

    def draw(self, rows: AnyRows, chosen: np.ndarray, number: int) -> Batch:
        """Assemble a batch for training, in a pass over the data; passes are counted from 0."""
        return self.collate(rows, chosen)

    @abstractmethod
    def describe(self) -> dict[str, list[str]]:
        """Return what the network's inputs are, each list by its name; a checkpoint keeps it."""
