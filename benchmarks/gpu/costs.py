"""What the matrix products of a step cost."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmarks.networks import Network, autocast


class MatrixProducts(TorchDispatchMode):
    """Counts what matrix products compute, and the bytes they read and write, operands once."""

    NAMES = ("mm", "addmm", "bmm", "baddbmm")

    def __init__(self) -> None:
        super().__init__()
        self.flops, self.bytes = 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        """Count and go on."""
        result = function(*args, **(kwargs or {}))
        if function.overloadpacket.__name__ in self.NAMES:
            self.flops += flop_registry[function.overloadpacket](*args, out_val=result)
            tensors = [x for x in (*args, result) if isinstance(x, Tensor)]
            self.bytes += sum(x.numel() * x.element_size() for x in tensors)
        return result


@dataclass(frozen=True)
class Cost:
    """What the matrix products of a step cost per jet, counted on a CPU."""

    flops: float
    bytes: float


@cache
def cost(network: Network, precision: str, training: bool, jets: int = 64) -> Cost:
    """Count a step on so many jets; what is not a matrix product, or is padding, comes on top."""
    module = network.make().train(training)
    batch = network.batch(jets, np.random.default_rng(1))
    with (
        MatrixProducts() as products,
        torch.set_grad_enabled(training),
        autocast("cpu", precision),
    ):
        if training:
            network.loss(module, batch).backward()
        else:
            network.predict(module, batch)
    return Cost(products.flops / jets, products.bytes / jets)
