"""Compiling networks whose batches differ in every size."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.fx.experimental import _config as symbolic_shapes

# Graphs of one function: networks of several widths, each for training and evaluation.
GRAPHS = 64


def compile_for_all_sizes(parts: Iterable[nn.Module], **options: Any) -> None:
    """Compile modules in place; names of parameters stay as they are.

    All sizes are symbols: a graph each for training and evaluation serves all batches, and parts
    of the same shapes share it. `options` are `torch.compile`'s.
    """
    # Sizes that are equal in the first batch differ in the next.
    symbolic_shapes.use_duck_shape = False
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, GRAPHS)
    for part in parts:
        part.compile(dynamic=True, **options)
