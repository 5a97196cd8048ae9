"""Attention among the constituents of jets, padded for CPUs and laid end to end for GPUs."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from training.models.arrangement import ALIGNMENT, Layout, split
from training.models.dropout import Dropout

try:
    from training.models import kernels
except ImportError:  # PyTorch brings Triton along where it can use a GPU
    kernels = None  # type: ignore[assignment]

# Added to the score of a padded key: its weight underflows to zero, yet stays finite in any type.
MASKED = -1e4


def fused_attention(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor, dropout: Dropout
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
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor, dropout: Dropout
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
