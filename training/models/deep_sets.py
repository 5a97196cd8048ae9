"""Deep Sets, or particle-flow network (P. Komiske, E. Metodiev, J. Thaler, arXiv:1810.05165).

The constituents of each collection pass a network of their own. The results are pooled jet by jet
and, with the features of the jet, pass a network that has any number of outputs.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from training.models.dense import Layers, initialise
from training.models.jet_regressor import JetRegressor
from training.models.ragged import Collection, owners, pool
from training.models.sizes import DeepSetsConfig


class DeepSets(JetRegressor):
    """Regression of a jet from the sum over its constituents.

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
        style = config.activation, config.blocks
        layers = {
            name: Layers(width, getattr(config, name), *style) for name, width in features.items()
        }
        pooled = sum(getattr(config, name).units[-1] for name in features)
        super().__init__(nn.ModuleDict(layers), pooled, jet_features, outputs, config.head, *style)
        self.pooling = config.pooling
        initialise(self, config.initialiser)

    def pool_constituents(self, collections: Mapping[str, Collection]) -> Tensor:
        """Return what is pooled of the constituents of each collection."""
        pooled = []
        for name, layers in self.collections.items():
            own = collections[name]
            owner = owners(own.counts, len(own.values))
            pooled.append(pool(layers(own.values), owner, own.counts, self.pooling, own.share))
        return torch.cat(pooled, dim=1)

    def compiled_parts(self) -> Iterator[nn.Module]:
        """Yield the networks of the constituents."""
        yield from self.collections.values()
