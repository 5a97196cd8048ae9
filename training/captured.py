"""A whole step of training as CUDA graphs: one launch in the place of thousands.

What a step launches takes longer to launch than to run when the network is small. Where batches
have few shapes, and nothing in a step waits for the GPU, the step is captured once (for each set of
shapes) and replayed: forward, backward, clipping and the optimiser's step.
"""

import copy
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from training.data.reader import Batch
from training.models.graphs import REHEARSALS, beside_other_threads

Numbers = tuple[Mapping[str, Tensor], Tensor]  # what a step returns, and the gradient's norm
Result = TypeVar("Result")  # of tensors


class _Graph(NamedTuple, Generic[Result]):
    graph: torch.cuda.CUDAGraph
    inputs: Batch  # the tensors
    result: Result


class CapturedUpdate(Generic[Result]):
    """Updates weights by graphs that are captured as they are needed.

    What is returned lies where the next call puts its own: use it before. Random numbers follow
    from the generator's state at the call, as without a graph.

    Parameters
    ----------
    update
        Takes a batch, updates the weights and returns tensors. What is not a tensor in a batch is a
        room: it counts among the shapes, and may grow. Smaller ones for as many rows do not come
        back, and the memory of their graphs is freed.
    module
        Whose weights.
    optimizer
        That updates them.
    """

    def __init__(
        self, update: Callable[[Batch], Result], module: nn.Module, optimizer: Optimizer
    ) -> None:
        self.update, self.module, self.optimizer = update, module, optimizer
        self.graphs: dict[Any, _Graph[Result]] = {}
        self.pool = torch.cuda.graph_pool_handle()

    def __call__(self, batch: Batch) -> Result:
        """Update the weights."""
        key = tuple(
            (name, x.shape, x.dtype) if isinstance(x, Tensor) else (name, x)
            for name, x in batch.items()
        )
        if key not in self.graphs:
            self._forget_outgrown(batch)
            self.graphs[key] = self._capture(batch)
        graph, inputs, result = self.graphs[key]
        for name, own in inputs.items():
            own.copy_(batch[name])
        graph.replay()
        return result

    def _forget_outgrown(self, batch: Batch) -> None:
        if all(isinstance(x, Tensor) for x in batch.values()):
            return
        rows = _rows(batch)
        outgrown = [key for key, own in self.graphs.items() if _rows(own.inputs) == rows]
        if outgrown:
            torch.cuda.synchronize()
        for key in outgrown:
            del self.graphs[key]
        if not self.graphs:
            # A pool without graphs gives its memory back, and cannot be taken up again.
            self.pool = torch.cuda.graph_pool_handle()

    def _capture(self, batch: Batch) -> _Graph[Result]:
        keep_rate_in_tensor(self.optimizer, next(self.module.parameters()).device)
        inputs = {name: x.clone() for name, x in batch.items() if isinstance(x, Tensor)}
        batch = batch | inputs
        # Rehearsals train, and draw random numbers.
        before, random = self._state(), torch.cuda.get_rng_state()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream), warnings.catch_warnings():
            # That the optimiser is made for graphs and runs without one.
            warnings.simplefilter("ignore")
            for _ in range(REHEARSALS):
                self.update(batch)
        torch.cuda.current_stream().wait_stream(stream)
        self.optimizer.zero_grad()
        graph = torch.cuda.CUDAGraph()
        with beside_other_threads(), torch.cuda.graph(graph, pool=self.pool):
            result = self.update(batch)
        self._restore(before)
        torch.cuda.set_rng_state(random)
        return _Graph(graph, inputs, result)

    def _tensors(self) -> dict[Any, Tensor]:
        """Return what a step changes."""
        state = self.optimizer.state
        return {
            **dict(self.module.named_parameters()),
            **dict(self.module.named_buffers()),
            **{
                (parameter, name): value
                for parameter, values in state.items()
                for name, value in values.items()
                if isinstance(value, Tensor)
            },
        }

    @torch.no_grad()
    def _state(self) -> dict[Any, Tensor]:
        return {key: x.clone() for key, x in self._tensors().items()}

    @torch.no_grad()
    def _restore(self, before: Mapping[Any, Tensor]) -> None:
        for key, own in self._tensors().items():
            # All that optimisers remember begins with zeros.
            own.copy_(before[key]) if key in before else own.zero_()


def _rows(batch: Batch) -> int:
    return next(len(x) for x in batch.values() if isinstance(x, Tensor))


def keep_rate_in_tensor(optimizer: Optimizer, device: torch.device) -> None:
    """Keep the learning rate where a captured step reads it; schedules fill tensors in place."""
    for group in optimizer.param_groups:
        if not isinstance(group["lr"], Tensor):
            group["lr"] = torch.tensor(float(group["lr"]), device=device)
        if "capturable" in group:
            group["capturable"] = True


def plain_optimizer_state(optimizer: Optimizer) -> dict[str, Any]:
    """Return an optimiser's state as it is without a captured step."""
    state = copy.copy(optimizer.state_dict())
    state["param_groups"] = [
        {**group, "lr": float(group["lr"])}
        | ({"capturable": False} if "capturable" in group else {})
        for group in state["param_groups"]
    ]
    return state
