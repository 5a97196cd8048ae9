"""Attention of jets laid end to end, with a learned bias, and that of a class token."""

# ruff: noqa: N803  (capitals are what Triton compiles in)
import torch
import triton
import triton.language as tl
from torch import Tensor

from training.models.kernels.common import dropping, kept, padded, pitch_of

# Rows and columns of a tile, and how its work is shared out: the quickest tried on an H200.
ATTENTION = {"BLOCK": 32, "num_warps": 2, "num_stages": 1}
TOKEN = {"BLOCK": 64, "num_warps": 4}


@triton.jit
def _attend(
    projected, bias, out, normaliser, offsets, squares, seed, cells, rows, scale, threshold, boost,
    HEADS: tl.constexpr, WIDTH: tl.constexpr, PADDED: tl.constexpr, BLOCK: tl.constexpr,
    DROPS: tl.constexpr,
):  # fmt: skip
    jet, head = tl.program_id(0) // HEADS, tl.program_id(0) % HEADS
    begin = tl.load(offsets + jet)
    n = tl.load(offsets + jet + 1) - begin
    square = tl.multiple_of(head * cells + tl.load(squares + jet), 8)
    pitch = tl.multiple_of(pitch_of(n), 8)
    total = HEADS * WIDTH
    d = tl.arange(0, PADDED)
    query = projected + head * WIDTH
    key, value = query + total, query + 2 * total
    for i0 in range(0, n, BLOCK):
        i = i0 + tl.arange(0, BLOCK)
        at_i = (begin + i)[:, None] * (3 * total) + d[None, :]
        real_i = (i < n)[:, None] & (d < WIDTH)[None, :]
        q = tl.load(query + at_i, mask=real_i, other=0)
        largest = tl.full((BLOCK,), float("-inf"), tl.float32)
        weights = tl.zeros((BLOCK,), tl.float32)
        attended = tl.zeros((BLOCK, PADDED), tl.float32)
        for j0 in range(0, n, BLOCK):
            j = j0 + tl.arange(0, BLOCK)
            at_j = (begin + j)[:, None] * (3 * total) + d[None, :]
            real_j = (j < n)[:, None] & (d < WIDTH)[None, :]
            k = tl.load(key + at_j, mask=real_j, other=0)
            v = tl.load(value + at_j, mask=real_j, other=0)
            place = square + i[:, None] * pitch + j[None, :]
            inside = (i < n)[:, None] & (j < n)[None, :]
            score = tl.dot(q, tl.trans(k), input_precision="tf32x3") * scale
            score += tl.load(bias + place, mask=inside, other=0).to(tl.float32)
            score = tl.where((j < n)[None, :], score, float("-inf"))
            larger = tl.maximum(largest, tl.max(score, 1))
            shrink = tl.exp(largest - larger)
            p = tl.exp(score - larger[:, None])
            weights = weights * shrink + tl.sum(p, 1)
            if DROPS:
                p = tl.where(kept(place, seed, threshold), p * boost, 0.0)
            attended = attended * shrink[:, None]
            attended += tl.dot(p.to(v.dtype), v, input_precision="tf32x3")
            largest = larger
        at_out = (begin + i)[:, None] * total + head * WIDTH + d[None, :]
        tl.store(out + at_out, attended / weights[:, None], mask=real_i)
        tl.store(normaliser + head * rows + begin + i, largest + tl.log(weights), mask=i < n)


@triton.jit
def _attend_backward(
    projected, bias, out, normaliser, grad_out, grad, grad_bias, offsets, squares, seed, cells,
    rows, scale, threshold, boost,
    HEADS: tl.constexpr, WIDTH: tl.constexpr, PADDED: tl.constexpr, BLOCK: tl.constexpr,
    DROPS: tl.constexpr,
):  # fmt: skip
    jet, head = tl.program_id(0) // HEADS, tl.program_id(0) % HEADS
    begin = tl.load(offsets + jet)
    n = tl.load(offsets + jet + 1) - begin
    square = tl.multiple_of(head * cells + tl.load(squares + jet), 8)
    pitch = tl.multiple_of(pitch_of(n), 8)
    total = HEADS * WIDTH
    d = tl.arange(0, PADDED)
    query = projected + head * WIDTH
    key, value = query + total, query + 2 * total
    # First through the keys: for those, the values and the biases.
    for j0 in range(0, n, BLOCK):
        j = j0 + tl.arange(0, BLOCK)
        at_j = (begin + j)[:, None] * (3 * total) + d[None, :]
        real_j = (j < n)[:, None] & (d < WIDTH)[None, :]
        k = tl.load(key + at_j, mask=real_j, other=0)
        v = tl.load(value + at_j, mask=real_j, other=0)
        grad_k = tl.zeros((BLOCK, PADDED), tl.float32)
        grad_v = tl.zeros((BLOCK, PADDED), tl.float32)
        for i0 in range(0, n, BLOCK):
            i = i0 + tl.arange(0, BLOCK)
            at_i = (begin + i)[:, None] * (3 * total) + d[None, :]
            at_out = (begin + i)[:, None] * total + head * WIDTH + d[None, :]
            real_i = (i < n)[:, None] & (d < WIDTH)[None, :]
            q = tl.load(query + at_i, mask=real_i, other=0)
            o = tl.load(out + at_out, mask=real_i, other=0).to(tl.float32)
            g = tl.load(grad_out + at_out, mask=real_i, other=0)
            log_weight = tl.load(
                normaliser + head * rows + begin + i, mask=i < n, other=float("inf")
            )
            place = square + i[:, None] * pitch + j[None, :]
            inside = (i < n)[:, None] & (j < n)[None, :]
            score = tl.dot(q, tl.trans(k), input_precision="tf32x3") * scale
            score += tl.load(bias + place, mask=inside, other=0).to(tl.float32)
            p = tl.where(inside, tl.exp(score - log_weight[:, None]), 0.0)
            grad_p = tl.dot(g, tl.trans(v), input_precision="tf32x3")
            dropped = p
            if DROPS:
                keep = kept(place, seed, threshold)
                dropped = tl.where(keep, p * boost, 0.0)
                grad_p = tl.where(keep, grad_p * boost, 0.0)
            mean = tl.sum(o * g.to(tl.float32), 1)
            grad_score = (p * (grad_p - mean[:, None])).to(q.dtype)
            tl.store(grad_bias + place, grad_score, mask=inside)
            grad_k += tl.dot(tl.trans(grad_score), q, input_precision="tf32x3")
            grad_v += tl.dot(tl.trans(dropped.to(g.dtype)), g, input_precision="tf32x3")
        tl.store(grad + total + head * WIDTH + at_j, grad_k * scale, mask=real_j)
        tl.store(grad + 2 * total + head * WIDTH + at_j, grad_v, mask=real_j)
    # Then through the queries, with what other threads have stored.
    tl.debug_barrier()
    for i0 in range(0, n, BLOCK):
        i = i0 + tl.arange(0, BLOCK)
        grad_q = tl.zeros((BLOCK, PADDED), tl.float32)
        for j0 in range(0, n, BLOCK):
            j = j0 + tl.arange(0, BLOCK)
            at_j = (begin + j)[:, None] * (3 * total) + d[None, :]
            real_j = (j < n)[:, None] & (d < WIDTH)[None, :]
            k = tl.load(key + at_j, mask=real_j, other=0)
            place = square + i[:, None] * pitch + j[None, :]
            inside = (i < n)[:, None] & (j < n)[None, :]
            grad_score = tl.load(grad_bias + place, mask=inside, other=0, cache_modifier=".cg")
            grad_q += tl.dot(grad_score.to(k.dtype), k, input_precision="tf32x3")
        at_i = (begin + i)[:, None] * (3 * total) + head * WIDTH + d[None, :]
        real_i = (i < n)[:, None] & (d < WIDTH)[None, :]
        tl.store(grad + at_i, grad_q * scale, mask=real_i)


@triton.jit
def _attend_from_token(
    query, own, pairs, out, normaliser, offsets, scale,
    HEADS: tl.constexpr, WIDTH: tl.constexpr, PADDED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    jet, head = tl.program_id(0) // HEADS, tl.program_id(0) % HEADS
    begin = tl.load(offsets + jet)
    n = tl.load(offsets + jet + 1) - begin
    total = HEADS * WIDTH
    d = tl.arange(0, PADDED)
    real_d = d < WIDTH
    column = head * WIDTH + d
    q = tl.load(query + jet * total + column, mask=real_d, other=0).to(tl.float32) * scale
    own_k = tl.load(own + jet * 2 * total + column, mask=real_d, other=0).to(tl.float32)
    attended = tl.load(own + jet * 2 * total + total + column, mask=real_d, other=0).to(tl.float32)
    largest = tl.sum(q * own_k, 0)
    weight = tl.full((), 1.0, tl.float32)
    for j0 in range(0, n, BLOCK):
        j = j0 + tl.arange(0, BLOCK)
        at = (begin + j)[:, None] * (2 * total) + column[None, :]
        real = (j < n)[:, None] & real_d[None, :]
        k = tl.load(pairs + at, mask=real, other=0).to(tl.float32)
        v = tl.load(pairs + total + at, mask=real, other=0).to(tl.float32)
        score = tl.where(j < n, tl.sum(k * q[None, :], 1), float("-inf"))
        larger = tl.maximum(largest, tl.max(score, 0))
        shrink = tl.exp(largest - larger)
        p = tl.exp(score - larger)
        weight = weight * shrink + tl.sum(p, 0)
        attended = attended * shrink + tl.sum(p[:, None] * v, 0)
        largest = larger
    tl.store(out + jet * total + column, attended / weight, mask=real_d)
    tl.store(normaliser + jet * HEADS + head, largest + tl.log(weight))


@triton.jit
def _attend_from_token_backward(
    query, own, pairs, out, normaliser, grad_out, grad_query, grad_own, grad_pairs, offsets, scale,
    HEADS: tl.constexpr, WIDTH: tl.constexpr, PADDED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    jet, head = tl.program_id(0) // HEADS, tl.program_id(0) % HEADS
    begin = tl.load(offsets + jet)
    n = tl.load(offsets + jet + 1) - begin
    total = HEADS * WIDTH
    d = tl.arange(0, PADDED)
    real_d = d < WIDTH
    column = head * WIDTH + d
    at = jet * total + column
    q = tl.load(query + at, mask=real_d, other=0).to(tl.float32) * scale
    o = tl.load(out + at, mask=real_d, other=0).to(tl.float32)
    g = tl.load(grad_out + at, mask=real_d, other=0).to(tl.float32)
    log_weight = tl.load(normaliser + jet * HEADS + head)
    mean = tl.sum(o * g, 0)
    at_own = jet * 2 * total + column
    k = tl.load(own + at_own, mask=real_d, other=0).to(tl.float32)
    v = tl.load(own + total + at_own, mask=real_d, other=0).to(tl.float32)
    p = tl.exp(tl.sum(q * k, 0) - log_weight)
    grad_score = p * (tl.sum(g * v, 0) - mean)
    tl.store(grad_own + at_own, grad_score * q, mask=real_d)
    tl.store(grad_own + total + at_own, p * g, mask=real_d)
    grad_q = grad_score * k
    for j0 in range(0, n, BLOCK):
        j = j0 + tl.arange(0, BLOCK)
        at_j = (begin + j)[:, None] * (2 * total) + column[None, :]
        real = (j < n)[:, None] & real_d[None, :]
        k_j = tl.load(pairs + at_j, mask=real, other=0).to(tl.float32)
        v_j = tl.load(pairs + total + at_j, mask=real, other=0).to(tl.float32)
        p_j = tl.where(j < n, tl.exp(tl.sum(k_j * q[None, :], 1) - log_weight), 0.0)
        grad_j = p_j * (tl.sum(v_j * g[None, :], 1) - mean)
        tl.store(grad_pairs + at_j, grad_j[:, None] * q[None, :], mask=real)
        tl.store(grad_pairs + total + at_j, p_j[:, None] * g[None, :], mask=real)
        grad_q += tl.sum(grad_j[:, None] * k_j, 0)
    tl.store(grad_query + at, grad_q * scale, mask=real_d)


@torch.library.custom_op("jets::attend", mutates_args=())
def attend(
    projected: Tensor,
    bias: Tensor,
    offsets: Tensor,
    squares: Tensor,
    seed: Tensor,
    heads: int,
    dropout: float,
) -> tuple[Tensor, Tensor]:
    """Let the constituents of each jet attend to each other.

    Parameters
    ----------
    projected
        (T, 3 C): queries, keys and values, heads one after the other in each.
    bias
        (heads, S), joins the scores.
    offsets, squares
        (B + 1,) int32, see the module.
    seed
        () int32, of the dropout.

    Returns
    -------
    tuple of Tensor
        (T, C), and the logarithms of the sums of weights, (heads, T).
    """
    rows, width = projected.shape[0], projected.shape[1] // 3
    projected, bias = projected.contiguous(), bias.contiguous()
    out = projected.new_zeros(rows, width)
    normaliser = projected.new_empty(heads, rows, dtype=torch.float32)
    threshold, boost = dropping(dropout)
    _attend[((len(offsets) - 1) * heads,)](
        projected, bias, out, normaliser, offsets, squares, seed, bias.shape[1], rows,
        (width // heads) ** -0.5, threshold, boost,
        HEADS=heads, WIDTH=width // heads, PADDED=padded(width // heads), DROPS=dropout > 0,
        **ATTENTION,
    )  # fmt: skip
    return out, normaliser


@attend.register_fake
def _(projected, bias, offsets, squares, seed, heads, dropout):
    rows, width = projected.shape[0], projected.shape[1] // 3
    return projected.new_empty(rows, width), projected.new_empty(heads, rows, dtype=torch.float32)


@torch.library.custom_op("jets::attend_backward", mutates_args=())
def attend_backward(
    grad_out: Tensor,
    projected: Tensor,
    bias: Tensor,
    out: Tensor,
    normaliser: Tensor,
    offsets: Tensor,
    squares: Tensor,
    seed: Tensor,
    heads: int,
    dropout: float,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of `projected` and `bias`."""
    rows, width = out.shape
    projected, bias = projected.contiguous(), bias.contiguous()
    grad, grad_bias = torch.zeros_like(projected), torch.empty_like(bias)
    threshold, boost = dropping(dropout)
    _attend_backward[((len(offsets) - 1) * heads,)](
        projected, bias, out, normaliser, grad_out.contiguous(), grad, grad_bias, offsets, squares,
        seed, bias.shape[1], rows, (width // heads) ** -0.5, threshold, boost,
        HEADS=heads, WIDTH=width // heads, PADDED=padded(width // heads), DROPS=dropout > 0,
        **ATTENTION,
    )  # fmt: skip
    return grad, grad_bias


@attend_backward.register_fake
def _(grad_out, projected, bias, out, normaliser, offsets, squares, seed, heads, dropout):
    return torch.empty_like(projected), torch.empty_like(bias)


def _attend_setup(ctx, inputs, output):
    projected, bias, offsets, squares, seed, ctx.heads, ctx.dropout = inputs
    ctx.save_for_backward(projected, bias, *output, offsets, squares, seed)


def _attend_gradient(ctx, grad_out, _):
    grads = attend_backward(grad_out, *ctx.saved_tensors, ctx.heads, ctx.dropout)
    return *grads, None, None, None, None, None


attend.register_autograd(_attend_gradient, setup_context=_attend_setup)


@torch.library.custom_op("jets::attend_from_token", mutates_args=())
def attend_from_token(
    query: Tensor, own: Tensor, pairs: Tensor, offsets: Tensor, heads: int
) -> tuple[Tensor, Tensor]:
    """Let one token per jet attend to itself and the constituents.

    Parameters
    ----------
    query
        (B, C), of the tokens.
    own, pairs
        (B, 2 C) and (T, 2 C): keys and values of the tokens and the constituents.

    Returns
    -------
    tuple of Tensor
        (B, C), and the logarithms of the sums of weights, (B, heads).
    """
    jets, width = query.shape
    query, own, pairs = query.contiguous(), own.contiguous(), pairs.contiguous()
    out = torch.empty_like(query)
    normaliser = query.new_empty(jets, heads, dtype=torch.float32)
    _attend_from_token[(jets * heads,)](
        query, own, pairs, out, normaliser, offsets, (width // heads) ** -0.5,
        HEADS=heads, WIDTH=width // heads, PADDED=padded(width // heads), **TOKEN,
    )  # fmt: skip
    return out, normaliser


@attend_from_token.register_fake
def _(query, own, pairs, offsets, heads):
    return torch.empty_like(query), query.new_empty(query.shape[0], heads, dtype=torch.float32)


@torch.library.custom_op("jets::attend_from_token_backward", mutates_args=())
def attend_from_token_backward(
    grad_out: Tensor,
    query: Tensor,
    own: Tensor,
    pairs: Tensor,
    out: Tensor,
    normaliser: Tensor,
    offsets: Tensor,
    heads: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of `query`, `own` and `pairs`."""
    jets, width = query.shape
    query, own, pairs = query.contiguous(), own.contiguous(), pairs.contiguous()
    grads = torch.empty_like(query), torch.empty_like(own), torch.zeros_like(pairs)
    _attend_from_token_backward[(jets * heads,)](
        query, own, pairs, out, normaliser, grad_out.contiguous(), *grads, offsets,
        (width // heads) ** -0.5,
        HEADS=heads, WIDTH=width // heads, PADDED=padded(width // heads), **TOKEN,
    )  # fmt: skip
    return grads


@attend_from_token_backward.register_fake
def _(grad_out, query, own, pairs, out, normaliser, offsets, heads):
    return torch.empty_like(query), torch.empty_like(own), torch.empty_like(pairs)


def _token_setup(ctx, inputs, output):
    query, own, pairs, offsets, ctx.heads = inputs
    ctx.save_for_backward(query, own, pairs, *output, offsets)


def _token_gradient(ctx, grad_out, _):
    return *attend_from_token_backward(grad_out, *ctx.saved_tensors, ctx.heads), None, None


attend_from_token.register_autograd(_token_gradient, setup_context=_token_setup)
