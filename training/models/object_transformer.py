"""Transformer over the few objects of an event (T. Kishimoto et al., arXiv:2312.06909).

An object is a token; encoder layers normalise after each sum, as in the first transformers. The
published network ignores which slots are empty: they are attended to and averaged like the others.
`masked` mends that.

Every operation has a batching rule and none waits for a GPU: networks of many seeds train at once
(`training.models.ensemble`), and a step can be captured as a CUDA graph. PyTorch's own encoder
layer would attend one network after the other under `torch.func.vmap`.
"""

from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional

from training.models.compilation import compile_for_all_sizes
from training.models.dropout import CompiledDropout
from training.models.sizes import ObjectTransformerConfig

# Added to the score of an empty slot: its weight underflows to zero, yet stays finite in any type.
MASKED = -1e4


class EncoderLayer(nn.Module):
    """Self-attention and a feed-forward network, each added and normalised."""

    def __init__(self, config: ObjectTransformerConfig):
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.in_projection = nn.Linear(width, 3 * width)
        self.out_projection = nn.Linear(width, width)
        self.attended_norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, config.feedforward)
        self.contract = nn.Linear(config.feedforward, width)
        self.norm = nn.LayerNorm(width)
        self.drop = CompiledDropout(config.dropout)
        nn.init.xavier_uniform_(self.in_projection.weight)
        nn.init.zeros_(self.in_projection.bias)
        nn.init.zeros_(self.out_projection.bias)

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Map tokens (B, S, C) to (B, S, C); `bias` (B, 1, 1, S) joins the scores."""
        projected = self.in_projection(x).unflatten(2, (3, self.heads, -1))
        query, key, value = projected.permute(2, 0, 3, 1, 4).unbind(0)
        scores = (query * query.shape[3] ** -0.5) @ key.transpose(2, 3)
        if bias is not None:
            scores = scores + bias
        attended = self.drop(scores.softmax(dim=3)) @ value
        attended = self.out_projection(attended.transpose(1, 2).flatten(2))
        x = self.attended_norm(x + self.drop(attended))
        hidden = self.drop(functional.relu(self.expand(x)))
        return self.norm(x + self.drop(self.contract(hidden)))


class ObjectTransformer(nn.Module):
    """Classifier of events, or of each of their objects.

    Parameters
    ----------
    config
        The sizes.
    features
        Number of features per object.
    outputs
        Number of classes.
    of
        What is classified.
    """

    def __init__(
        self,
        config: ObjectTransformerConfig,
        features: int,
        outputs: int,
        of: Literal["event", "object"] = "event",
    ):
        super().__init__()
        self.masked, self.of = config.masked, of
        self.embedding = nn.Sequential(
            nn.Linear(features, config.width), nn.LayerNorm(config.width)
        )
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.blocks))
        self.head = nn.Linear(config.width, outputs)

    def encode(self, objects: Tensor, mask: Tensor) -> Tensor:
        """Return a token per object, (B, S, width); arguments as in `forward`."""
        bias = MASKED * (~mask[:, None, None, :]).float() if self.masked else None
        x = self.embedding(objects)
        for layer in self.encoder:
            x = layer(x, bias)
        return x

    def average(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Return the mean token of each event, (B, width)."""
        if not self.masked:
            return tokens.mean(dim=1)
        weight = mask[:, :, None].float()
        return (tokens * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)

    def forward(self, objects: Tensor, mask: Tensor) -> Tensor:
        """Return logits.

        Parameters
        ----------
        objects
            (B, S, features), in any order.
        mask
            (B, S) bool, true for real objects; ignored as published unless `config.masked`.

        Returns
        -------
        Tensor
            (B, outputs), or (B, S, outputs) for objects.
        """
        tokens = self.encode(objects, mask)
        return self.head(tokens if self.of == "object" else self.average(tokens, mask))

    def compile_parts(self, **options: Any) -> None:
        """Compile in place, for all sizes of batches; `torch.compile`'s options."""
        # What predicts embeddings too goes past `forward`: layer by layer.
        compile_for_all_sizes((self, *self.encoder), **options)
