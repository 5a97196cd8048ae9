"""Patches of a jet: a partition of its constituents, each described by its own constituents alone.

Centres are constituents far from each other in (η, φ); every constituent belongs to the nearest
one. So patches do not overlap, and what a network is told of one says nothing of the others'
content.
"""

from typing import NamedTuple

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor, nn

from training.models.ragged import pool


class Patches(NamedTuple):
    """The patches of a batch of B jets of up to N constituents."""

    of: Tensor  # (B, N) int64 patch of each constituent; anything where there is none
    centre: Tensor  # (B, P) int64 constituent in the middle of each patch
    mask: Tensor  # (B, P) bool, true for real patches


def partition(
    positions: NDArray[np.float32],
    pt: NDArray[np.float32],
    mask: NDArray[np.bool_],
    patches: int,
) -> Patches:
    """Divide jets into patches.

    Parameters
    ----------
    positions
        (B, N, 2): η and φ of the constituents.
    pt
        (B, N) transverse momenta; the hardest constituent is the first centre, and each further
        centre is the constituent farthest from those before.
    mask
        (B, N), true for real constituents.
    patches
        Most patches of a jet; it has fewer if its constituents are in fewer places.

    Returns
    -------
    Patches
        With P = `patches`.
    """
    jets = len(mask)
    of = np.zeros(mask.shape, np.int64)
    centre = np.zeros((jets, patches), np.int64)
    real = np.zeros((jets, patches), bool)
    _partition(np.ascontiguousarray(positions, np.float32), pt, mask, (of, centre, real))
    return Patches(*map(torch.from_numpy, (of, centre, real)))


@njit(cache=True)
def _partition(positions, pt, mask, out):
    of, centre, real = out
    nearest = np.empty(mask.shape[1])
    for jet in range(len(mask)):
        chosen, hardest = -1, -np.inf
        for i in range(mask.shape[1]):
            nearest[i] = np.inf
            if mask[jet, i] and pt[jet, i] > hardest:
                chosen, hardest = i, pt[jet, i]
        for patch in range(centre.shape[1]):
            # A distance of zero: no constituent is left that is not in the place of a centre.
            if chosen < 0 or nearest[chosen] == 0:
                break
            centre[jet, patch] = chosen
            real[jet, patch] = True
            eta, phi = positions[jet, chosen]
            farthest = -1.0
            chosen = -1
            for i in range(mask.shape[1]):
                if not mask[jet, i]:
                    continue
                d_eta = positions[jet, i, 0] - eta
                d_phi = (positions[jet, i, 1] - phi + np.pi) % (2 * np.pi) - np.pi
                distance = d_eta * d_eta + d_phi * d_phi
                if distance < nearest[i]:
                    nearest[i] = distance
                    of[jet, i] = patch
                if nearest[i] > farthest:
                    farthest, chosen = nearest[i], i


class PointNetwork(nn.Module):
    """The constituents of a patch to its token.

    Parameters
    ----------
    features
        Number of features per constituent.
    widths
        Of the layers that a constituent passes.
    width
        Of the token.
    """

    def __init__(self, features: int, widths: tuple[int, ...], width: int):
        super().__init__()
        layers: list[nn.Module] = []
        for units in widths:
            layers += [nn.Linear(features, units), nn.GELU(), nn.LayerNorm(units)]
            features = units
        self.points = nn.Sequential(*layers)
        self.output = nn.Linear(features, width)

    def forward(self, x: Tensor, patch: Tensor, counts: Tensor) -> Tensor:
        """Map constituents (T, features) to tokens (P, width).

        `patch` (T,) is the patch of each constituent and `counts` (P,) the size of each patch.
        """
        return self.output(pool(self.points(x), patch, counts, "average"))
