"""GELU, dropout and layer norm of rows in one pass over memory."""

# ruff: noqa: N803  (capitals are what Triton compiles in)
import torch
import triton
import triton.language as tl
from torch import Tensor

from training.models.kernels.common import dropping, kept, normal, padded

# Rows of a tile, and programs that share all rows, each with sums of its own.
ROWS = {"ROWS": 1, "num_warps": 1, "num_stages": 1}
PROGRAMS = 2112


@triton.jit
def _gelu_drop_norm(
    x, weight, offset, out, means, inverses, seed, rows, eps, threshold, boost,
    WIDTH: tl.constexpr, PADDED: tl.constexpr, ROWS: tl.constexpr, DROPS: tl.constexpr,
):  # fmt: skip
    r = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    c = tl.arange(0, PADDED)
    real = (r < rows)[:, None] & (c < WIDTH)[None, :]
    place = r[:, None] * WIDTH + c[None, :]
    y = tl.load(x + place, mask=real, other=0).to(tl.float32)
    cumulative, _ = normal(y)
    y = y * cumulative
    if DROPS:
        y = tl.where(kept(place, seed, threshold), y * boost, 0.0)
    mean = tl.sum(y, 1) / WIDTH
    y = tl.where((c < WIDTH)[None, :], y - mean[:, None], 0.0)
    inverse = 1 / tl.sqrt(tl.sum(y * y, 1) / WIDTH + eps)
    w = tl.load(weight + c, mask=c < WIDTH, other=0)[None, :]
    b = tl.load(offset + c, mask=c < WIDTH, other=0)[None, :]
    tl.store(out + place, y * inverse[:, None] * w + b, mask=real)
    tl.store(means + r, mean, mask=r < rows)
    tl.store(inverses + r, inverse, mask=r < rows)


@triton.jit
def _gelu_drop_norm_backward(
    grad_out, x, weight, means, inverses, grad, partial, seed, rows, threshold, boost,
    WIDTH: tl.constexpr, PADDED: tl.constexpr, ROWS: tl.constexpr, DROPS: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    c = tl.arange(0, PADDED)
    real_c = c < WIDTH
    w = tl.load(weight + c, mask=real_c, other=0)[None, :]
    of_weight = tl.zeros((PADDED,), tl.float32)
    of_offset = tl.zeros((PADDED,), tl.float32)
    for start in range(program * ROWS, rows, tl.num_programs(0) * ROWS):
        r = start + tl.arange(0, ROWS)
        real = (r < rows)[:, None] & real_c[None, :]
        place = r[:, None] * WIDTH + c[None, :]
        mean = tl.load(means + r, mask=r < rows, other=0)[:, None]
        inverse = tl.load(inverses + r, mask=r < rows, other=0)[:, None]
        u = tl.load(x + place, mask=real, other=0).to(tl.float32)
        g = tl.load(grad_out + place, mask=real, other=0).to(tl.float32)
        cumulative, density = normal(u)
        y = u * cumulative
        slope = cumulative + u * density
        if DROPS:
            factor = tl.where(kept(place, seed, threshold), boost, 0.0)
            y = y * factor
            slope = slope * factor
        y = tl.where(real, (y - mean) * inverse, 0.0)
        of_weight += tl.sum(g * y, 0)
        of_offset += tl.sum(g, 0)
        g = g * w
        mean_1 = tl.sum(g, 1) / WIDTH
        mean_2 = tl.sum(g * y, 1) / WIDTH
        g = (g - mean_1[:, None] - y * mean_2[:, None]) * inverse
        tl.store(grad + place, g * slope, mask=real)
    tl.store(partial + program * 2 * WIDTH + c, of_weight, mask=real_c)
    tl.store(partial + program * 2 * WIDTH + WIDTH + c, of_offset, mask=real_c)


@torch.library.custom_op("jets::gelu_drop_norm", mutates_args=())
def gelu_drop_norm(
    x: Tensor, weight: Tensor, offset: Tensor, seed: Tensor, dropout: float, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Apply GELU, dropout and a layer norm to rows (T, C).

    Returns
    -------
    tuple of Tensor
        (T, C), and the mean and the inverse deviation of each row before the norm, (T,).
    """
    rows, width = x.shape
    x = x.contiguous()
    out = torch.empty_like(x)
    means = x.new_empty(rows, dtype=torch.float32)
    inverses = torch.empty_like(means)
    threshold, boost = dropping(dropout)
    _gelu_drop_norm[(triton.cdiv(rows, ROWS["ROWS"]),)](
        x, weight, offset, out, means, inverses, seed, rows, eps, threshold, boost,
        WIDTH=width, PADDED=padded(width), DROPS=dropout > 0, **ROWS,
    )  # fmt: skip
    return out, means, inverses


@gelu_drop_norm.register_fake
def _(x, weight, offset, seed, dropout, eps):
    one = x.new_empty(x.shape[0], dtype=torch.float32)
    return torch.empty_like(x), one, torch.empty_like(one)


@torch.library.custom_op("jets::gelu_drop_norm_backward", mutates_args=())
def gelu_drop_norm_backward(
    grad_out: Tensor,
    x: Tensor,
    weight: Tensor,
    means: Tensor,
    inverses: Tensor,
    seed: Tensor,
    dropout: float,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of `x`, (T, C), and of `weight` and `offset`, (2, C)."""
    rows, width = x.shape
    x = x.contiguous()
    grad = torch.empty_like(x)
    partial = x.new_empty(PROGRAMS, 2, width, dtype=torch.float32)
    threshold, boost = dropping(dropout)
    _gelu_drop_norm_backward[(PROGRAMS,)](
        grad_out.contiguous(), x, weight, means, inverses, grad, partial, seed, rows, threshold,
        boost, WIDTH=width, PADDED=padded(width), DROPS=dropout > 0, **ROWS,
    )  # fmt: skip
    return grad, partial.sum(0)


@gelu_drop_norm_backward.register_fake
def _(grad_out, x, weight, means, inverses, seed, dropout):
    return torch.empty_like(x), x.new_empty(2, x.shape[1], dtype=torch.float32)


def _norm_setup(ctx, inputs, output):
    x, weight, _, seed, ctx.dropout, _ = inputs
    ctx.save_for_backward(x, weight, *output[1:], seed)


def _norm_gradient(ctx, grad_out, *_):
    grad, of_norm = gelu_drop_norm_backward(grad_out, *ctx.saved_tensors, ctx.dropout)
    return grad, of_norm[0], of_norm[1], None, None, None


gelu_drop_norm.register_autograd(_norm_gradient, setup_context=_norm_setup)
