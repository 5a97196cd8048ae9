"""Dense layers over rows, from which the networks for jet energies are made."""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.models.sizes import Activation, Initialiser, LayerSizes

ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}
_INITIALISERS: dict[Initialiser, Any] = {
    "he_normal": nn.init.kaiming_normal_,
    "he_uniform": nn.init.kaiming_uniform_,
    "glorot_normal": nn.init.xavier_normal_,
    "glorot_uniform": nn.init.xavier_uniform_,
}


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation of rows that may be none or one, which have no variance.

    Such a batch, usual where jets have no secondary vertex, uses the running statistics.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise rows (T, C)."""
        if self.training and len(x) < 2:
            statistics = self.running_mean, self.running_var
            return functional.batch_norm(x, *statistics, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


class PreciseLinear(nn.Linear):
    """A layer that autocast leaves in 32 bits: momenta and outputs need more than 8 digits."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in) to (..., out)."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


class ResidualPair(nn.Module):
    """Two layers with a linear shortcut, activated after the sum."""

    def __init__(
        self, width: int, units: tuple[int, int], sizes: LayerSizes, activation: Activation
    ):
        super().__init__()
        middle, out = units
        layers: list[nn.Module] = [PreciseLinear(width, middle)]
        if sizes.batch_norm:
            layers.append(BatchNorm(middle))
        layers += [ACTIVATIONS[activation](), nn.Linear(middle, out)]
        if sizes.batch_norm:
            layers.append(BatchNorm(out))
        self.layers = nn.Sequential(*layers)
        self.shortcut = PreciseLinear(width, out, bias=False)
        self.activation = ACTIVATIONS[activation]()
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (T, width) to (T, units[1])."""
        return self.dropout(self.activation(self.layers(x) + self.shortcut(x)))


class Layers(nn.Sequential):
    """Dense layers over rows, (T, width) to (T, sizes.units[-1]); the first is in 32 bits."""

    def __init__(self, width: int, sizes: LayerSizes, activation: Activation, blocks: str = "mlp"):
        layers: list[nn.Module] = []
        units = sizes.units
        if blocks == "resnet":
            for pair in zip(units[::2], units[1::2], strict=False):
                layers.append(ResidualPair(width, pair, sizes, activation))
                width = pair[1]
            units = units[len(units) // 2 * 2 :]
        for width_in, width_out in pairwise((width, *units)):
            layers.append((nn.Linear if layers else PreciseLinear)(width_in, width_out))
            if sizes.batch_norm:
                layers.append(BatchNorm(width_out))
            layers.append(ACTIVATIONS[activation]())
            if sizes.dropout:
                layers.append(nn.Dropout(sizes.dropout))
        super().__init__(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers; of its own, because the inherited method is never compiled."""
        return super().forward(x)


def initialise(network: nn.Module, how: Initialiser) -> None:
    """Draw the weights of all dense layers and set their biases to zero."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            _INITIALISERS[how](layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
