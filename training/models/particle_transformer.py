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
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.fx.experimental import _config as symbolic_shapes
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from training.models.graphs import Capture
from training.models.sizes import ParticleTransformerConfig

try:
    from training.models import kernels
except ImportError:  # PyTorch brings Triton along where it can use a GPU
    kernels = None  # type: ignore[assignment]

# Floor of the logarithms' arguments, as in the original.
EPSILON = 1e-8
# Added to the score of a padded key: its weight underflows to zero, yet stays finite in any type.
MASKED = -1e4
# Padded lengths are multiples of this: attention kernels of GPUs read biases in such blocks.
ALIGNMENT = 8


@dataclass(frozen=True)
class Layout:
    """Where the real constituents of a group of jets are in padded arrays."""

    mask: Tensor  # (B, N) bool
    rows: Tensor  # (T,) position of each constituent in the flattened (B * N)

    def pack(self, padded: Tensor) -> Tensor:
        """Take the real rows: (B, N, C) to (T, C)."""
        return padded.flatten(0, 1).index_select(0, self.rows)

    def pad(self, packed: Tensor) -> Tensor:
        """Put the rows back, zeros elsewhere: (T, C) to (B, N, C)."""
        jets, length = self.mask.shape
        empty = packed.new_zeros(jets * length, packed.shape[1])
        return empty.index_copy(0, self.rows, packed).unflatten(0, (jets, length))


@dataclass(frozen=True)
class Pairs:
    """The unordered pairs of constituents of a group of jets, each with itself included."""

    first: Tensor  # (P,) row of the one among the constituents of the batch
    second: Tensor  # (P,) and of the other
    cell: Tensor  # (P,) position of the pair in the flattened (B * N * N)
    mirror: Tensor  # (P,) and in the other order


@dataclass(frozen=True)
class Arrangement:
    """A batch as groups of jets of similar length: attention costs the square of its length."""

    order: Tensor  # (B,) the jets from short to long
    rows: Tensor  # (T,) position of each constituent, group by group, in the flattened batch
    groups: list[Layout]
    pairs: list[Pairs]

    @classmethod
    def of(cls, mask: Tensor, groups: int) -> "Arrangement":
        """Arrange a batch with the mask (B, N) into at most so many groups."""
        width = mask.shape[1]
        lengths = (mask * torch.arange(1, width + 1, device=mask.device)).amax(dim=1)
        constituents = mask.sum(dim=1)
        order = lengths.argsort(stable=True)
        groups = min(groups, len(mask))
        members = order.tensor_split(groups)
        of_jets = torch.stack((lengths, constituents, constituents * (constituents + 1) // 2))
        of_groups = of_jets[:, order].tensor_split(groups, dim=1)
        # The only numbers that a GPU has to tell.
        sizes = torch.stack([torch.cat((of[:1].amax(1), of[1:].sum(1))) for of in of_groups])
        layouts, pairs, rows, begin = [], [], [], 0
        for jets, (longest, count, pair_count) in zip(members, sizes.tolist(), strict=True):
            length = max(-(-longest // ALIGNMENT), 1) * ALIGNMENT
            own = functional.pad(mask[jets], (0, max(length - width, 0)))[:, :length]
            jet, slot = own.nonzero_static(size=count).unbind(1)
            layouts.append(Layout(own, jet * length + slot))
            rows.append(jets[jet] * width + slot)
            pairs.append(_pairs(own, begin, pair_count))
            begin += count
        return cls(order, torch.cat(rows), layouts, pairs)


def _pairs(mask: Tensor, begin: int, count: int) -> Pairs:
    """List the pairs of a mask (B, N) whose first constituent is row `begin` of the batch."""
    length = mask.shape[1]
    row = mask.flatten().cumsum(0) + (begin - 1)
    both = (mask[:, :, None] & mask[:, None, :]).tril()
    jet, i, j = both.nonzero_static(size=count).unbind(1)
    first, second = jet * length + i, jet * length + j
    return Pairs(row[first], row[second], first * length + j, second * length + i)


class Sizes(NamedTuple):
    """How much the jets of a batch have in all."""

    constituents: int
    scores: int  # of attention: the square of a jet's constituents, its rows aligned
    pairs: int  # unordered, with itself


# Room for constituents, scores and pairs comes in such steps, so that batches share a few sizes:
# what is captured for one serves the others.
STEPS = Sizes(1024, 2**20, 2**18)
# So do jets, and their longest.
PADDED_STEP = 64


def ragged_sizes(n: Tensor) -> Sizes:
    """Return the sizes of jets with n, (B,), constituents.

    Ask while they are still on the host: a GPU has to catch up first.
    """
    parts = (n, n * ((n + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT), n * (n + 1) // 2)
    return Sizes(*torch.stack(parts).sum(1).tolist())


@dataclass(frozen=True)
class Ragged:
    """A batch of jets laid end to end, as the kernels for GPUs take it, with room to spare."""

    rows: Tensor  # (T,) position of each constituent in the flattened batch (B * N)
    real: Tensor  # (T, 1) bool, false for rows that are only room
    table: Tensor  # (3, B + 1) int32: where constituents, scores and pairs of each jet begin
    scores: int  # room for them
    pairs: int  # room for them
    width: int  # no jet has more constituents

    @classmethod
    def of(cls, mask: Tensor, room: Sizes) -> "Ragged":
        """Arrange a batch with the mask (B, N); waits for nothing."""
        n = mask.sum(1)
        pitch = (n + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
        table = torch.stack((n, n * pitch, n * (n + 1) // 2)).cumsum(1)
        table = functional.pad(table, (1, 0)).int()
        rows, scores, pairs = room
        flat = mask.flatten()
        place = torch.where(flat, flat.cumsum(0) - 1, rows)
        # Rows that are only room repeat the first slot: nothing looks at them.
        position = torch.zeros(rows + 1, dtype=torch.int64, device=mask.device)
        position = position.scatter(0, place, torch.arange(len(flat), device=mask.device))[:rows]
        real = torch.arange(rows, device=mask.device)[:, None] < table[0, -1]
        return cls(position, real, table, scores, pairs, mask.shape[1])


class Dropout(nn.Dropout):
    """Dropout that spends a quarter of a random number per element on a CPU.

    There, drawing random numbers for attention weights takes longer than attending. The
    probability is rounded to 1/65536.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Zero elements at random and scale up the others, in training."""
        if x.is_cuda or torch.compiler.is_compiling() or not self.training or self.p == 0:
            return super().forward(x)
        dropped = round(65536 * self.p)
        words = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        keep = words.view(torch.int16)[: x.numel()].view(x.shape) >= dropped - 32768
        return x * keep.to(x.dtype).mul_(65536 / (65536 - dropped))


def pair_features(first: Tensor, second: Tensor) -> Tensor:
    """Return ln kT, ln z, ln ΔR and ln m² of pairs of particles.

    Parameters
    ----------
    first, second
        (P, 7): pT, rapidity, φ, px, py, pz, E of either particle.

    Returns
    -------
    Tensor
        (P, 4), symmetric in the two particles. kT = min(pT) ΔR, z = min(pT) / sum(pT).
    """
    pt_1, rapidity_1, phi_1 = first[:, :3].unbind(1)
    pt_2, rapidity_2, phi_2 = second[:, :3].unbind(1)
    # All in 32 bits under autocast too: masses of close pairs are differences of large numbers.
    delta_phi = torch.remainder(phi_1 - phi_2 + torch.pi, 2 * torch.pi) - torch.pi
    delta_r = ((rapidity_1 - rapidity_2).square() + delta_phi.square()).sqrt()
    softer = torch.minimum(pt_1, pt_2)
    px, py, pz, energy = (first[:, 3:] + second[:, 3:]).unbind(1)
    mass2 = energy.square() - (px.square() + py.square() + pz.square())
    return torch.stack(
        (
            (softer * delta_r).clamp(min=EPSILON).log(),
            (softer / (pt_1 + pt_2).clamp(min=EPSILON)).clamp(min=EPSILON).log(),
            delta_r.clamp(min=EPSILON).log(),
            mass2.clamp(min=EPSILON).log(),
        ),
        dim=1,
    )


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


@torch.no_grad()
def kinematics(vectors: Tensor) -> Tensor:
    """Return (T, 7) in 32 bits: pT, rapidity, φ, px, py, pz, E of (T, 4) vectors."""
    px, py, pz, energy = vectors.float().unbind(1)
    pt = (px.square() + py.square()).sqrt()
    rapidity = 0.5 * torch.log(1 + 2 * pz / (energy - pz).clamp(min=1e-20))
    return torch.stack((pt, rapidity, torch.atan2(py, px), px, py, pz, energy), dim=1)


def fused_attention(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor, dropout: "Dropout"
) -> Tensor:
    """Attend with one kernel, (B, heads, N, head width) each; for GPUs.

    Of PyTorch's kernels only the memory-efficient one differentiates a bias: FlashAttention takes
    none, and cuDNN's gives NaN with masks (pytorch issue 196678, cudnn-frontend issue 1072). It
    wants a bias of the queries' type whose strides are multiples of 8, or copies it.
    """
    bias = bias.to(query.dtype).expand(*query.shape[:3], key.shape[2])
    probability = dropout.p if dropout.training else 0.0
    # The second is for head widths that the first does not know, and for a CPU.
    with sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]):
        return functional.scaled_dot_product_attention(query, key, value, bias, probability)


def explicit_attention(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor, dropout: "Dropout"
) -> Tensor:
    """Attend step by step, (B, heads, N, head width) each; for CPUs.

    PyTorch has no kernel for a CPU that differentiates a bias, and its substitute passes over the
    scores thrice to guard against rows without a key, which do not exist here.
    """
    scores = (query * query.shape[3] ** -0.5) @ key.transpose(2, 3) + bias
    return dropout(scores.softmax(dim=3)) @ value


class Block(nn.Module):
    """What particle and class attention share: projections, norms, feed-forward, scaled residuals.

    The extra normalisations and learned scales are those of NormFormer (arXiv:2110.09456).
    """

    def __init__(self, width: int, heads: int, feedforward_ratio: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.in_projection = nn.Linear(width, 3 * width)
        self.out_projection = nn.Linear(width, width)
        self.attended_norm = nn.LayerNorm(width)
        self.feedforward_norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, feedforward_ratio * width)
        self.expanded_norm = nn.LayerNorm(feedforward_ratio * width)
        self.contract = nn.Linear(feedforward_ratio * width, width)
        self.head_scale = nn.Parameter(torch.ones(heads))
        self.residual_scale = nn.Parameter(torch.ones(width))
        self.drop = Dropout(dropout)
        self.drop_attention = Dropout(dropout)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
        """Multi-head attention, (B, N, C) each; `bias` (B, heads or 1, N, N) joins the scores."""
        query, key, value = (
            x.unflatten(2, (self.heads, -1)).transpose(1, 2) for x in (query, key, value)
        )
        attention = fused_attention if query.is_cuda else explicit_attention
        attended = attention(query, key, value, bias, self.drop_attention)
        return attended.transpose(1, 2).flatten(2)

    def finish(self, residual: Tensor, attended: Tensor, seed: Tensor | None = None) -> Tensor:
        """Project what was attended to, add it and pass the feed-forward network; any (..., C).

        With a seed, () int32, the middle of that network is one kernel for GPUs.
        """
        x = self.out_projection(attended).unflatten(-1, (self.heads, -1))
        x = (x * self.head_scale[:, None]).flatten(-2)
        residual = residual + self.drop(self.attended_norm(x))
        x, norm = self.expand(self.feedforward_norm(residual)), self.expanded_norm
        if seed is None:
            x = norm(self.drop(functional.gelu(x)))
        else:
            dropout = self.drop.p if self.training else 0.0
            x, *_ = kernels.gelu_drop_norm(x, norm.weight, norm.bias, seed, dropout, norm.eps)
        x = self.contract(x)
        return self.drop(x) + self.residual_scale * residual


class ParticleBlock(Block):
    """Constituents attend to each other, biased by their pair features."""

    def forward(self, x: Tensor, groups: list[Layout], biases: list[Tensor]) -> Tensor:
        """Map (T, C) to (T, C); a bias per group of jets, (B, heads, N, N)."""
        projected = self.in_projection(self.attention_norm(x))
        attended = []
        for group, rows, bias in zip(groups, split(projected, groups), biases, strict=True):
            query, key, value = group.pad(rows).chunk(3, dim=2)
            attended.append(group.pack(self.attend(query, key, value, bias)))
        return self.finish(x, torch.cat(attended))

    def ragged(self, x: Tensor, table: Tensor, bias: Tensor, seeds: Tensor) -> Tensor:
        """Do the same for jets laid end to end; their biases are (heads, scores)."""
        projected = self.in_projection(self.attention_norm(x))
        dropout = self.drop_attention.p if self.training else 0.0
        attended, _ = kernels.attend(
            projected, bias, table[0], table[1], seeds[0], self.heads, dropout
        )
        return self.finish(x, attended, seeds[1])


class ClassBlock(Block):
    """A class token attends to itself and the constituents (CaiT, arXiv:2103.17239)."""

    def forward(self, token: Tensor, x: Tensor, groups: list[Layout]) -> Tensor:
        """Map tokens (B, 1, C) and constituents (T, C) to the next tokens (B, 1, C)."""
        width = token.shape[2]
        weight, offset = self.in_projection.weight, self.in_projection.bias
        # Only the keys and values are normalised: the query is the token as it stands.
        query = functional.linear(token, weight[:width], offset[:width])
        own, others = (
            functional.linear(self.attention_norm(source), weight[width:], offset[width:])
            for source in (token, x)
        )
        sizes = [len(group.mask) for group in groups]
        attended = []
        for group, asking, own_pair, rows in zip(
            groups, query.split(sizes), own.split(sizes), split(others, groups), strict=True
        ):
            # Masked places before the token's own keep the length a multiple of the alignment.
            keys = functional.pad(own_pair, (0, 0, ALIGNMENT - 1, 0)), group.pad(rows)
            key, value = torch.cat(keys, dim=1).chunk(2, dim=2)
            padding = functional.pad(~group.mask, (1, 0), value=False)
            padding = functional.pad(padding, (ALIGNMENT - 1, 0), value=True)[:, None, None, :]
            attended.append(self.attend(asking, key, value, MASKED * padding.to(key.dtype)))
        return self.finish(token, torch.cat(attended))

    def ragged(self, token: Tensor, x: Tensor, table: Tensor) -> Tensor:
        """Do the same for tokens (B, C) and jets laid end to end."""
        width = token.shape[1]
        weight, offset = self.in_projection.weight, self.in_projection.bias
        query = functional.linear(token, weight[:width], offset[:width])
        own, others = (
            functional.linear(self.attention_norm(source), weight[width:], offset[width:])
            for source in (token, x)
        )
        attended, _ = kernels.attend_from_token(query, own, others, table[0], self.heads)
        return self.finish(token, attended)


def split(packed: Tensor, groups: list[Layout]) -> tuple[Tensor, ...]:
    """Split (T, C) rows into those of each group."""
    return packed.split([len(group.rows) for group in groups])


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
