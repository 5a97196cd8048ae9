"""Means over rows of what a training watches."""

from collections.abc import Mapping

import torch
from lightning.fabric import Fabric
from torch import Tensor, distributed


class Means:
    """Running means, weighted by rows; sums stay on the device, so that adding waits for nothing.

    Parameters
    ----------
    fabric
        Of the training: means are over all its devices.
    """

    def __init__(self, fabric: Fabric):
        self.fabric = fabric
        self.names: tuple[str, ...] = ()
        self._sums = self._zeros(1)  # of rows, then of each number

    def add(self, values: Mapping[str, Tensor], rows: int) -> None:
        """Add the means over a batch."""
        if not self.names:
            self.names = tuple(values)
            self._sums = self._zeros(1 + len(values))
        numbers = [values[name].detach().to(torch.float64) for name in self.names]
        self._sums += rows * torch.stack([torch.ones_like(self._sums[0]), *numbers])

    def compute(self) -> dict[str, float]:
        """Return the means by name, none where no device added any; all must call it."""
        rows, *sums = self._total()
        return {name: value / rows for name, value in zip(self.names, sums, strict=True) if rows}

    def reset(self) -> None:
        """Begin again."""
        self._sums.zero_()

    def state_dict(self) -> dict[str, list[str] | list[float]]:
        """Return names and sums over all devices; all must call it."""
        return {"names": list(self.names), "sums": self._total()}

    def load_state_dict(self, state: Mapping[str, list[str] | list[float]]) -> None:
        """Go on with the sums of a checkpoint, which the first device takes."""
        self.names = tuple(map(str, state["names"]))
        sums = torch.tensor([float(x) for x in state["sums"]], dtype=torch.float64)
        self._sums = sums.to(self.fabric.device) * (self.fabric.global_rank == 0)

    def _total(self) -> list[float]:
        self._learn_names()
        total = self.fabric.all_reduce(self._sums.clone(), reduce_op="sum")
        assert isinstance(total, Tensor)
        return total.tolist()

    def _learn_names(self) -> None:
        """Ask the other devices what they add, on one that had no rows."""
        if self.fabric.world_size == 1:
            return
        names: list[tuple[str, ...]] = [()] * self.fabric.world_size
        distributed.all_gather_object(names, self.names)
        known = max(names, key=len)
        if not self.names and known:
            self.names, self._sums = known, self._zeros(1 + len(known))

    def _zeros(self, size: int) -> Tensor:
        return torch.zeros(size, dtype=torch.float64, device=self.fabric.device)
