"""Deep Sets, or particle-flow network (P. Komiske, E. Metodiev, J. Thaler, arXiv:1810.05165).

The constituents of each collection pass a network of their own. The results are pooled jet by jet
and, with the features of the jet, pass a network that has any number of outputs.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.models.compilation import compile_for_all_sizes
from training.models.ragged import Collection, owners, pool
from training.models.sizes import Activation, DeepSetsConfig, Initialiser, LayerSizes

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


class DeepSets(nn.Module):
    """Regression of a jet from its constituents.

    Parameters
    ----------
    config
        The sizes.
    features
        Number of features per constituent of each collection that is used: of `charged`,
        `neutral`, `vertices`.
    jet_features
        Number of features of a jet.
    outputs
        Number of outputs.
    """

    def __init__(
        self,
        config: DeepSetsConfig,
        features: Mapping[str, int],
        jet_features: int,
        outputs: int = 1,
    ):
        super().__init__()
        style = config.activation, config.blocks
        self.pooling = config.pooling
        self.collections = nn.ModuleDict(
            {name: Layers(width, getattr(config, name), *style) for name, width in features.items()}
        )
        pooled = sum(getattr(config, name).units[-1] for name in features)
        self.head = Layers(pooled + jet_features, config.head, *style)
        self.output = PreciseLinear(config.head.units[-1], outputs)
        initialise(self, config.initialiser)

    def encode(self, collections: Mapping[str, Collection], jets: Tensor) -> Tensor:
        """Return what the last layer before the output sees, (B, config.head.units[-1])."""
        pooled = []
        for name, layers in self.collections.items():
            values, counts = collections[name].values, collections[name].counts
            owner = owners(counts, len(values))
            pooled.append(pool(layers(values), owner, counts, self.pooling))
        return self.head(torch.cat((*pooled, jets.float()), dim=1))

    def forward(self, collections: Mapping[str, Collection], jets: Tensor) -> Tensor:
        """Return the outputs.

        Parameters
        ----------
        collections
            The constituents by collection; any order within a jet, any number, none included.
        jets
            (B, jet_features).

        Returns
        -------
        Tensor
            (B, outputs) float32.
        """
        return self.output(self.encode(collections, jets))

    def compile_parts(self, **options: Any) -> None:
        """Compile the networks in place, for all sizes of batches; `torch.compile`'s options."""
        compile_for_all_sizes((*self.collections.values(), self.head), **options)
