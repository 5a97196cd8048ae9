"""Joint-embedding predictive pre-training of jets, after HEP-JEPA (arXiv:2502.03933).

A student encodes the tokens of a jet that it may see. A predictor says, token by token, what a
teacher, a slow average of the student that sees the whole jet, makes of those that were hidden.

What the student makes of its tokens depends on them alone, to the bit: angles, shares of momentum
and pair features are relative to what is visible, nothing is known of the jet, and no layer looks
at other jets.
"""

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.models.arrangement import Room
from training.models.attention import MASKED, ClassBlock, ParticleBlock
from training.models.compilation import compile_for_all_sizes
from training.models.jet_encoder import JetEncoder, PackedTokens, shrink_with_depth
from training.models.jet_tokens import Jets, relative_angles
from training.models.ragged import Rows
from training.models.sizes import (
    JointEmbeddingConfig,
    PredictorConfig,
    TokenClassifierConfig,
)


class StepRoom(NamedTuple):
    """Room for all that a step looks at."""

    context: Room
    everything: Room
    seen: Room  # by the predictor, of the jets of all sets of targets: context and targets
    hidden: int  # targets of all sets

    def joined(self) -> "StepRoom":
        """Return groups that are padded alike as one."""
        rooms = (self.context.joined(), self.everything.joined(), self.seen.joined())
        return StepRoom(*rooms, self.hidden)


class Predictor(nn.Module):
    """Hidden tokens from the visible ones and where the hidden ones are."""

    def __init__(self, config: PredictorConfig, width: int, length_groups: int):
        super().__init__()
        self.length_groups = length_groups
        self.narrow = nn.Linear(width, config.width)
        self.hidden = nn.Parameter(0.02 * torch.randn(config.width))
        self.position = nn.Sequential(
            nn.Linear(3, config.width), nn.GELU(), nn.Linear(config.width, config.width)
        )
        sizes = config.width, config.heads, config.feedforward_ratio
        self.blocks = nn.ModuleList(ParticleBlock(*sizes, 0.0) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(config.width)
        self.output = nn.Linear(config.width, width)
        shrink_with_depth(self.blocks)

    def forward(
        self,
        tokens: Tensor,
        context: Tensor,
        targets: Tensor,
        positions: Tensor,
        hidden: Rows,
        room: Room | None = None,
    ) -> Tensor:
        """Predict each set of targets by itself.

        Parameters
        ----------
        tokens
            (T, width) of the context, jet by jet.
        context
            (B, S) bool.
        targets
            (K, B, S) bool.
        positions
            (B, S, 3), Δη, Δφ and ΔR of all tokens to the axis of the context.
        hidden
            The rows of the targets, (K · B, S).
        room
            For context and targets, as for the encoder.

        Returns
        -------
        Tensor
            (M, width) of the rows of `hidden`: set by set, jet by jet.
        """
        sets = len(targets)
        visible = (context | targets).flatten(0, 1)
        rows = Rows.of(visible, None if room is None else sum(room.tokens))
        row = (context.flatten().cumsum(0) - 1).clamp(min=0).repeat(sets)[rows.place]
        seen = self.narrow(tokens).index_select(0, row)
        told = targets.flatten()[rows.place]
        x = torch.where(told[:, None], self.hidden.to(seen.dtype), seen)
        x = x + self.position(rows.take(positions.repeat(sets, 1, 1)))
        slots = visible.shape[1]
        if room is None:
            packed = PackedTokens.of(rows, slots, self.length_groups)
        else:
            packed = PackedTokens.within(rows, room, pairs=False)
        groups = packed.arrangement.groups
        biases = [MASKED * (~g.mask[:, None, None, :]).to(x.dtype) for g in groups]
        x = x[packed.rows]
        for block in self.blocks:
            x = block(x, groups, biases)
        place = (visible.flatten().cumsum(0) - 1).clamp(min=0)[hidden.place]
        return self.output(self.norm(packed.unpack(x).index_select(0, place)))


class Prediction(NamedTuple):
    """What a student predicts and a teacher says."""

    predicted: Tensor  # (M, width) of hidden tokens: set by set, jet by jet
    target: Tensor  # (M, width) normalised token by token, without gradient
    hidden: Rows  # where each is among the (K · B, S)
    jet: Tensor  # (M,) the jet of each
    tokens: Tensor  # (T, width) of the student, jet by jet
    seen: Rows  # where they are among the (B, S)
    context: Tensor  # (B, width) average of the student's tokens of each jet


class JointEmbedding(nn.Module):
    """Student, predictor and teacher.

    Parameters
    ----------
    config
        The sizes.
    features
        Number of features per constituent; none of them may depend on other constituents.
    """

    def __init__(self, config: JointEmbeddingConfig, features: int):
        super().__init__()
        self.encoder = JetEncoder(config.encoder, features)
        self.predictor: Predictor | None = None
        if config.predictor is not None:
            self.predictor = Predictor(
                config.predictor, config.encoder.width, config.encoder.length_groups
            )
        self.target_layers = config.target_layers
        self.teacher = copy.deepcopy(self.encoder).requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "JointEmbedding":
        """Set the mode of student and predictor; the teacher never trains."""
        super().train(mode)
        self.teacher.eval()
        return self

    @torch.no_grad()
    def update_teacher(self, decay: float) -> None:
        """Move the teacher to the student: it becomes decay · own + (1 - decay) · student.

        Weights and buffers alike; buffers that are no fractions are copied.
        """
        own, student = ([*x.parameters(), *x.buffers()] for x in (self.teacher, self.encoder))
        moved = [i for i, x in enumerate(own) if x.is_floating_point()]
        torch._foreach_lerp_([own[i] for i in moved], [student[i] for i in moved], 1 - decay)
        for one, other in zip(own, student, strict=True):
            if not one.is_floating_point():
                one.copy_(other)

    def forward(
        self,
        jets: Jets,
        context: Tensor,
        targets: Tensor,
        features: Tensor | None = None,
        room: StepRoom | None = None,
    ) -> Prediction:
        """Predict.

        Parameters
        ----------
        jets
            The batch.
        context
            (B, S) bool: tokens that the student sees.
        targets
            (K, B, S) bool: sets of tokens to predict, none of them in the context.
        features
            (B, N, features) that the student sees instead of the jets'.
        room
            With it nothing waits for a GPU, and what is returned has room to spare: `Rows.real`
            tells what counts.
        """
        seen = jets if features is None else jets._replace(features=features)
        student = self.encoder.encode(seen, context, room=room and room.context)
        tokens, average = student.tokens.values, student.average()
        # The directions of tokens as seen from the context.
        places = self.encoder.tokens.places(jets)
        axes = (places * context[:, :, None]).sum(dim=1)
        positions = relative_angles(places, axes[:, None])
        hidden = Rows.of(targets.flatten(0, 1), room and room.hidden)
        jet = hidden.owner % len(context)
        if self.predictor is None:
            predicted = average[jet]
        else:
            predicted = self.predictor(
                tokens, context, targets, positions, hidden, room and room.seen
            )
        with torch.no_grad():
            everything = self.encoder.tokens.mask(jets)
            teacher = self.teacher.encode(
                jets, layers=self.target_layers, room=room and room.everything
            )
            row = (everything.flatten().cumsum(0) - 1).clamp(min=0).repeat(len(targets))
            target = teacher.tokens.values[row[hidden.place]].float()
            target = functional.layer_norm(target, target.shape[1:])
        return Prediction(predicted, target, hidden, jet, tokens, student.rows, average)

    def compile_parts(self, **options: Any) -> None:
        """Compile blocks in place, for all sizes of batches; `torch.compile`'s options."""
        encoders = (self.encoder, self.teacher)
        parts = [part for own in encoders for part in (own.pair_bias, *own.blocks)]
        predictor: list[nn.Module] = [] if self.predictor is None else [*self.predictor.blocks]
        compile_for_all_sizes((*parts, *predictor), **options)


class TokenClassifier(nn.Module):
    """Classes of jets from the tokens of an encoder.

    Parameters
    ----------
    config
        The sizes.
    encoder
        Pre-trained or not.
    classes
        Number of outputs.
    """

    def __init__(self, config: TokenClassifierConfig, encoder: JetEncoder, classes: int):
        super().__init__()
        self.encoder = encoder
        width = encoder.width
        sizes = width, encoder.heads, encoder.feedforward_ratio, 0.0
        if config.class_blocks:
            self.class_token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.class_blocks = nn.ModuleList(ClassBlock(*sizes) for _ in range(config.class_blocks))
        self.norm: nn.Module = nn.LayerNorm(width)
        if config.standardise:
            self.norm = nn.BatchNorm1d(width, affine=False)
        layers: list[nn.Module] = []
        for units in config.head:
            layers += [nn.Linear(width, units), nn.ReLU(), nn.Dropout(config.dropout)]
            width = units
        self.head = nn.Sequential(*layers, nn.Linear(width, classes))

    def embed(self, jets: Jets) -> Tensor:
        """Return what the head sees, (B, width)."""
        encoded = self.encoder.encode(jets)
        if not self.class_blocks:
            return self.norm(encoded.average())
        packed = encoded.packed
        groups = packed.arrangement.groups
        tokens = encoded.tokens.values[packed.rows]
        token = self.class_token.to(tokens.dtype).expand(len(jets.mask), -1, -1)
        for block in self.class_blocks:
            token = block(token, tokens, groups)
        return self.norm(token.squeeze(1))[packed.arrangement.order.argsort()]

    def forward(self, jets: Jets) -> Tensor:
        """Return logits, (B, classes)."""
        return self.head(self.embed(jets))
