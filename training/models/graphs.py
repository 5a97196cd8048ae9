"""A network's computation captured as CUDA graphs: a step then costs one launch each way."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn

REHEARSALS = 3


@contextmanager
def beside_other_threads() -> Iterator[None]:
    """Let other threads use the GPU during the captures of a block.

    The one that pins batches for a loader asks for memory at any time, which in the mode of
    `torch.cuda.graph` ends a capture. `make_graphed_callables` lets no one choose another.
    """
    plain = torch.cuda.graph
    torch.cuda.graph = partial(plain, capture_error_mode="thread_local")  # type: ignore[assignment,misc]
    try:
        yield
    finally:
        torch.cuda.graph = plain  # type: ignore[misc]


class Capture:
    """Replays functions of tensors, captured once for each set of sizes.

    What a captured function returns while gradients are wanted, and the gradients, lie where the
    next call puts its own: use them before.
    """

    def __init__(self) -> None:
        self.calls: dict[Any, Callable[..., Tensor]] = {}
        self.modules: list[nn.Module] = []
        self.parameters: list[nn.Parameter] = []
        self.pool: Any = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return one that has captured nothing: graphs belong to one network's parameters."""
        return type(self)()

    def __call__(
        self,
        network: nn.Module,
        function: Callable[..., Tensor],
        tensors: tuple[Tensor, ...],
        sizes: tuple[int, ...],
    ) -> Tensor:
        """Return `function(*tensors, *sizes)`, a method of the network."""
        if not self.calls:
            self.modules, self.parameters = list(network.modules()), list(network.parameters())
        kind = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else None
        trained = tuple(parameter.requires_grad for parameter in self.parameters)
        learning = torch.is_grad_enabled() and any(trained)
        modes = tuple(module.training for module in self.modules)
        shapes = tuple(x.shape for x in tensors)
        key = (function.__name__, kind, learning, trained, modes, sizes, shapes)
        if key not in self.calls:
            call = _Call(network, function, sizes, kind)
            self.calls[key] = self._capture(call, tensors, learning)
        return self.calls[key](*tensors)

    def _capture(
        self, call: "_Call", tensors: tuple[Tensor, ...], learning: bool
    ) -> Callable[..., Tensor]:
        if self.pool is None:
            self.pool = torch.cuda.graph_pool_handle()
        # Captured on a stream of its own, where PyTorch expects none of a gradient's consumers.
        torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)
        # Rehearsals change running statistics and draw random numbers.
        buffers = [buffer.clone() for buffer in call.network.buffers()]
        random = torch.cuda.get_rng_state()
        samples = tuple(x.clone() for x in tensors)
        with torch.autocast("cuda", enabled=False), beside_other_threads():
            if learning:
                captured: Callable[..., Any] = torch.cuda.make_graphed_callables(
                    call, samples, REHEARSALS, allow_unused_input=True, pool=self.pool
                )
            else:
                captured = self._without_gradients(call, samples)
        torch.cuda.set_rng_state(random)
        for buffer, old in zip(call.network.buffers(), buffers, strict=True):
            buffer.copy_(old)
        return captured

    def _without_gradients(
        self, call: "_Call", inputs: tuple[Tensor, ...]
    ) -> Callable[..., Tensor]:
        with torch.no_grad():
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(REHEARSALS):
                    call(*inputs)
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self.pool):
                output = call(*inputs)

        def replay(*tensors: Tensor) -> Tensor:
            for own, given in zip(inputs, tensors, strict=True):
                own.copy_(given)
            graph.replay()
            return output.clone()

        return replay


class _Call(nn.Module):
    def __init__(
        self,
        network: nn.Module,
        function: Callable[..., Tensor],
        sizes: tuple[int, ...],
        kind: torch.dtype | None,
    ):
        super().__init__()
        self.network, self.function, self.sizes, self.kind = network, function, sizes, kind
        self.training = network.training

    def forward(self, *tensors: Tensor) -> Tensor:
        # A cache of cast weights would outlive the graph that filled it.
        with torch.autocast("cuda", self.kind, enabled=self.kind is not None, cache_enabled=False):
            return self.function(*tensors, *self.sizes)
