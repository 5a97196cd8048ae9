"""A network's computation captured as CUDA graphs: a step then costs one launch each way."""

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn


class Capture:
    """Replays a function of tensors, captured once for each set of sizes.

    A captured computation reads and writes the same memory each time: what it returned last, and
    the gradients, are gone when it runs again.
    """

    def __init__(self) -> None:
        self.calls: dict[Any, Callable[..., Tensor]] = {}
        self.pool: Any = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return one that has captured nothing: graphs belong to one network's parameters."""
        return type(self)()

    def __call__(
        self, network: nn.Module, function: Callable[..., Tensor], tensors: tuple[Tensor, ...],
        sizes: tuple[int, ...],
    ) -> Tensor:  # fmt: skip
        """Return `function(*tensors, *sizes)`, differentiable in the network's parameters."""
        kind = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else None
        key = (kind, sizes, *(x.shape for x in tensors))
        if key not in self.calls:
            self.calls[key] = self._capture(network, function, tensors, sizes, kind)
        return self.calls[key](*tensors)

    def _capture(self, network, function, tensors, sizes, kind):  # type: ignore[no-untyped-def]
        if self.pool is None:
            self.pool = torch.cuda.graph_pool_handle()
        # Rehearsals change running statistics and draw random numbers.
        before = [buffer.clone() for buffer in network.buffers()]
        random = torch.cuda.get_rng_state()
        call = _Call(network, function, sizes, kind)
        samples = tuple(x.clone() for x in tensors)
        with torch.autocast("cuda", enabled=False):
            captured = torch.cuda.make_graphed_callables(
                call, samples, allow_unused_input=True, pool=self.pool
            )
        torch.cuda.set_rng_state(random)
        for buffer, old in zip(network.buffers(), before, strict=True):
            buffer.copy_(old)
        return captured


class _Call(nn.Module):
    def __init__(self, network, function, sizes, kind):  # type: ignore[no-untyped-def]
        super().__init__()
        self.network, self.function, self.sizes, self.kind = network, function, sizes, kind

    def forward(self, *tensors: Tensor) -> Tensor:
        with torch.autocast(
            "cuda", self.kind, enabled=self.kind is not None, cache_enabled=False
        ):
            return self.function(*tensors, *self.sizes)
