"""The moving average of a network's weights, which is validated and kept."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class MovingAverage:
    """The exponential moving average of a module's parameters and buffers.

    Parameters
    ----------
    module
        What is trained.
    decay
        Per step; None: no average, the module speaks for itself.
    """

    def __init__(self, module: nn.Module, decay: float | None):
        self.module = module
        self.averaged = None
        if decay is not None:
            self.averaged = AveragedModel(
                module, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True
            )
            # On the host, where looking at it waits for no GPU.
            self.averaged.n_averaged = self.averaged.n_averaged.cpu()

    def update(self) -> None:
        """Follow the module by one step; the first one is taken as it is."""
        if self.averaged is not None:
            self.averaged.update_parameters(self.module)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Give the module the averaged weights for a block.

        So that what is compiled for the module serves both.
        """
        if self.averaged is None or not self.averaged.n_averaged:
            yield
            return
        self._swap(self.averaged.module)
        try:
            yield
        finally:
            self._swap(self.averaged.module)

    def state_dict(self) -> dict[str, Tensor] | None:
        """Return the averages and their number."""
        return None if self.averaged is None else self.averaged.state_dict()

    def load_state_dict(self, state: dict[str, Tensor] | None) -> None:
        """Go on with the averages of a checkpoint."""
        if self.averaged is not None and state is not None:
            self.averaged.load_state_dict(state)

    @torch.no_grad()
    def _swap(self, other: nn.Module) -> None:
        for own, others in (
            *zip(self.module.parameters(), other.parameters(), strict=True),
            *zip(self.module.buffers(), other.buffers(), strict=True),
        ):
            kept = own.clone()
            own.copy_(others)
            others.copy_(kept)
