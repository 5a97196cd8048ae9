"""What all networks for jet energies share: collections to a vector, a head, outputs."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from training.models.compilation import compile_for_all_sizes
from training.models.dense import Layers, PreciseLinear
from training.models.ragged import Collection
from training.models.sizes import Activation, LayerSizes


class JetRegressor(nn.Module, ABC):
    """Regression of a jet from its constituents.

    Parameters
    ----------
    collections
        What looks at the constituents of each collection, by name.
    pooled
        Width of what `pool_constituents` returns.
    jet_features
        Number of features of a jet.
    outputs
        Number of outputs.
    head
        Sizes of the layers that see the whole jet.
    activation, blocks
        Of these layers.
    """

    def __init__(
        self,
        collections: nn.ModuleDict,
        pooled: int,
        jet_features: int,
        outputs: int,
        head: LayerSizes,
        activation: Activation,
        blocks: str = "mlp",
    ):
        super().__init__()
        self.collections = collections
        self.head = Layers(pooled + jet_features, head, activation, blocks)
        self.output = PreciseLinear(head.units[-1], outputs)

    @abstractmethod
    def pool_constituents(self, collections: Mapping[str, Collection]) -> Tensor:
        """Return what the constituents of each jet come to, (B, pooled)."""

    @abstractmethod
    def compiled_parts(self) -> Iterator[nn.Module]:
        """Yield the parts below the head that are compiled."""

    def regress(self, pooled: Tensor, jets: Tensor) -> Tensor:
        """Return the outputs, (B, outputs), of what `pool_constituents` made and the jets."""
        return self.output(self.head(torch.cat((pooled, jets.float()), dim=1)))

    def forward(self, collections: Mapping[str, Collection], jets: Tensor) -> Tensor:
        """Return the outputs.

        Parameters
        ----------
        collections
            The constituents by collection; any order within a jet, any number, none included.
            Networks that look at neighbours need positions, the transformer pT as well.
        jets
            (B, jet_features).

        Returns
        -------
        Tensor
            (B, outputs) float32.
        """
        return self.regress(self.pool_constituents(collections), jets)

    def compile_parts(self, **options: Any) -> None:
        """Compile the network in place, for all sizes of batches; `torch.compile`'s options."""
        compile_for_all_sizes((*self.compiled_parts(), self.head), **options)
