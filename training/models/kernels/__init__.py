"""Triton kernels for jets laid end to end, without padding; for GPUs.

What is slow when put together from PyTorch's operations, for it moves much and computes little, is
one operation here, with its derivative. All work in the type of their inputs and add up in 32 bits.

Row i of a jet with n constituents is row `offsets[jet] + i` of the batch. Its scores with all
constituents are n numbers from `squares[jet] + i * pitch`, where the pitch is n rounded up to a
multiple of 8. Its unordered pairs (i, j <= i) are rows `triangles[jet] + i * (i + 1) / 2 + j`.
"""

from training.models.kernels.attention import attend, attend_from_token
from training.models.kernels.pairs import pair_bias
from training.models.kernels.rows import gelu_drop_norm

__all__ = ["attend", "attend_from_token", "gelu_drop_norm", "pair_bias"]
