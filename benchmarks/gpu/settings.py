"""Where and how long to measure."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.networks import Network

Row = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """Where and how long to measure."""

    device: torch.device
    quick: bool
    output: Path
    seconds: float  # for all rows

    def batch_sizes(self, network: Network) -> tuple[int, int]:
        """Return the sizes of a network's batches."""
        return (8, 16) if self.quick else network.sizes

    @property
    def steps(self) -> tuple[int, int]:
        """Return how many steps warm up and how many are measured."""
        return (1, 2) if self.quick else (10, 30)


def wait(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
