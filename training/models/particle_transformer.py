"""Particle Transformer (H. Qu, C. Li, S. Qian, arXiv:2202.03772) at the sizes of Sophon.

The network works on the real constituents of a batch, laid end to end: T rows for B jets of up to
N constituents. Padding exists only inside the attention, where it is masked, so that an output
depends neither on the padding nor, in evaluation, on the other jets of the batch. The pair network,
which dominates the cost, sees each unordered pair of a jet once.

Where the constituents and pairs of a batch are is found first (`Arrangement`), with integers alone
and a single wait for a GPU. No size in the rest depends on a tensor's content: it compiles.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.fx.experimental import _config as symbolic_shapes
from torch.nn import functional

from training.models.arrangement import (
    PADDED_STEP,
    STEPS,
    Arrangement,
    Layout,
    Pairs,
    Ragged,
    Sizes,
    ragged_sizes,
)
from training.models.attention import MASKED, ClassBlock, ParticleBlock, kernels
from training.models.dropout import Dropout
from training.models.graphs import Capture
from training.models.pair_features import kinematics, pair_features
from training.models.sizes import ParticleTransformerConfig


class InputEmbedding(nn.Sequential):
    """Constituent features to tokens: (T, features) to (T, widths[-1])."""

    def __init__(self, features: int, widths: tuple[int, ...]):
        layers: list[nn.Module] = [nn.BatchNorm1d(features)]
        for width in widths:
            layers += [nn.LayerNorm(features), nn.Linear(features, width), nn.GELU()]
            features = width
        super().__init__(*layers)

    def forward(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        """Apply the layers; the batch norm looks at real rows, (T, 1), only."""
        norm, *layers = self
        x = norm(x) if real is None else norm_real(cast(nn.BatchNorm1d, norm), x, real)
        for layer in layers:
            x = layer(x)
        return x


class PairEmbedding(nn.Module):
    """Four-vectors to an additive attention bias per head."""

    def __init__(self, widths: tuple[int, ...], heads: int):
        super().__init__()
        layers: list[nn.Module] = [nn.BatchNorm1d(4)]
        for width_in, width in zip((4, *widths), (*widths, heads), strict=True):
            layers += [nn.Linear(width_in, width), nn.BatchNorm1d(width), nn.GELU()]
        # The bias enters the attention before any activation.
        self.layers = nn.Sequential(*layers[:-1])
        self.heads = heads

    def forward(self, particles: Tensor, groups: list[Layout], pairs: list[Pairs]) -> list[Tensor]:
        """Map particles (T, 7), see `kinematics`, to the bias (B, heads, N, N) of each group."""
        features = [
            pair_features(particles.index_select(0, p.first), particles.index_select(0, p.second))
            for p in pairs
        ]
        elements = self.layers(torch.cat(features)).split([len(f) for f in features])
        biases = []
        for group, rows, pair in zip(groups, elements, pairs, strict=True):
            jets, length = group.mask.shape
            bias = rows.new_zeros(jets * length * length, self.heads)
            bias = bias.index_copy(0, pair.cell, rows).index_copy(0, pair.mirror, rows)
            bias = bias.view(jets, length, length, self.heads).permute(0, 3, 1, 2)
            biases.append(bias.masked_fill(~group.mask[:, None, None, :], MASKED).contiguous())
        return biases


def norm_real(norm: nn.BatchNorm1d, x: Tensor, real: Tensor) -> Tensor:
    """Apply a batch norm to rows (T, C) of which only the real ones, (T, 1) bool, count."""
    means, variances = norm.running_mean, norm.running_var
    if not norm.training or means is None or variances is None:
        return norm(x)
    x = x.float()
    number = real.sum().clamp(min=1)
    mean = torch.where(real, x, 0).sum(0) / number
    variance = torch.where(real, x - mean, 0).square().sum(0) / number
    with torch.no_grad():
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
        means.lerp_(mean, norm.momentum or 0.0)
        unbiased = variance * number / (number - 1).clamp(min=1)
        variances.lerp_(unbiased, norm.momentum or 0.0)
    return (x - mean) * (variance + norm.eps).rsqrt() * norm.weight + norm.bias


@dataclass
class RaggedParts:
    """What a network does with jets laid end to end, as it stands or compiled."""

    embed: Callable[..., Tensor] = InputEmbedding.forward
    attend: Callable[..., Tensor] = ParticleBlock.ragged
    attend_from_token: Callable[..., Tensor] = ClassBlock.ragged

    @classmethod
    @cache
    def compiled(cls, **options: Any) -> "RaggedParts":
        """Compile each once for all blocks, sizes and networks."""
        parts = (InputEmbedding.forward, ParticleBlock.ragged, ClassBlock.ragged)
        return cls(*(torch.compile(part, dynamic=True, **options) for part in parts))


class ParticleTransformer(nn.Module):
    """Jet classifier over constituents.

    Parameters
    ----------
    config
        The sizes.
    features
        Number of features per constituent.
    classes
        Number of outputs.
    """

    def __init__(self, config: ParticleTransformerConfig, features: int, classes: int):
        super().__init__()
        width = config.embedding[-1]
        sizes = (width, config.heads, config.feedforward_ratio)
        self.length_groups = config.length_groups
        self.capture: Capture | None = None
        self.ragged_parts = RaggedParts()
        self.embedding = InputEmbedding(features, config.embedding)
        self.pair_embedding = PairEmbedding(config.pair_embedding, config.heads)
        self.blocks = nn.ModuleList(
            ParticleBlock(*sizes, config.dropout) for _ in range(config.blocks)
        )
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.class_blocks = nn.ModuleList(
            ClassBlock(*sizes, 0.0) for _ in range(config.class_blocks)
        )
        self.norm = nn.LayerNorm(width)
        layers: list[nn.Module] = []
        width_in = width
        for hidden in config.head:
            layers += [nn.Linear(width_in, hidden), nn.ReLU(), Dropout(config.dropout)]
            width_in = hidden
        self.head = nn.Sequential(*layers, nn.Linear(width_in, classes))
        self._initialise()

    def _initialise(self) -> None:
        """Xavier everywhere; residual branches shrink with depth, so that early steps are calm."""
        nn.init.trunc_normal_(self.class_token, std=0.02)
        for module in (self.embedding, self.blocks, self.class_blocks, self.head):
            for layer in module.modules():
                if isinstance(layer, nn.Linear):
                    nn.init.xavier_uniform_(layer.weight)
                    nn.init.zeros_(layer.bias)
        for block in (*self.blocks, *self.class_blocks):
            # Queries, keys and values are three square maps in one matrix.
            bound = (3 / block.in_projection.in_features) ** 0.5
            nn.init.uniform_(block.in_projection.weight, -bound, bound)
        for depth, block in enumerate(self.blocks, start=1):
            with torch.no_grad():
                for branch in (block.out_projection, block.contract):
                    assert isinstance(branch, nn.Linear)
                    branch.weight /= (2 * depth) ** 0.5

    def encode(
        self, features: Tensor, vectors: Tensor, mask: Tensor, sizes: Sizes | None = None
    ) -> Tensor:
        """Return the class token after the last block, the jet's embedding.

        Parameters
        ----------
        features
            (B, N, features), constituents in any order.
        vectors
            (B, N, 4): px, py, pz, E.
        mask
            (B, N) bool, true for real constituents.
        sizes
            `ragged_sizes` of the jets, where they are known; None: a GPU has to tell.

        Returns
        -------
        Tensor
            (B, width).
        """
        if features.is_cuda and kernels is not None:
            return self._on_gpu(self._encode_ragged, features, vectors, mask, sizes)
        arrangement = Arrangement.of(mask, self.length_groups)
        groups = arrangement.groups
        features, vectors = (
            padded.flatten(0, 1).index_select(0, arrangement.rows) for padded in (features, vectors)
        )
        x = self.embedding(features)
        biases = self.pair_embedding(kinematics(vectors), groups, arrangement.pairs)
        for block in self.blocks:
            x = block(x, groups, biases)
        token = self.class_token.expand(len(mask), -1, -1)
        for block in self.class_blocks:
            token = block(token, x, groups)
        return self.norm(token.squeeze(1))[arrangement.order.argsort()]

    def _on_gpu(
        self,
        function: Callable[..., Tensor],
        features: Tensor,
        vectors: Tensor,
        mask: Tensor,
        sizes: Sizes | None,
    ) -> Tensor:
        rows, scores, pairs = (
            max(-(-size // step), 1) * step
            for size, step in zip(sizes or ragged_sizes(mask.sum(1)), STEPS, strict=True)
        )
        jets, width = mask.shape
        more = (0, -width % PADDED_STEP, 0, -jets % PADDED_STEP)
        mask = functional.pad(mask, more)
        features, vectors = (functional.pad(x, (0, 0, *more)) for x in (features, vectors))
        sizes = Sizes(rows, scores, pairs)
        if self.capture is None:
            return function(features, vectors, mask, *sizes)[:jets]
        return self.capture(self, function, (features, vectors, mask), sizes)[:jets]

    def _classify_ragged(self, *batch: Any) -> Tensor:
        return self.head(self._encode_ragged(*batch))

    def _encode_ragged(
        self,
        features: Tensor,
        vectors: Tensor,
        mask: Tensor,
        rows: int,
        scores: int,
        pairs: int,
    ) -> Tensor:
        jets = Ragged.of(mask, Sizes(rows, scores, pairs))
        features, vectors = (
            padded.flatten(0, 1).index_select(0, jets.rows) for padded in (features, vectors)
        )
        device = features.device.type
        mixed = torch.is_autocast_enabled(device)
        bias = kernels.pair_bias(
            kinematics(vectors),
            jets.table,
            jets.scores,
            jets.pairs,
            jets.width,
            self.pair_embedding.layers,
            torch.get_autocast_dtype(device) if mixed else torch.float32,
        )
        seeds = torch.randint(
            -(2**31), 2**31, (len(self.blocks), 2), dtype=torch.int32, device=features.device
        )
        parts = self.ragged_parts
        # In 32 bits, as every block leaves it: one graph serves all blocks.
        x = parts.embed(self.embedding, features, jets.real).float()
        for block, own in zip(self.blocks, seeds.unbind(), strict=True):
            x = parts.attend(block, x, jets.table, bias, own)
        token = self.class_token[0].repeat(len(mask), 1)
        for block in self.class_blocks:
            token = parts.attend_from_token(block, token, x, jets.table)
        return self.norm(token)

    def forward(
        self, features: Tensor, vectors: Tensor, mask: Tensor, sizes: Sizes | None = None
    ) -> Tensor:
        """Return the logits, (B, classes); arguments as in `encode`."""
        if features.is_cuda and kernels is not None:
            return self._on_gpu(self._classify_ragged, features, vectors, mask, sizes)
        return self.head(self.encode(features, vectors, mask))

    def compile_parts(self, **options: Any) -> None:
        """Compile embeddings and blocks in place; names of parameters stay as they are.

        Batches differ in every size, so all sizes are symbols: four graphs each for training and
        evaluation, however many blocks and batches there are. `options` are `torch.compile`'s. On
        a GPU, what a step launches is captured too, for it takes longer to launch than to run.
        """
        # Sizes that are equal in the first batch differ in the next.
        symbolic_shapes.use_duck_shape = False
        for part in (self.embedding, self.pair_embedding, *self.blocks, *self.class_blocks):
            part.compile(dynamic=True, **options)
        self.ragged_parts = RaggedParts.compiled(**options)
        self.capture = Capture()
