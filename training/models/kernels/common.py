"""What the kernels share: where a jet's numbers are, random numbers, the normal distribution."""

import triton
import triton.language as tl

# Rows of a score matrix begin at multiples of this.
PITCH = tl.constexpr(8)


@triton.jit
def pitch_of(n):
    """Return how many numbers a row of the scores of n constituents takes."""
    return (n + PITCH - 1) // PITCH * PITCH


@triton.jit
def scramble(x):
    """Return a hash of 32 bits with little bias (lowbias32 by C. Wellons)."""
    x = x ^ (x >> 16)
    x = x * tl.full((), 0x7FEB352D, tl.uint32)
    x = x ^ (x >> 15)
    x = x * tl.full((), 0x846CA68B, tl.uint32)
    return x ^ (x >> 16)


@triton.jit
def kept(place, seed, threshold):
    """Return what dropout keeps, by a hash of the place and the seed."""
    word = scramble(place.to(tl.uint32) ^ tl.load(seed).to(tl.uint32))
    return (word >> 8).to(tl.int32) >= threshold


@triton.jit
def normal(x):
    """Return the cumulative distribution and the density of the normal distribution.

    The former within 1e-7, by Abramowitz and Stegun, formula 7.1.26.
    """
    bell = tl.exp(-0.5 * x * x)
    t = 1.0 / (1.0 + 0.3275911 * 0.7071067811865476 * tl.abs(x))
    tail = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027
           + t * 1.061405429))))  # fmt: skip
    tail = 0.5 * tail * bell
    return tl.where(x >= 0, 1.0 - tail, tail), 0.3989422804014327 * bell


def padded(width: int) -> int:
    """Return the smallest size of a tile that holds so many columns."""
    return max(16, triton.next_power_of_2(width))


def dropping(dropout: float) -> tuple[int, float]:
    """Return the threshold of 24-bit numbers and the factor of what is kept."""
    return round(dropout * 2**24), 1 / (1 - dropout)
