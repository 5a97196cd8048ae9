"""Candidates that lie in a cone around others."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from generation.fastsim.candidates import Candidates
from generation.fastsim.kernels import kernel


@dataclass(frozen=True)
class Pairs:
    """Pairs of candidates of the same event, by the row of the first, then of the second.

    Attributes
    ----------
    first, second
        (n,) int64 rows of both.
    distance
        (n,) ΔR in η and φ.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    distance: NDArray[np.float64]

    def where(self, mask: NDArray[np.bool_]) -> "Pairs":
        """Return the pairs where `mask` is true."""
        return Pairs(self.first[mask], self.second[mask], self.distance[mask])


def pairs_within(axes: Candidates, others: Candidates, radius: float) -> Pairs:
    """Return all pairs with ΔR ≤ `radius`, by the directions of their momenta.

    Parameters
    ----------
    axes, others
        The first and second candidates of the pairs.
    radius
        The largest distance.
    """
    angles = axes["eta"], axes["phi"], axes.offsets, others["eta"], others["phi"], others.offsets
    nothing = np.empty(0, np.int64)
    count = _find(*angles, radius, nothing, nothing, np.empty(0))
    pairs = Pairs(np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count))
    _find(*angles, radius, pairs.first, pairs.second, pairs.distance)
    return pairs


def delta_r(axes: Candidates, others: Candidates) -> NDArray[np.float64]:
    """Return ΔR between the candidates of the same rows."""
    angle = np.abs(axes["phi"] - others["phi"])
    return np.hypot(axes["eta"] - others["eta"], np.minimum(angle, 2.0 * np.pi - angle))


@kernel()
def _find(eta, phi, offsets, other_eta, other_phi, other_offsets, radius, first, second, distance):
    """Fill in the pairs, as far as there is room, and return how many there are."""
    count = 0
    for event in range(len(offsets) - 1):
        for i in range(offsets[event], offsets[event + 1]):
            for j in range(other_offsets[event], other_offsets[event + 1]):
                gap = abs(eta[i] - other_eta[j])
                if gap > radius:
                    continue
                angle = abs(phi[i] - other_phi[j])
                separation = math.hypot(gap, min(angle, 2.0 * math.pi - angle))
                if separation <= radius:
                    if count < len(first):
                        first[count], second[count], distance[count] = i, j, separation
                    count += 1
    return count
