"""Particle Transformer (H. Qu, C. Li, S. Qian, arXiv:2202.03772) at the sizes of Sophon.

The network works on the real constituents of a batch, laid end to end: T rows for B jets of up to
N constituents. Padding exists only inside the attention, where it is masked, so that an output
depends neither on the padding nor, in evaluation, on the other jets of the batch. The pair network,
which dominates the cost, sees each unordered pair of a jet once.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.config import ParticleTransformerConfig

# Floor of the logarithms' arguments, as in the original.
EPSILON = 1e-8
# Added to the score of a padded key: its weight underflows to zero, yet stays finite in any type.
MASKED = -1e4


@dataclass(frozen=True)
class Layout:
    """Where the real constituents of a padded batch are."""

    mask: Tensor  # (B, N) bool
    rows: Tensor  # (T,) position of each constituent in the flattened (B * N)

    @classmethod
    def of(cls, mask: Tensor) -> "Layout":
        """Describe a mask of shape (B, N)."""
        return cls(mask, mask.flatten().nonzero().squeeze(1))

    def pack(self, padded: Tensor) -> Tensor:
        """Take the real rows: (B, N, C) to (T, C)."""
        return padded.reshape(-1, padded.shape[-1]).index_select(0, self.rows)

    def pad(self, packed: Tensor) -> Tensor:
        """Put the rows back, zeros elsewhere: (T, C) to (B, N, C)."""
        jets, length = self.mask.shape
        empty = packed.new_zeros(jets * length, packed.shape[-1])
        return empty.index_copy(0, self.rows, packed).view(jets, length, -1)


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

    def forward(self, vectors: Tensor, layout: Layout) -> Tensor:
        """Map (B, N, 4) vectors (px, py, pz, E) to a bias of shape (B, heads, N, N)."""
        jets, length = layout.mask.shape
        real = layout.mask
        pairs = (real[:, :, None] & real[:, None, :]).tril().nonzero()  # (P, 3)
        row = (pairs[:, 0] * length + pairs[:, 1]) * length + pairs[:, 2]
        mirrored = (pairs[:, 0] * length + pairs[:, 2]) * length + pairs[:, 1]
        with torch.no_grad(), torch.autocast(vectors.device.type, enabled=False):
            # 16 bits would lose close pairs: their masses are differences of large numbers.
            px, py, pz, energy = vectors.float().unbind(2)
            pt = (px.square() + py.square()).sqrt()
            rapidity = 0.5 * torch.log(1 + 2 * pz / (energy - pz).clamp(min=1e-20))
            phi = torch.atan2(py, px)
            kinematics = torch.stack((pt, rapidity, phi, px, py, pz, energy), 2).flatten(0, 1)
            features = pair_features(
                kinematics.index_select(0, pairs[:, 0] * length + pairs[:, 1]),
                kinematics.index_select(0, pairs[:, 0] * length + pairs[:, 2]),
            )
        elements = self.layers(features)  # (P, heads)
        bias = elements.new_zeros(jets * length * length, self.heads)
        bias = bias.index_copy(0, row, elements).index_copy(0, mirrored, elements)
        bias = bias.view(jets, length, length, self.heads).permute(0, 3, 1, 2)
        return bias.masked_fill(~real[:, None, None, :], MASKED).contiguous()


def plain_attention(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor, dropout: float
) -> Tensor:
    """Attention with a learned bias, (B, heads, N, width) each: the faster way on a CPU.

    PyTorch's own has no CPU kernel that differentiates the bias and guards against rows without
    any key, which do not exist here, with three more passes over the scores.
    """
    scores = (query * query.shape[3] ** -0.5) @ key.transpose(2, 3) + bias
    return functional.dropout(scores.softmax(dim=3), dropout) @ value


def fused_attention(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor, dropout: float
) -> Tensor:
    """Do the same in one memory-efficient kernel that differentiates the bias."""
    bias = bias.to(query.dtype).expand(*query.shape[:3], key.shape[2])
    return functional.scaled_dot_product_attention(query, key, value, bias, dropout)


class Block(nn.Module):
    """What particle and class attention share: projections, norms, feed-forward, scaled residuals.

    The extra normalisations and learned scales are those of NormFormer (arXiv:2110.09456).
    """

    def __init__(self, width: int, heads: int, feedforward_ratio: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
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
        self.drop = nn.Dropout(dropout)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
        """Multi-head attention, (B, N, C) each; `bias` (B, heads or 1, N, N) joins the scores."""
        heads = (x.unflatten(2, (self.heads, -1)).transpose(1, 2) for x in (query, key, value))
        attention = fused_attention if query.is_cuda else plain_attention
        attended = attention(*heads, bias, self.dropout if self.training else 0.0)
        return attended.transpose(1, 2).flatten(2)

    def finish(self, residual: Tensor, attended: Tensor) -> Tensor:
        """Project what was attended to, add it and pass the feed-forward network; any (..., C)."""
        x = self.out_projection(attended).unflatten(-1, (self.heads, -1))
        x = (x * self.head_scale[:, None]).flatten(-2)
        residual = residual + self.drop(self.attended_norm(x))
        x = self.drop(functional.gelu(self.expand(self.feedforward_norm(residual))))
        x = self.contract(self.expanded_norm(x))
        return self.drop(x) + self.residual_scale * residual


class ParticleBlock(Block):
    """Constituents attend to each other, biased by their pair features."""

    def forward(self, x: Tensor, layout: Layout, bias: Tensor) -> Tensor:
        """Map (T, C) to (T, C); `bias` is (B, heads, N, N)."""
        projected = layout.pad(self.in_projection(self.attention_norm(x)))
        attended = self.attend(*projected.chunk(3, dim=2), bias)
        return self.finish(x, layout.pack(attended))


class ClassBlock(Block):
    """A class token attends to itself and the constituents (CaiT, arXiv:2103.17239)."""

    def forward(self, token: Tensor, x: Tensor, layout: Layout) -> Tensor:
        """Map a token (B, 1, C) and constituents (T, C) to the next token (B, 1, C)."""
        width = token.shape[2]
        weight, offset = self.in_projection.weight, self.in_projection.bias
        # Only the keys and values are normalised: the query is the token as it stands.
        query = functional.linear(token, weight[:width], offset[:width])
        token_pair, x_pair = (
            functional.linear(self.attention_norm(source), weight[width:], offset[width:])
            for source in (token, x)
        )
        key, value = torch.cat((token_pair, layout.pad(x_pair)), dim=1).chunk(2, dim=2)
        padded = functional.pad(~layout.mask, (1, 0), value=False)[:, None, None, :]
        return self.finish(token, self.attend(query, key, value, MASKED * padded))


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
            layers += [nn.Linear(width_in, hidden), nn.ReLU(), nn.Dropout(config.dropout)]
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
                block.out_projection.weight /= (2 * depth) ** 0.5
                block.contract.weight /= (2 * depth) ** 0.5

    def encode(self, features: Tensor, vectors: Tensor, mask: Tensor) -> Tensor:
        """Return the class token after the last block, the jet's embedding.

        Parameters
        ----------
        features
            (B, N, features), constituents in any order.
        vectors
            (B, N, 4): px, py, pz, E.
        mask
            (B, N) bool, true for real constituents.

        Returns
        -------
        Tensor
            (B, width).
        """
        layout = Layout.of(mask)
        x = self.embedding(layout.pack(features))
        bias = self.pair_embedding(vectors, layout)
        for block in self.blocks:
            x = block(x, layout, bias)
        token = self.class_token.expand(len(mask), -1, -1)
        for block in self.class_blocks:
            token = block(token, x, layout)
        return self.norm(token.squeeze(1))

    def forward(self, features: Tensor, vectors: Tensor, mask: Tensor) -> Tensor:
        """Return the logits, (B, classes); arguments as in `encode`."""
        return self.head(self.encode(features, vectors, mask))
