"""Where and how long to measure, and which networks."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.networks import Network

Row = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """Where and how long to measure, and which networks."""

    device: torch.device
    quick: bool
    output: Path
    seconds: float  # for all rows
    networks: str = "benchmarks.networks"  # the module that has NETWORKS and WEAVER

    def entries(self) -> dict[str, Network]:
        """Return the networks by name."""
        return importlib.import_module(self.networks).NETWORKS

    def weaver(self) -> Network:
        """Return what Sophon's network is compared with."""
        return importlib.import_module(self.networks).WEAVER

    def batch_sizes(self, network: Network) -> tuple[int, int]:
        """Return the sizes of a network's batches."""
        return (8, 16) if self.quick else network.sizes


def wait(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
