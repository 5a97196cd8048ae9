"""Rows that stay on the device: read once, then drawn from there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.data.reader import Batch, Reader, RowGroup, Rows, Scalars, to_device


@dataclass(frozen=True)
class RowsOnDevice:
    """Rows as one batch on a device."""

    scalars: Scalars
    batch: Batch

    def __len__(self) -> int:
        return len(next(iter(self.batch.values())))


class DeviceReader(Reader[RowsOnDevice]):
    """Reads as another reader does, and makes batches on a device.

    Parameters
    ----------
    reader
        The other.
    device
        Where rows stay.
    """

    def __init__(self, reader: Reader[Any], device: torch.device):
        self.reader, self.device = reader, device
        self.noun = reader.noun

    @property
    def selection(self) -> str:
        """That of the other reader."""
        return self.reader.selection

    def read(self, groups: Sequence[RowGroup], truth: bool = True) -> RowsOnDevice:
        """Read row groups and move them, padded to the longest row."""
        rows: Rows = self.reader.read(groups, truth)
        batch = self.reader.collate(rows, np.arange(len(rows)))
        tensors = {name: x for name, x in batch.items() if isinstance(x, Tensor)}
        return RowsOnDevice(rows.scalars, to_device(tensors, self.device))

    def select(self, scalars: Scalars) -> np.ndarray | None:
        """Return which rows the other reader selects."""
        return self.reader.select(scalars)

    def collate(self, rows: RowsOnDevice, chosen: np.ndarray) -> Batch:
        """Take rows out of the batch on the device."""
        index = torch.from_numpy(chosen).to(self.device)
        return {name: tensor.index_select(0, index) for name, tensor in rows.batch.items()}

    def describe(self) -> dict[str, list[str]]:
        """Return what the other reader says."""
        return self.reader.describe()
