"""Joint-embedding predictive pre-training of jets, after HEP-JEPA (arXiv:2502.03933).

A student encodes the tokens of a jet that it may see. A predictor says, token by token, what a
teacher, a slow average of the student that sees the whole jet, makes of those that were hidden.

What the student makes of its tokens depends on them alone, to the bit: angles, shares of momentum
and pair features are relative to what is visible, nothing is known of the jet, and no layer looks
at other jets.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.models.arrangement import Arrangement, Layout, Pairs, split
from training.models.attention import MASKED, ClassBlock, ParticleBlock
from training.models.compilation import compile_for_all_sizes
from training.models.pair_features import kinematics, pair_features
from training.models.patch_tokens import Patches, PointNetwork
from training.models.ragged import owners, pool
from training.models.sizes import (
    ConstituentEncoderConfig,
    JointEmbeddingConfig,
    PatchEncoderConfig,
    PredictorConfig,
    TokenClassifierConfig,
)

# Of ln kT, ln z, ln ΔR and ln m² in jets of 500 GeV: what makes them of order one. Masses of some
# MeV, which 32 bits do not resolve, are beyond the limit.
PAIR_CENTRE, PAIR_SCALE, PAIR_LIMIT = (-1.0, -2.0, -2.0, 0.0), (0.5, 0.5, 1.0, 0.5), 5.0
# Powers of momentum in them.
PAIR_POWERS = (1.0, 0.0, 0.0, 2.0)
# Pair features are those of a visible jet of this pT.
REFERENCE_PT = 500.0
# η, φ, ln pT, ln E and distance, relative to something.
RELATIVE_FEATURES = 5
EPSILON = 1e-8


class Jets(NamedTuple):
    """A batch of B jets of up to N constituents."""

    features: Tensor  # (B, N, features) of a constituent by itself: charge, identity, displacement
    vectors: Tensor  # (B, N, 4): px, py, pz, E in one unit, no matter which
    mask: Tensor  # (B, N) bool, true for real constituents
    patches: Patches | None = None


class Tokens(NamedTuple):
    """What an encoder makes of a batch."""

    values: Tensor  # (T, width) of the visible tokens, jet by jet
    registers: Tensor  # (B, registers, width)


@dataclass(frozen=True)
class Inputs:
    """Visible tokens, jet by jet, before attention."""

    values: Tensor  # (T, width)
    vectors: Tensor  # (T, 4)
    log_scale: Tensor  # (T,) logarithm of what scales the visible jet to the reference


def momentum_sums(vectors: Tensor, owner: Tensor, counts: Tensor) -> Tensor:
    """Add four-vectors (T, 4) by their owners to (B, 4), in 32 bits."""
    return pool(vectors, owner, counts, "sum")


def coordinates(vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return pT, pseudorapidity and φ, (...) each, of (..., 4) vectors."""
    px, py, pz, _ = vectors.float().unbind(-1)
    pt = (px.square() + py.square()).sqrt()
    return pt, torch.asinh(pz / pt.clamp(min=EPSILON)), torch.atan2(py, px)


def relative_angles(vectors: Tensor, axes: Tensor) -> Tensor:
    """Return Δη, Δφ and ΔR, (..., 3), of (..., 4) vectors to the directions of others."""
    _, eta, phi = coordinates(vectors)
    _, eta_axis, phi_axis = coordinates(axes)
    d_phi = torch.remainder(phi - phi_axis + torch.pi, 2 * torch.pi) - torch.pi
    d_eta = eta - eta_axis
    return torch.stack((d_eta, d_phi, torch.hypot(d_eta, d_phi)), dim=-1)


def relative_features(vectors: Tensor, axes: Tensor, wholes: Tensor) -> Tensor:
    """Return Δη, Δφ, ΔR to axes and ln shares of wholes' pT and E, scaled: (T, 5) of (T, 4)."""
    pt, energy = coordinates(vectors)[0], vectors[:, 3].float()
    pt_whole, energy_whole = coordinates(wholes)[0], wholes[:, 3].float()
    shares = torch.stack(
        (
            (pt / pt_whole.clamp(min=EPSILON)).clamp(min=EPSILON).log(),
            (energy / energy_whole.clamp(min=EPSILON)).clamp(min=EPSILON).log(),
        ),
        dim=1,
    )
    # As Sophon's inputs are.
    shares = ((shares + 4.7) * 0.7).clamp(-5, 5)
    return torch.cat((relative_angles(vectors, axes), shares), dim=1)


def log_scale(wholes: Tensor) -> Tensor:
    """Return ln(reference / pT), (T,), of four-vectors (T, 4)."""
    return (REFERENCE_PT / coordinates(wholes)[0].clamp(min=EPSILON)).log()


class ConstituentTokens(nn.Module):
    """Every constituent is a token."""

    def __init__(self, config: ConstituentEncoderConfig, features: int):
        super().__init__()
        layers: list[nn.Module] = []
        width = features + RELATIVE_FEATURES
        for units in config.embedding:
            layers += [nn.Linear(width, units), nn.GELU(), nn.LayerNorm(units)]
            width = units
        self.network = nn.Sequential(*layers, nn.Linear(width, config.width))

    @staticmethod
    def mask(jets: Jets) -> Tensor:
        """Which tokens a jet has, (B, N)."""
        return jets.mask

    @staticmethod
    def places(jets: Jets) -> Tensor:
        """Four-vectors in the directions of the tokens, (B, N, 4)."""
        return jets.vectors

    def forward(self, jets: Jets, visible: Tensor) -> Inputs:
        """Return the tokens of which `visible`, (B, N), is true."""
        rows = visible.flatten().nonzero().squeeze(1)
        counts = visible.sum(dim=1)
        owner = owners(counts, len(rows))
        features, vectors = (x.flatten(0, 1)[rows] for x in (jets.features, jets.vectors))
        whole = momentum_sums(vectors, owner, counts)[owner]
        relative = relative_features(vectors, whole, whole)
        values = self.network(torch.cat((features.float(), relative), dim=1))
        return Inputs(values, vectors, log_scale(whole))


class PatchTokens(nn.Module):
    """Every patch of constituents is a token."""

    def __init__(self, config: PatchEncoderConfig, features: int):
        super().__init__()
        self.points = PointNetwork(features + RELATIVE_FEATURES, config.embedding, config.width)
        self.position = nn.Sequential(
            nn.Linear(RELATIVE_FEATURES + 1, config.width),
            nn.GELU(),
            nn.Linear(config.width, config.width),
        )

    @staticmethod
    def mask(jets: Jets) -> Tensor:
        """Which tokens a jet has, (B, P)."""
        assert jets.patches is not None, "jets have to be divided into patches"
        return jets.patches.mask

    @staticmethod
    def places(jets: Jets) -> Tensor:
        """Four-vectors in the directions of the tokens, (B, P, 4): those of the centres."""
        assert jets.patches is not None, "jets have to be divided into patches"
        return jets.vectors.gather(1, jets.patches.centre[:, :, None].expand(-1, -1, 4))

    def forward(self, jets: Jets, visible: Tensor) -> Inputs:
        """Return the tokens of which `visible`, (B, P), is true."""
        assert jets.patches is not None, "jets have to be divided into patches"
        of = jets.patches.of
        rows = (jets.mask & visible.gather(1, of)).flatten().nonzero().squeeze(1)
        features, vectors = (x.flatten(0, 1)[rows] for x in (jets.features, jets.vectors))
        seen = visible.flatten().nonzero().squeeze(1)
        per_jet = visible.sum(dim=1)
        # Of each constituent its patch, and of each patch its jet, among the visible ones.
        patch = (visible.flatten().cumsum(0) - 1).view_as(visible).gather(1, of).flatten()[rows]
        owner = owners(per_jet, len(seen))
        counts = torch.zeros_like(owner).index_add(0, patch, torch.ones_like(patch))
        sums = momentum_sums(vectors, patch, counts)
        centres = self.places(jets).flatten(0, 1)[seen]
        inside = relative_features(vectors, centres[patch], sums[patch])
        whole = momentum_sums(sums, owner, per_jet)[owner]
        outside = relative_features(centres, whole, whole)
        outside = torch.cat((outside, counts[:, None].float().log()), dim=1)
        values = self.points(torch.cat((features.float(), inside), dim=1), patch, counts)
        return Inputs(values + self.position(outside), sums, log_scale(whole))


class PairBias(nn.Module):
    """Pair features of tokens to an additive attention bias per head, without batch statistics."""

    centre: Tensor
    scale: Tensor
    powers: Tensor

    def __init__(self, widths: tuple[int, ...], heads: int):
        super().__init__()
        self.register_buffer("centre", torch.tensor(PAIR_CENTRE), persistent=False)
        self.register_buffer("scale", torch.tensor(PAIR_SCALE), persistent=False)
        self.register_buffer("powers", torch.tensor(PAIR_POWERS), persistent=False)
        layers: list[nn.Module] = []
        width = 4
        for units in widths:
            layers += [nn.Linear(width, units), nn.GELU()]
            width = units
        self.network = nn.Sequential(*layers, nn.Linear(width, heads))

    def elements(self, particles: Tensor, log_scale: Tensor, pairs: Pairs) -> Tensor:
        """Return the bias of each pair, (P, heads); arguments as in `forward`."""
        ends = (particles.index_select(0, rows) for rows in (pairs.first, pairs.second))
        # Vectors stay as they are: a factor would be rounded, and masses of close pairs with it.
        shift = log_scale.index_select(0, pairs.first)[:, None] * self.powers
        features = (pair_features(*ends) + shift - self.centre) * self.scale
        return self.network(features.clamp(-PAIR_LIMIT, PAIR_LIMIT))

    def forward(
        self,
        particles: Tensor,
        log_scale: Tensor,
        groups: Sequence[Layout],
        pairs: Sequence[Pairs],
    ) -> list[Tensor]:
        """Return the bias (B, heads, N, N) of each group.

        `particles` are (T, 7), see `kinematics`, and `log_scale` (T,) is their jets'.
        """
        rows = [self.elements(particles, log_scale, own) for own in pairs]
        biases = []
        for group, bias, pair in zip(groups, rows, pairs, strict=True):
            jets, length = group.mask.shape
            full = bias.new_zeros(jets * length * length, bias.shape[1])
            full = full.index_copy(0, pair.cell, bias).index_copy(0, pair.mirror, bias)
            full = full.view(jets, length, length, -1).permute(0, 3, 1, 2)
            biases.append(full.masked_fill(~group.mask[:, None, None, :], MASKED).contiguous())
        return biases


@dataclass(frozen=True)
class PackedTokens:
    """Visible tokens of a batch, arranged for attention by the number that a jet has."""

    arrangement: Arrangement
    rows: Tensor  # (T,) token, in the order of jets, at each place of the arrangement

    @classmethod
    def of(cls, visible: Tensor, groups: int) -> "PackedTokens":
        """Arrange tokens of which `visible`, (B, S), tells where they are."""
        counts = visible.sum(dim=1)
        slots = visible.shape[1]
        compact = torch.arange(slots, device=visible.device) < counts[:, None]
        arrangement = Arrangement.of(compact, groups)
        begin = counts.cumsum(0) - counts
        rows = arrangement.rows
        return cls(arrangement, begin[rows // slots] + rows % slots)

    def with_registers(self, registers: int) -> list[Layout]:
        """Return the groups with so many more tokens at the front of each jet, and in packing."""
        layouts = []
        for group in self.arrangement.groups:
            jets, length = group.mask.shape
            wide = length + registers
            first = torch.arange(jets * registers, device=group.rows.device)
            front = first // max(registers, 1) * wide + first % max(registers, 1)
            rows = group.rows // length * wide + registers + group.rows % length
            mask = functional.pad(group.mask, (registers, 0), value=True)
            layouts.append(Layout(mask, torch.cat((front, rows))))
        return layouts

    def unpack(self, x: Tensor) -> Tensor:
        """Bring tokens (T, C) back into the order of jets."""
        return torch.empty_like(x).index_copy(0, self.rows, x)


class JetEncoder(nn.Module):
    """Jets to tokens that know of each other.

    Parameters
    ----------
    config
        The sizes.
    features
        Number of features per constituent.
    """

    def __init__(self, config: PatchEncoderConfig | ConstituentEncoderConfig, features: int):
        super().__init__()
        self.width, self.length_groups = config.width, config.length_groups
        sizes = config.width, config.heads, config.feedforward_ratio
        self.heads, self.feedforward_ratio = config.heads, config.feedforward_ratio
        self.tokens: PatchTokens | ConstituentTokens
        if isinstance(config, PatchEncoderConfig):
            self.tokens = PatchTokens(config, features)
        else:
            self.tokens = ConstituentTokens(config, features)
        self.registers = nn.Parameter(0.02 * torch.randn(config.registers, config.width))
        self.pair_bias = PairBias(config.pair_bias, config.heads)
        self.blocks = nn.ModuleList(
            ParticleBlock(*sizes, config.dropout) for _ in range(config.blocks)
        )
        self.norm = nn.LayerNorm(config.width)
        shrink_with_depth(self.blocks)

    def forward(self, jets: Jets, visible: Tensor | None = None) -> Tokens:
        """Encode jets of which only the tokens `visible`, (B, S), exist; or all tokens."""
        tokens, registers, _ = self.encode(jets, visible)
        return Tokens(tokens, registers)

    def encode(
        self, jets: Jets, visible: Tensor | None = None, layers: int = 1
    ) -> tuple[Tensor, Tensor, PackedTokens]:
        """Return also how the tokens were arranged.

        With more than one of `layers` the tokens are the mean of what the last blocks make, each
        normalised (arXiv:2202.03555).
        """
        visible = self.tokens.mask(jets) if visible is None else visible
        inputs = self.tokens(jets, visible)
        packed = PackedTokens.of(visible, self.length_groups)
        groups = packed.arrangement.groups
        number = len(self.registers)
        particles = kinematics(inputs.vectors[packed.rows]), inputs.log_scale[packed.rows]
        biases = [
            functional.pad(bias, (number, 0, number, 0))
            for bias in self.pair_bias(*particles, groups, packed.arrangement.pairs)
        ]
        layouts = packed.with_registers(number)
        kind = inputs.values.dtype
        parts = [
            torch.cat((self.registers.to(kind).repeat(len(group.mask), 1), own))
            for group, own in zip(groups, split(inputs.values[packed.rows], groups), strict=True)
        ]
        x = torch.cat(parts)
        made = []
        for block in self.blocks:
            x = block(x, layouts, biases)
            made.append(x)
        if layers == 1:
            x = self.norm(x)
        else:
            last = [functional.layer_norm(own.float(), x.shape[1:]) for own in made[-layers:]]
            x = torch.stack(last).mean(dim=0)
        sizes = [size for group in groups for size in (len(group.mask) * number, len(group.rows))]
        parts = x.split(sizes)
        registers = torch.cat(parts[::2]).unflatten(0, (len(visible), number))
        registers = registers[packed.arrangement.order.argsort()]
        return packed.unpack(torch.cat(parts[1::2])), registers, packed


def shrink_with_depth(blocks: nn.ModuleList) -> None:
    """Draw the weights of blocks; residual branches shrink with depth, so that steps are calm."""
    for depth, block in enumerate(blocks, start=1):
        for layer in block.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
        with torch.no_grad():
            for branch in (block.out_projection, block.contract):
                assert isinstance(branch, nn.Linear)
                branch.weight /= (2 * depth) ** 0.5


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
        self, tokens: Tensor, context: Tensor, targets: Tensor, positions: Tensor
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

        Returns
        -------
        Tensor
            (targets, width): set by set, jet by jet.
        """
        sets = len(targets)
        visible = (context | targets).flatten(0, 1)
        where = visible.flatten().nonzero().squeeze(1)
        hidden = targets.flatten()[where]
        row = (context.flatten().cumsum(0) - 1).clamp(min=0).repeat(sets)[where]
        seen = self.narrow(tokens).index_select(0, row)
        x = torch.where(hidden[:, None], self.hidden.to(seen.dtype), seen)
        x = x + self.position(positions.flatten(0, 1).repeat(sets, 1)[where])
        packed = PackedTokens.of(visible, self.length_groups)
        groups = packed.arrangement.groups
        biases = [MASKED * (~g.mask[:, None, None, :]).to(x.dtype) for g in groups]
        x = x[packed.rows]
        for block in self.blocks:
            x = block(x, groups, biases)
        x = packed.unpack(x)[hidden.nonzero().squeeze(1)]
        return self.output(self.norm(x))


class Prediction(NamedTuple):
    """What a student predicts and a teacher says."""

    predicted: Tensor  # (M, width) of hidden tokens: set by set, jet by jet
    target: Tensor  # (M, width) normalised token by token, without gradient
    hidden: Tensor  # (M,) where each is in the flattened (K, B, S)
    jet: Tensor  # (M,) the jet of each
    tokens: Tensor  # (T, width) of the student, jet by jet
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
        self, jets: Jets, context: Tensor, targets: Tensor, features: Tensor | None = None
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
        """
        seen = jets if features is None else jets._replace(features=features)
        tokens, _ = self.encoder(seen, context)
        counts = context.sum(dim=1)
        owner = owners(counts, len(tokens))
        # The directions of tokens as seen from the context.
        places = self.encoder.tokens.places(jets)
        axes = (places * context[:, :, None]).sum(dim=1)
        positions = relative_angles(places, axes[:, None])
        hidden = targets.flatten().nonzero().squeeze(1)
        jet = hidden // targets.shape[2] % targets.shape[1]
        average = pool(tokens, owner, counts, "average")
        if self.predictor is None:
            predicted = average[jet]
        else:
            predicted = self.predictor(tokens, context, targets, positions)
        with torch.no_grad():
            everything = self.encoder.tokens.mask(jets)
            answers, _, _ = self.teacher.encode(jets, layers=self.target_layers)
            row = (everything.flatten().cumsum(0) - 1).expand(len(targets), -1)
            target = answers[row.flatten()[hidden]].float()
            target = functional.layer_norm(target, target.shape[1:])
        return Prediction(predicted, target, hidden, jet, tokens, average)

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
        tokens, _, packed = self.encoder.encode(jets)
        if not self.class_blocks:
            counts = self.encoder.tokens.mask(jets).sum(dim=1)
            return self.norm(pool(tokens, owners(counts, len(tokens)), counts, "average"))
        groups = packed.arrangement.groups
        tokens = tokens[packed.rows]
        token = self.class_token.to(tokens.dtype).expand(len(jets.mask), -1, -1)
        for block in self.class_blocks:
            token = block(token, tokens, groups)
        return self.norm(token.squeeze(1))[packed.arrangement.order.argsort()]

    def forward(self, jets: Jets) -> Tensor:
        """Return logits, (B, classes)."""
        return self.head(self.embed(jets))
