"""Attention among the tokens of a jet, biased by what pairs of them have in common.

No layer looks at other jets.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.models.arrangement import Arrangement, Layout, Pairs, Room, split
from training.models.attention import MASKED, ParticleBlock
from training.models.jet_tokens import ConstituentTokens, Jets, PatchTokens
from training.models.pair_features import kinematics, pair_features
from training.models.ragged import Rows
from training.models.sizes import ConstituentEncoderConfig, PatchEncoderConfig

# Of ln kT, ln z, ln ΔR and ln m² in jets of 500 GeV: what makes them of order one. Masses of some
# MeV, which 32 bits do not resolve, are beyond the limit.
PAIR_CENTRE, PAIR_SCALE, PAIR_LIMIT = (-1.0, -2.0, -2.0, 0.0), (0.5, 0.5, 1.0, 0.5), 5.0
# Powers of momentum in them.
PAIR_POWERS = (1.0, 0.0, 0.0, 2.0)


class Tokens(NamedTuple):
    """What an encoder makes of a batch."""

    values: Tensor  # (T, width) of the visible tokens, jet by jet
    registers: Tensor  # (B, registers, width)


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
        layouts: Sequence[Layout],
        pairs: Sequence[Pairs],
    ) -> list[Tensor]:
        """Return the bias (B, heads, N, N) of each layout, a group with registers at its front.

        `particles` are (T, 7), see `kinematics`, and `log_scale` (T,) is their jets'. Neither
        tokens nor registers ask of empty slots, in one of which lies what is only room.
        """
        rows = [self.elements(particles, log_scale, own) for own in pairs]
        biases = []
        for group, layout, bias, pair in zip(groups, layouts, rows, pairs, strict=True):
            jets, length = group.mask.shape
            registers = layout.mask.shape[1] - length
            full = bias.new_zeros(jets * length * length, bias.shape[1])
            full = full.index_copy(0, pair.cell, bias).index_copy(0, pair.mirror, bias)
            full = full.view(jets, length, length, -1).permute(0, 3, 1, 2)
            full = functional.pad(full, (registers, 0, registers, 0))
            biases.append(full.masked_fill(~layout.mask[:, None, None, :], MASKED).contiguous())
        return biases


@dataclass(frozen=True)
class PackedTokens:
    """Visible tokens of a batch, arranged for attention by the number that a jet has."""

    arrangement: Arrangement
    rows: Tensor  # (T,) token, in the order of jets, at each place of the arrangement

    @classmethod
    def of(cls, tokens: Rows, slots: int, groups: int) -> "PackedTokens":
        """Arrange the tokens of jets of at most `slots` each in so many groups."""
        counts = tokens.counts[:-1]
        compact = torch.arange(slots, device=counts.device) < counts[:, None]
        arrangement = Arrangement.of(compact, groups)
        begin = counts.cumsum(0) - counts
        rows = arrangement.rows
        return cls(arrangement, begin[rows // slots] + rows % slots)

    @classmethod
    def within(cls, tokens: Rows, room: Room, pairs: bool) -> "PackedTokens":
        """Arrange them in groups with room for more, with their pairs or not; waits for nothing."""
        arrangement = Arrangement.within(tokens, room, pairs)
        return cls(arrangement, arrangement.rows)

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


class Encoded(NamedTuple):
    """Tokens and where they are."""

    tokens: Tokens
    rows: Rows  # among the (B, S)
    packed: PackedTokens

    def average(self) -> Tensor:
        """Return the mean of the tokens of each jet, (B, width)."""
        return self.rows.average(self.tokens.values)


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
        return self.encode(jets, visible).tokens

    def encode(
        self,
        jets: Jets,
        visible: Tensor | None = None,
        layers: int = 1,
        room: Room | None = None,
    ) -> Encoded:
        """Return also where the tokens are.

        Parameters
        ----------
        jets
            The batch.
        visible
            (B, S) bool: the tokens that exist; None: all.
        layers
            With more than one, the tokens are the mean of what the last blocks make, each
            normalised (arXiv:2202.03555).
        room
            For what is visible. With it sizes are those of the room, and nothing waits for a GPU.
        """
        visible = self.tokens.mask(jets) if visible is None else visible
        inputs = self.tokens(jets, visible, room)
        slots = visible.shape[1]
        if room is None:
            packed = PackedTokens.of(inputs.rows, slots, self.length_groups)
        else:
            packed = PackedTokens.within(inputs.rows, room, pairs=True)
        groups = packed.arrangement.groups
        number = len(self.registers)
        particles = kinematics(inputs.vectors[packed.rows]), inputs.log_scale[packed.rows]
        layouts = packed.with_registers(number)
        biases = self.pair_bias(*particles, groups, layouts, packed.arrangement.pairs)
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
        tokens = packed.unpack(torch.cat(parts[1::2]))
        return Encoded(Tokens(tokens, registers), inputs.rows, packed)


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
