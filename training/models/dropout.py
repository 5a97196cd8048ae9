"""Dropout whose random numbers cost less than PyTorch's."""

import torch
from torch import Tensor, nn

# A hash of 32 bits with little bias, lowbias32 by C. Wellons; of integers with a sign.
FACTORS = 0x7FEB352D, 0x846CA68B - 2**32
# An odd number, the golden ratio of 2^32, that spreads 24 random bits over 32.
SPREAD = 0x9E3779B1 - 2**32


def scrambled(x: Tensor) -> Tensor:
    """Return a hash of int32."""
    x = (x ^ ((x >> 16) & 0xFFFF)) * FACTORS[0]
    x = (x ^ ((x >> 15) & 0x1FFFF)) * FACTORS[1]
    return x ^ ((x >> 16) & 0xFFFF)


def hashed_dropout(x: Tensor, probability: float) -> Tensor:
    """Zero elements by a hash of their place and of one random number, and scale up the others.

    The probability is rounded to 2⁻²⁴.
    """
    seed = (torch.rand((), device=x.device) * 2**24).int() * SPREAD
    place = torch.arange(x.numel(), dtype=torch.int32, device=x.device).view(x.shape)
    kept = (scrambled(place ^ seed) >> 8) & 0xFFFFFF >= round(probability * 2**24)
    return torch.where(kept, x * (1 / (1 - probability)), 0)


class CompiledDropout(nn.Dropout):
    """Dropout by a hash where it is compiled for a GPU.

    There, PyTorch's generator computes four numbers of ten rounds each for every one that is used,
    which takes longer than reading and writing the element.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Zero elements at random and scale up the others, in training."""
        if x.is_cuda and torch.compiler.is_compiling() and self.training and self.p > 0:
            return hashed_dropout(x, self.p)
        return super().forward(x)


class Dropout(CompiledDropout):
    """The same, and on a CPU a quarter of a random number per element.

    There, drawing random numbers for attention weights takes longer than attending. The
    probability is rounded to 1/65536.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Zero elements at random and scale up the others, in training."""
        if x.is_cuda or torch.compiler.is_compiling() or not self.training or self.p == 0:
            return super().forward(x)
        dropped = round(65536 * self.p)
        words = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        keep = words.view(torch.int16)[: x.numel()].view(x.shape) >= dropped - 32768
        return x * keep.to(x.dtype).mul_(65536 / (65536 - dropped))
