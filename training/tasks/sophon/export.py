"""Sophon's network on padded arrays, with the inputs of the public Sophon file."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.export import Dim

from training.jets.config import JetDataConfig
from training.jets.features import FEATURES, REFERENCE_PT, TRANSFORMS, VECTOR_NAMES, VECTORS
from training.models.arrangement import Layout
from training.models.attention import MASKED
from training.models.pair_features import kinematics, pair_features
from training.models.particle_transformer import ParticleTransformer
from training.task import Exported

INPUTS = ("pf_features", "pf_vectors", "pf_mask")
OUTPUTS = ("probabilities", "embedding")


@dataclass(frozen=True)
class PaddedLayout(Layout):
    """A layout whose rows are all slots, padding included: no shape depends on the data."""

    @classmethod
    def of(cls, mask: Tensor) -> "PaddedLayout":
        """Describe a mask of shape (B, N)."""
        return cls(mask, torch.arange(mask.shape[0] * mask.shape[1]))

    def pack(self, padded: Tensor) -> Tensor:
        """Flatten (B, N, C) to (B * N, C)."""
        return padded.flatten(0, 1)

    def pad(self, packed: Tensor) -> Tensor:
        """Undo `pack`."""
        return packed.unflatten(0, self.mask.shape)


class ExportedNetwork(nn.Module):
    """The network on padded arrays, with the inputs of the public Sophon file.

    Parameters
    ----------
    network
        In evaluation mode.
    """

    def __init__(self, network: ParticleTransformer):
        super().__init__()
        self.network = network

    def forward(self, features: Tensor, vectors: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return probabilities and embedding.

        Parameters
        ----------
        features
            (B, 17, N).
        vectors
            (B, 4, N).
        mask
            (B, 1, N), 1 for real constituents, else 0.

        Returns
        -------
        tuple of Tensor
            (B, n_labels) and (B, width).
        """
        net = self.network
        layout = PaddedLayout.of(mask[:, 0] > 0.5)
        x = net.embedding(layout.pack(features.transpose(1, 2)))
        biases = [self._bias(vectors.transpose(1, 2), layout.mask)]
        for block in net.blocks:
            x = block(x, [layout], biases)
        token = net.class_token.expand(features.shape[0], -1, -1)
        for block in net.class_blocks:
            token = block(token, x, [layout])
        embedding = net.norm(token[:, 0])
        return net.head(embedding).softmax(dim=1), embedding

    def _bias(self, vectors: Tensor, mask: Tensor) -> Tensor:
        jets, length = mask.shape
        particles = kinematics(vectors.flatten(0, 1)).unflatten(0, (jets, length))
        first = particles[:, :, None].expand(-1, -1, length, -1).flatten(0, 2)
        second = particles[:, None, :].expand(-1, length, -1, -1).flatten(0, 2)
        rows = self.network.pair_embedding.layers(pair_features(first, second))
        bias = rows.unflatten(0, (jets, length, length)).permute(0, 3, 1, 2)
        return bias.masked_fill(~mask[:, None, None, :], MASKED)


def exported(
    network: ParticleTransformer, config: JetDataConfig, labels: tuple[str, ...]
) -> Exported:
    """Return a network for ONNX; batch size and length are free.

    The metadata say what in- and outputs mean. Features and vectors come as formulas and by the
    names of their variables in Sophon's data card; `feature_scaling` is (centre, factor, low, high)
    of each `Transform`. `reference_pt` (GeV) is what jets are scaled to. The last two are the open
    intervals, in GeV, that jets were trained on.
    """
    # Not 1: a dimension of one would be taken for fixed.
    sizes = (len(FEATURES), len(VECTORS), 1)
    inputs = {name: torch.rand(2, size, 16) for name, size in zip(INPUTS, sizes, strict=True)}
    batch, slots = Dim("jets", min=1), Dim("constituents", min=1)
    return Exported(
        ExportedNetwork(network).eval(),
        inputs,
        ({0: batch, 2: slots},) * 3,
        OUTPUTS,
        {
            "labels": labels,
            "features": FEATURES,
            "feature_names": [t.name for t in TRANSFORMS],
            "feature_scaling": [(t.centre, t.factor, t.low, t.high) for t in TRANSFORMS],
            "vectors": VECTORS,
            "vector_names": VECTOR_NAMES,
            "reference_pt": REFERENCE_PT,
            "max_constituents": config.max_constituents,
            "selected_jet_pt": config.selection.jet_pt,
            "selected_jet_sdmass": config.selection.jet_sdmass,
        },
    )
