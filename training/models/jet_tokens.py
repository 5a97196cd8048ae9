"""Jets as tokens: constituents, or patches of them, of which a network sees what is visible.

What is made of visible tokens depends on them alone, to the bit: angles and shares of momentum are
relative to what is visible, and nothing is known of the jet.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.models.arrangement import Room
from training.models.patch_tokens import Patches, PointNetwork
from training.models.ragged import Rows, pool
from training.models.sizes import ConstituentEncoderConfig, PatchEncoderConfig

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


class Inputs(NamedTuple):
    """Visible tokens, jet by jet, before attention."""

    rows: Rows  # where they are among the (B, S)
    values: Tensor  # (T, width)
    vectors: Tensor  # (T, 4)
    log_scale: Tensor  # (T,) logarithm of what scales the visible jet to the reference


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

    def forward(self, jets: Jets, visible: Tensor, room: Room | None = None) -> Inputs:
        """Return the tokens of which `visible`, (B, N), is true."""
        rows = Rows.of(visible, None if room is None else sum(room.tokens))
        features, vectors = rows.take(jets.features), rows.take(jets.vectors)
        whole = rows.wholes(vectors)
        relative = relative_features(vectors, whole, whole)
        values = self.network(torch.cat((features.float(), relative), dim=1))
        return Inputs(rows, values, vectors, log_scale(whole))


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

    def forward(self, jets: Jets, visible: Tensor, room: Room | None = None) -> Inputs:
        """Return the tokens of which `visible`, (B, P), is true."""
        assert jets.patches is not None, "jets have to be divided into patches"
        of = jets.patches.of
        inside = Rows.of(
            jets.mask & visible.gather(1, of), None if room is None else room.constituents
        )
        rows = Rows.of(visible, None if room is None else sum(room.tokens))
        features, vectors = inside.take(jets.features), inside.take(jets.vectors)
        # Of each constituent its patch among the visible ones; behind them, what is only room.
        patches = len(rows.place)
        patch = (visible.flatten().cumsum(0) - 1).view_as(visible).gather(1, of)
        patch = torch.where(inside.real, patch.flatten()[inside.place], patches)
        counts = torch.zeros(patches + 1, dtype=torch.int64, device=patch.device)
        counts = counts.index_add(0, patch, torch.ones_like(patch))
        sums = pool(vectors, patch, counts, "sum")
        centres = rows.take(self.places(jets))
        centre = functional.pad(centres, (0, 0, 0, 1)).index_select(0, patch)
        within = relative_features(vectors, centre, sums.index_select(0, patch))
        values = self.points(torch.cat((features.float(), within), dim=1), patch, counts)
        sums, counts = sums[:-1], counts[:-1]
        whole = rows.wholes(sums)
        outside = relative_features(centres, whole, whole)
        size = counts[:, None].clamp(min=1).float().log()
        position = self.position(torch.cat((outside, size), dim=1))
        return Inputs(rows, values[:-1] + position, sums, log_scale(whole))
