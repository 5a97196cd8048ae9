"""The Particle Transformer for jet energies: its trunk over all collections of a jet at once.

Charged and neutral constituents and secondary vertices are tokens of one sequence. Their features
lie beside each other, zeros where a token is of another collection, with a flag for each; pairs are
described by pT, η and φ, taken for massless: constituents are, and what pairs tell does not change
when a jet is turned about the beam or boosted along it, so that angles to the jet will do.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from training.models.arrangement import ragged_sizes
from training.models.dense import initialise
from training.models.jet_regressor import JetRegressor
from training.models.particle_transformer import ParticleTransformer
from training.models.ragged import Collection, beside
from training.models.sizes import JetTransformerConfig


class JetTransformer(JetRegressor):
    """Regression of a jet from what its constituents tell each other.

    Of a jet with more constituents of a collection than `points` the first ones count; else their
    order has no meaning.

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
        config: JetTransformerConfig,
        features: Mapping[str, int],
        jet_features: int,
        outputs: int = 1,
    ):
        width = sum(features.values()) + len(features)
        trunk = ParticleTransformer(config.trunk(), width, 1)
        # The trunk's own head would see none of the features of a jet.
        trunk.head = nn.Sequential()
        super().__init__(
            nn.ModuleDict({"trunk": trunk}),
            config.embedding[-1],
            jet_features,
            outputs,
            config.head,
            config.activation,
        )
        initialise(self.head, config.initialiser)
        initialise(self.output, config.initialiser)
        self.features, self.points = dict(features), config.points

    @property
    def trunk(self) -> ParticleTransformer:
        """What sees all constituents."""
        trunk = self.collections["trunk"]
        assert isinstance(trunk, ParticleTransformer)
        return trunk

    def pool_constituents(self, collections: Mapping[str, Collection]) -> Tensor:
        """Return the class token of each jet."""
        own = [collections[name] for name in self.features]
        counts = torch.stack([one.counts.clamp(max=self.points) for one in own])
        # The only numbers that a GPU has to tell.
        known = counts.sum(0).cpu()
        # A jet without constituents has a slot all the same.
        jets, length = len(known), max(int(known.max()), 1)
        # What is left out goes to a row behind all.
        before, rows = counts.cumsum(0) - counts, []
        vectors = torch.zeros(jets * length + 1, 4, device=counts.device)
        for one, first in zip(own, before, strict=True):
            jet, place = one.places()
            inside = jet * length + first[jet] + place
            rows.append(torch.where(place < self.points, inside, jets * length))
            vectors[rows[-1]] = _massless(one)
        features = beside(own, rows, len(vectors))
        features, vectors = (x[:-1].unflatten(0, (jets, length)) for x in (features, vectors))
        mask = torch.arange(length, device=counts.device) < counts.sum(0)[:, None]
        return self.trunk(features, vectors, mask, ragged_sizes(known)).float()

    def compiled_parts(self) -> Iterator[nn.Module]:
        """Yield nothing: the trunk compiles itself."""
        return iter(())

    def compile_parts(self, **options: Any) -> None:
        """Compile the network in place, for all sizes of batches; `torch.compile`'s options."""
        super().compile_parts(**options)
        self.trunk.compile_parts(**options)


def _massless(collection: Collection) -> Tensor:
    """Return px, py, pz, E of constituents, (T, 4) float32."""
    assert collection.positions is not None, "pairs need η and φ"
    assert collection.pt is not None, "pairs need pT"
    eta, phi = collection.positions.float().unbind(1)
    parts = (phi.cos(), phi.sin(), eta.sinh(), eta.cosh())
    return collection.pt.float()[:, None] * torch.stack(parts, dim=1)
