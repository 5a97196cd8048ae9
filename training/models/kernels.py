"""Triton kernels for jets laid end to end, without padding; for GPUs.

Three things of the Particle Transformer are slow when put together from PyTorch's operations, for
they move much and compute little: attention with a learned bias (`attend`), the class token's
attention (`attend_from_token`) and the pair network with its batch norms (`pair_bias`). Each is one
operation here, with its derivative. All work in the type of their inputs and add up in 32 bits.

Row i of a jet with n constituents is row `offsets[jet] + i` of the batch. Its scores with all
constituents are n numbers from `squares[jet] + i * pitch(n)`, with rows of a multiple of 8 numbers.
Its unordered pairs (i, j <= i) are rows `triangles[jet] + i * (i + 1) / 2 + j`.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

EPSILON = tl.constexpr(1e-8)
PI = tl.constexpr(3.141592653589793)
# Programs that share a long list of rows, each with sums of its own.
PROGRAMS = 528
# Rows of a score matrix begin at multiples of this.
PITCH = tl.constexpr(8)


@triton.jit
def _pitch(n):
    return (n + PITCH - 1) // PITCH * PITCH


@triton.jit
def _scramble(x):
    # Integer hash with low bias (lowbias32 by C. Wellons).
    x = x ^ (x >> 16)
    x = x * tl.full((), 0x7FEB352D, tl.uint32)
    x = x ^ (x >> 15)
    x = x * tl.full((), 0x846CA68B, tl.uint32)
    return x ^ (x >> 16)


@triton.jit
def _keep(place, seed, threshold):
    word = _scramble(place.to(tl.uint32) ^ tl.load(seed).to(tl.uint32))
    return (word >> 8).to(tl.int32) >= threshold


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
    pitch = tl.multiple_of(_pitch(n), 8)
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
                p = tl.where(_keep(place, seed, threshold), p * boost, 0.0)
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
    pitch = tl.multiple_of(_pitch(n), 8)
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
                keep = _keep(place, seed, threshold)
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
    weight = tl.exp(0.0 * largest)
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


@triton.jit
def _pair_features(
    particles, features, places, partial, offsets, squares, triangles, tiles,
    STATISTICS: tl.constexpr, BLOCK_I: tl.constexpr, BLOCK_J: tl.constexpr,
):  # fmt: skip
    jet, tile = tl.program_id(0), tl.program_id(1)
    begin = tl.load(offsets + jet)
    n = tl.load(offsets + jet + 1) - begin
    square, triangle = tl.load(squares + jet), tl.load(triangles + jet)
    pitch = _pitch(n)
    i = tile * BLOCK_I + tl.arange(0, BLOCK_I)
    one = particles + (begin + i) * 7
    real_i = i < n
    pt_1 = tl.load(one, mask=real_i, other=1.0)[:, None]
    rapidity_1 = tl.load(one + 1, mask=real_i, other=0.0)[:, None]
    phi_1 = tl.load(one + 2, mask=real_i, other=0.0)[:, None]
    px_1 = tl.load(one + 3, mask=real_i, other=0.0)[:, None]
    py_1 = tl.load(one + 4, mask=real_i, other=0.0)[:, None]
    pz_1 = tl.load(one + 5, mask=real_i, other=0.0)[:, None]
    energy_1 = tl.load(one + 6, mask=real_i, other=1.0)[:, None]
    c = tl.arange(0, 4)
    sums = tl.zeros((4,), tl.float32)
    squared = tl.zeros((4,), tl.float32)
    for j0 in range(0, tl.minimum(tile * BLOCK_I + BLOCK_I, n), BLOCK_J):
        j = j0 + tl.arange(0, BLOCK_J)
        other = particles + (begin + j) * 7
        real_j = j < n
        pt_2 = tl.load(other, mask=real_j, other=1.0)[None, :]
        rapidity_2 = tl.load(other + 1, mask=real_j, other=0.0)[None, :]
        phi_2 = tl.load(other + 2, mask=real_j, other=0.0)[None, :]
        px = px_1 + tl.load(other + 3, mask=real_j, other=0.0)[None, :]
        py = py_1 + tl.load(other + 4, mask=real_j, other=0.0)[None, :]
        pz = pz_1 + tl.load(other + 5, mask=real_j, other=0.0)[None, :]
        energy = energy_1 + tl.load(other + 6, mask=real_j, other=1.0)[None, :]
        delta_phi = phi_1 - phi_2
        delta_phi = delta_phi - 2 * PI * tl.floor((delta_phi + PI) / (2 * PI))
        delta_y = rapidity_1 - rapidity_2
        delta_r = tl.sqrt(delta_y * delta_y + delta_phi * delta_phi)
        softer = tl.minimum(pt_1, pt_2)
        mass2 = energy * energy - (px * px + py * py + pz * pz)
        log_kt = tl.log(tl.maximum(softer * delta_r, EPSILON))
        log_z = tl.log(tl.maximum(softer / tl.maximum(pt_1 + pt_2, EPSILON), EPSILON))
        log_delta = tl.log(tl.maximum(delta_r, EPSILON))
        log_mass2 = tl.log(tl.maximum(mass2, EPSILON))
        real = real_i[:, None] & (j[None, :] <= i[:, None])
        row = triangle + (i * (i + 1) // 2)[:, None] + j[None, :]
        tl.store(features + row * 4, log_kt, mask=real)
        tl.store(features + row * 4 + 1, log_z, mask=real)
        tl.store(features + row * 4 + 2, log_delta, mask=real)
        tl.store(features + row * 4 + 3, log_mass2, mask=real)
        tl.store(places + row * 2, square + i[:, None] * pitch + j[None, :], mask=real)
        tl.store(places + row * 2 + 1, square + j[None, :] * pitch + i[:, None], mask=real)
        if STATISTICS:
            for feature in tl.static_range(4):
                if feature == 0:
                    x = log_kt
                elif feature == 1:
                    x = log_z
                elif feature == 2:
                    x = log_delta
                else:
                    x = log_mass2
                x = tl.where(real, x, 0.0)
                sums += tl.where(c == feature, tl.sum(tl.sum(x, 1), 0), 0.0)
                squared += tl.where(c == feature, tl.sum(tl.sum(x * x, 1), 0), 0.0)
    if STATISTICS:
        program = jet * tiles + tile
        tl.store(partial + program * 8 + c, sums)
        tl.store(partial + program * 8 + 4 + c, squared)


@triton.jit
def _normal(x):
    # Cumulative distribution and density of the normal distribution; the former within 1e-7 by
    # Abramowitz and Stegun, formula 7.1.26.
    bell = tl.exp(-0.5 * x * x)
    t = 1.0 / (1.0 + 0.3275911 * 0.7071067811865476 * tl.abs(x))
    tail = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027
           + t * 1.061405429))))  # fmt: skip
    tail = 0.5 * tail * bell
    return tl.where(x >= 0, 1.0 - tail, tail), 0.3989422804014327 * bell


@triton.jit
def _layer(
    x, scale, shift, weight, offset, out, partial, count,
    INPUTS: tl.constexpr, INPUTS_PADDED: tl.constexpr,
    OUTPUTS: tl.constexpr, OUTPUTS_PADDED: tl.constexpr,
    ACTIVE: tl.constexpr, STATISTICS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    n = tl.load(count)
    k, m = tl.arange(0, INPUTS_PADDED), tl.arange(0, OUTPUTS_PADDED)
    real_k, real_m = k < INPUTS, m < OUTPUTS
    w = tl.load(
        weight + m[None, :] * INPUTS + k[:, None], mask=real_k[:, None] & real_m[None, :], other=0
    ).to(out.dtype.element_ty)
    a = tl.load(scale + k, mask=real_k, other=0)[None, :]
    c = tl.load(shift + k, mask=real_k, other=0)[None, :]
    b = tl.load(offset + m, mask=real_m, other=0)[None, :]
    sums = tl.zeros((OUTPUTS_PADDED,), tl.float32)
    squared = tl.zeros((OUTPUTS_PADDED,), tl.float32)
    for start in range(program * BLOCK, n, tl.num_programs(0) * BLOCK):
        r = start + tl.arange(0, BLOCK)
        real = (r < n)[:, None]
        u = tl.load(x + r[:, None] * INPUTS + k[None, :], mask=real & real_k[None, :], other=0)
        u = u.to(tl.float32) * a + c
        if ACTIVE:
            cumulative, _ = _normal(u)
            u = u * cumulative
        y = tl.dot(u.to(w.dtype), w, input_precision="tf32x3") + b
        y = y.to(w.dtype)
        tl.store(out + r[:, None] * OUTPUTS + m[None, :], y, mask=real & real_m[None, :])
        if STATISTICS:
            y = tl.where(real, y.to(tl.float32), 0.0)
            sums += tl.sum(y, 0)
            squared += tl.sum(y * y, 0)
    if STATISTICS:
        tl.store(partial + program * 2 * OUTPUTS + m, sums, mask=real_m)
        tl.store(partial + program * 2 * OUTPUTS + OUTPUTS + m, squared, mask=real_m)


@triton.jit
def _spread(
    x, scale, shift, places, bias, count, cells,
    HEADS: tl.constexpr, HEADS_PADDED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    n = tl.load(count)
    h = tl.arange(0, HEADS_PADDED)
    real_h = h < HEADS
    a = tl.load(scale + h, mask=real_h, other=0)[None, :]
    c = tl.load(shift + h, mask=real_h, other=0)[None, :]
    for start in range(tl.program_id(0) * BLOCK, n, tl.num_programs(0) * BLOCK):
        r = start + tl.arange(0, BLOCK)
        real = (r < n)[:, None] & real_h[None, :]
        y = tl.load(x + r[:, None] * HEADS + h[None, :], mask=real, other=0).to(tl.float32) * a + c
        place = tl.load(places + r * 2, mask=r < n, other=0)[:, None]
        mirror = tl.load(places + r * 2 + 1, mask=r < n, other=0)[:, None]
        tl.store(bias + h[None, :] * cells + place, y, mask=real)
        tl.store(bias + h[None, :] * cells + mirror, y, mask=real)


@triton.jit
def _gather(
    grad_bias, places, x, mean, inverse, out, partial, count, cells,
    HEADS: tl.constexpr, HEADS_PADDED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    n = tl.load(count)
    h = tl.arange(0, HEADS_PADDED)
    real_h = h < HEADS
    centre = tl.load(mean + h, mask=real_h, other=0)[None, :]
    narrow = tl.load(inverse + h, mask=real_h, other=0)[None, :]
    sums = tl.zeros((HEADS_PADDED,), tl.float32)
    products = tl.zeros((HEADS_PADDED,), tl.float32)
    for start in range(program * BLOCK, n, tl.num_programs(0) * BLOCK):
        r = start + tl.arange(0, BLOCK)
        real = (r < n)[:, None] & real_h[None, :]
        place = tl.load(places + r * 2, mask=r < n, other=0)[:, None]
        mirror = tl.load(places + r * 2 + 1, mask=r < n, other=0)[:, None]
        g = tl.load(grad_bias + h[None, :] * cells + place, mask=real, other=0).to(tl.float32)
        g += tl.load(
            grad_bias + h[None, :] * cells + mirror, mask=real & (mirror != place), other=0
        ).to(tl.float32)
        g = g.to(out.dtype.element_ty)
        tl.store(out + r[:, None] * HEADS + h[None, :], g, mask=real)
        y = tl.load(x + r[:, None] * HEADS + h[None, :], mask=real, other=0).to(tl.float32)
        g = g.to(tl.float32)
        sums += tl.sum(g, 0)
        products += tl.sum(tl.where(real, g * (y - centre) * narrow, 0.0), 0)
    tl.store(partial + program * 2 * HEADS + h, sums, mask=real_h)
    tl.store(partial + program * 2 * HEADS + HEADS + h, products, mask=real_h)


@triton.jit
def _layer_backward(
    grad_y, y, y_scale, y_mean, y_inverse, y_sums, x, x_scale, x_shift, x_mean, x_inverse, weight,
    grad_x, partial, partial_weight, count,
    INPUTS: tl.constexpr, INPUTS_PADDED: tl.constexpr,
    OUTPUTS: tl.constexpr, OUTPUTS_PADDED: tl.constexpr,
    ACTIVE: tl.constexpr, TRAINING: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    # From the gradient behind the norm of the outputs y to that behind the norm of the inputs x.
    program = tl.program_id(0)
    n = tl.load(count)
    k, m = tl.arange(0, INPUTS_PADDED), tl.arange(0, OUTPUTS_PADDED)
    real_k, real_m = k < INPUTS, m < OUTPUTS
    kind = grad_y.dtype.element_ty
    w = tl.load(
        weight + m[:, None] * INPUTS + k[None, :], mask=real_m[:, None] & real_k[None, :], other=0
    ).to(kind)
    # The norm's derivative as a line in the gradient and the value: five vectors in all.
    slope = tl.load(y_scale + m, mask=real_m, other=0)[None, :]
    if TRAINING:
        mean_1 = tl.load(y_sums + m, mask=real_m, other=0)[None, :] / n
        mean_2 = tl.load(y_sums + OUTPUTS + m, mask=real_m, other=0)[None, :] / n
        centre = tl.load(y_mean + m, mask=real_m, other=0)[None, :]
        bend = -slope * mean_2 * tl.load(y_inverse + m, mask=real_m, other=0)[None, :]
        level = -slope * mean_1 - bend * centre
    x_a = tl.load(x_scale + k, mask=real_k, other=0)[None, :]
    x_c = tl.load(x_shift + k, mask=real_k, other=0)[None, :]
    grad_weight = tl.zeros((OUTPUTS_PADDED, INPUTS_PADDED), tl.float32)
    grad_offset = tl.zeros((OUTPUTS_PADDED,), tl.float32)
    sums = tl.zeros((INPUTS_PADDED,), tl.float32)
    products = tl.zeros((INPUTS_PADDED,), tl.float32)
    for start in range(program * BLOCK, n, tl.num_programs(0) * BLOCK):
        r = start + tl.arange(0, BLOCK)
        real = (r < n)[:, None]
        at_y = r[:, None] * OUTPUTS + m[None, :]
        g = tl.load(grad_y + at_y, mask=real & real_m[None, :], other=0).to(tl.float32) * slope
        if TRAINING:
            h = tl.load(y + at_y, mask=real & real_m[None, :], other=0).to(tl.float32)
            g = tl.where(real, g + h * bend + level, 0.0)
        grad_offset += tl.sum(g, 0)
        g = g.to(kind)
        at_x = r[:, None] * INPUTS + k[None, :]
        x_h = tl.load(x + at_x, mask=real & real_k[None, :], other=0).to(tl.float32)
        u = x_h * x_a + x_c
        grad_u = tl.dot(g, w, input_precision="tf32x3")
        if ACTIVE:
            cumulative, density = _normal(u)
            grad_u = (grad_u * (cumulative + u * density)).to(kind)
            tl.store(grad_x + at_x, grad_u, mask=real & real_k[None, :])
            grad_u = grad_u.to(tl.float32)
            u = u * cumulative
        grad_weight += tl.dot(tl.trans(g), u.to(kind), input_precision="tf32x3")
        sums += tl.sum(grad_u, 0)
        products += tl.sum(grad_u * x_h, 0)
    centre = tl.load(x_mean + k, mask=real_k, other=0)
    products = (products - centre * sums) * tl.load(x_inverse + k, mask=real_k, other=0)
    at = program * (2 * INPUTS + OUTPUTS)
    tl.store(partial + at + k, sums, mask=real_k)
    tl.store(partial + at + INPUTS + k, products, mask=real_k)
    tl.store(partial + at + 2 * INPUTS + m, grad_offset, mask=real_m)
    tl.store(
        partial_weight + program * OUTPUTS * INPUTS + m[:, None] * INPUTS + k[None, :],
        grad_weight,
        mask=real_m[:, None] & real_k[None, :],
    )


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
    cumulative, _ = _normal(y)
    y = y * cumulative
    if DROPS:
        y = tl.where(_keep(place, seed, threshold), y * boost, 0.0)
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
        cumulative, density = _normal(u)
        y = u * cumulative
        slope = cumulative + u * density
        if DROPS:
            factor = tl.where(_keep(place, seed, threshold), boost, 0.0)
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


def _padded(width: int) -> int:
    """Return the smallest size of a tile that holds so many columns."""
    return max(16, triton.next_power_of_2(width))


def _dropping(dropout: float) -> tuple[int, float]:
    """Return the threshold of 24-bit numbers and the factor of what is kept."""
    return round(dropout * 2**24), 1 / (1 - dropout)


# Rows and columns of tiles, and how their work is shared out.
ATTENTION = {"BLOCK": 32, "num_warps": 2, "num_stages": 1}
TOKEN = {"BLOCK": 64, "num_warps": 4}
ROWS = {"ROWS": 1, "num_warps": 1, "num_stages": 1}
ROW_PROGRAMS = 2112


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
    threshold, boost = _dropping(dropout)
    _attend[((len(offsets) - 1) * heads,)](
        projected, bias, out, normaliser, offsets, squares, seed, bias.shape[1], rows,
        (width // heads) ** -0.5, threshold, boost,
        HEADS=heads, WIDTH=width // heads, PADDED=_padded(width // heads), DROPS=dropout > 0,
        **ATTENTION,
    )  # fmt: skip
    return out, normaliser


@attend.register_fake
def _(projected, bias, offsets, squares, seed, heads, dropout):
    rows, width = projected.shape[0], projected.shape[1] // 3
    return projected.new_empty(rows, width), projected.new_empty(
        heads, rows, dtype=torch.float32
    )


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
    threshold, boost = _dropping(dropout)
    _attend_backward[((len(offsets) - 1) * heads,)](
        projected, bias, out, normaliser, grad_out.contiguous(), grad, grad_bias, offsets, squares,
        seed, bias.shape[1], rows, (width // heads) ** -0.5, threshold, boost,
        HEADS=heads, WIDTH=width // heads, PADDED=_padded(width // heads), DROPS=dropout > 0,
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
        HEADS=heads, WIDTH=width // heads, PADDED=_padded(width // heads), **TOKEN,
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
        HEADS=heads, WIDTH=width // heads, PADDED=_padded(width // heads), **TOKEN,
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
    threshold, boost = _dropping(dropout)
    _gelu_drop_norm[(triton.cdiv(rows, ROWS["ROWS"]),)](
        x, weight, offset, out, means, inverses, seed, rows, eps, threshold, boost,
        WIDTH=width, PADDED=_padded(width), DROPS=dropout > 0, **ROWS,
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
    partial = x.new_empty(ROW_PROGRAMS, 2, width, dtype=torch.float32)
    threshold, boost = _dropping(dropout)
    _gelu_drop_norm_backward[(ROW_PROGRAMS,)](
        grad_out.contiguous(), x, weight, means, inverses, grad, partial, seed, rows, threshold,
        boost, WIDTH=width, PADDED=_padded(width), DROPS=dropout > 0, **ROWS,
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


@triton.jit
def _fold_norm(
    partial, programs, count, weight, offset, running_mean, running_variance, folded, momentum, eps,
    WIDTH: tl.constexpr, PADDED: tl.constexpr, TRAINING: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    # A batch norm as x * scale + shift, after its mean and inverse deviation.
    c = tl.arange(0, PADDED)
    real = c < WIDTH
    if TRAINING:
        n = tl.load(count).to(tl.float32)
        sums = tl.zeros((PADDED,), tl.float32)
        squared = tl.zeros((PADDED,), tl.float32)
        for start in range(0, programs, BLOCK):
            r = start + tl.arange(0, BLOCK)
            at = r[:, None] * (2 * WIDTH) + c[None, :]
            inside = (r < programs)[:, None] & real[None, :]
            sums += tl.sum(tl.load(partial + at, mask=inside, other=0), 0)
            squared += tl.sum(tl.load(partial + WIDTH + at, mask=inside, other=0), 0)
        mean = sums / n
        variance = tl.maximum(squared / n - mean * mean, 0.0)
        old = tl.load(running_mean + c, mask=real, other=0)
        tl.store(running_mean + c, old + momentum * (mean - old), mask=real)
        old = tl.load(running_variance + c, mask=real, other=0)
        unbiased = variance * n / tl.maximum(n - 1, 1.0)
        tl.store(running_variance + c, old + momentum * (unbiased - old), mask=real)
    else:
        mean = tl.load(running_mean + c, mask=real, other=0)
        variance = tl.load(running_variance + c, mask=real, other=1)
    inverse = 1 / tl.sqrt(variance + eps)
    scale = tl.load(weight + c, mask=real, other=0) * inverse
    tl.store(folded + c, mean, mask=real)
    tl.store(folded + WIDTH + c, inverse, mask=real)
    tl.store(folded + 2 * WIDTH + c, scale, mask=real)
    tl.store(
        folded + 3 * WIDTH + c,
        tl.load(offset + c, mask=real, other=0) - mean * scale,
        mask=real,
    )


class PairBias(torch.autograd.Function):
    """The pair network, from kinematics to biases; see `pair_bias`."""

    @staticmethod
    def forward(ctx, particles, table, cells, pairs, width, kind, training, norms, *parameters):
        """Return the biases, (heads, cells)."""
        offsets, squares, triangles = table
        jets, count = len(offsets) - 1, triangles[-1:]
        layers = len(norms) - 1
        weights, biases = parameters[0:layers], parameters[layers : 2 * layers]
        scales, shifts = parameters[2 * layers : 3 * layers + 1], parameters[3 * layers + 1 :]
        single = {"dtype": torch.float32, "device": particles.device}

        def fold(index: int, partial: Tensor) -> Tensor:
            norm = norms[index]
            size = len(scales[index])
            folded = torch.empty(4, size, **single)
            _fold_norm[(1,)](
                partial, len(partial), count, scales[index], shifts[index], norm.running_mean,
                norm.running_var, folded, norm.momentum, norm.eps,
                WIDTH=size, PADDED=_padded(size), TRAINING=training,
                BLOCK=max(FOLDED // _padded(size), 1), num_warps=8,
            )  # fmt: skip
            return folded

        tiles = -(-width // PAIR_ROWS)
        x = torch.empty(pairs, 4, **single)
        places = torch.empty(pairs, 2, dtype=torch.int32, device=particles.device)
        partial = torch.empty(jets * tiles if training else 0, 8, **single)
        _pair_features[(jets, tiles)](
            particles, x, places, partial, offsets, squares, triangles, tiles,
            STATISTICS=training, BLOCK_I=PAIR_ROWS, BLOCK_J=PAIR_COLUMNS,
        )  # fmt: skip
        values, folds = [x], [fold(0, partial)]
        for index, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            outputs, inputs = weight.shape
            y = torch.empty(pairs, outputs, dtype=kind, device=particles.device)
            partial = torch.empty(PROGRAMS if training else 0, 2 * outputs, **single)
            _layer[(PROGRAMS,)](
                values[-1], folds[-1][2], folds[-1][3], weight, bias, y, partial, count,
                INPUTS=inputs, INPUTS_PADDED=_padded(inputs),
                OUTPUTS=outputs, OUTPUTS_PADDED=_padded(outputs),
                ACTIVE=index > 0, STATISTICS=training, **FORWARD[kind],
            )  # fmt: skip
            values.append(y)
            folds.append(fold(index + 1, partial))
        heads = len(scales[-1])
        out = torch.empty(heads, cells, dtype=kind, device=particles.device)
        _spread[(PROGRAMS,)](
            values[-1], folds[-1][2], folds[-1][3], places, out, count, cells,
            HEADS=heads, HEADS_PADDED=triton.next_power_of_2(heads), BLOCK=256,
        )  # fmt: skip
        ctx.save_for_backward(places, count, *weights, *values, *folds)
        ctx.training, ctx.layers = training, layers
        return out

    @staticmethod
    def backward(ctx, grad_bias):
        """Return the gradients of weights, biases, and the norms' scales and shifts."""
        places, count, *rest = ctx.saved_tensors
        layers = ctx.layers
        weights, values, folds = rest[:layers], rest[layers : 2 * layers + 1], rest[2 * layers + 1 :]
        heads, cells = grad_bias.shape
        single = {"dtype": torch.float32, "device": grad_bias.device}
        grad = torch.empty_like(values[-1])
        partial = torch.empty(PROGRAMS, 2 * heads, **single)
        _gather[(PROGRAMS,)](
            grad_bias.contiguous(), places, values[-1], folds[-1][0], folds[-1][1], grad, partial,
            count, cells,
            HEADS=heads, HEADS_PADDED=triton.next_power_of_2(heads), BLOCK=256,
        )  # fmt: skip
        sums = partial.sum(0)
        of_weights, of_biases = [None] * layers, [None] * layers
        of_scales, of_shifts = [None] * (layers + 1), [None] * (layers + 1)
        of_shifts[layers], of_scales[layers] = sums.unflatten(0, (2, heads)).unbind()
        for index in range(layers - 1, -1, -1):
            outputs, inputs = weights[index].shape
            x, y = values[index], values[index + 1]
            grad_x = torch.empty_like(x) if index else x
            partial = torch.empty(PROGRAMS, 2 * inputs + outputs, **single)
            partial_weight = torch.empty(PROGRAMS, outputs, inputs, **single)
            of_x, of_y = folds[index], folds[index + 1]
            _layer_backward[(PROGRAMS,)](
                grad, y, of_y[2], of_y[0], of_y[1], sums, x, of_x[2], of_x[3], of_x[0], of_x[1],
                weights[index], grad_x, partial, partial_weight, count,
                INPUTS=inputs, INPUTS_PADDED=_padded(inputs),
                OUTPUTS=outputs, OUTPUTS_PADDED=_padded(outputs),
                ACTIVE=index > 0, TRAINING=ctx.training, **BACKWARD[grad.dtype],
            )  # fmt: skip
            sums = partial.sum(0)
            of_weights[index] = partial_weight.sum(0)
            of_shifts[index], of_scales[index], of_biases[index] = sums.split(
                (inputs, inputs, outputs)
            )
            grad = grad_x
        return *(None,) * 8, *of_weights, *of_biases, *of_scales, *of_shifts


# Tiles: of a jet's pairs, and of rows of the pair network in either direction.
PAIR_ROWS, PAIR_COLUMNS = 16, 32
FOLDED = 2**13
FORWARD = {
    torch.bfloat16: {"BLOCK": 64, "num_warps": 4, "num_stages": 3},
    torch.float32: {"BLOCK": 32, "num_warps": 4, "num_stages": 1},
}
BACKWARD = {
    torch.bfloat16: {"BLOCK": 32, "num_warps": 4, "num_stages": 1},
    torch.float32: {"BLOCK": 32, "num_warps": 8, "num_stages": 1},
}


def pair_bias(
    particles: Tensor,
    table: Tensor,
    cells: int,
    pairs: int,
    width: int,
    layers: torch.nn.Sequential,
    kind: torch.dtype,
) -> Tensor:
    """Return the biases of all scores, (heads, cells), from kinematics.

    Parameters
    ----------
    particles
        (T, 7) as `kinematics` gives them.
    table
        (3, B + 1) int32: `offsets`, `squares` and `triangles`, see the module.
    cells, pairs, width
        Room for scores and pairs of all jets, and the most constituents of one.
    layers
        A batch norm, then linear maps, each with its batch norm and, but for the last, a GELU.
    kind
        Type of the values between the layers.
    """
    norms = [layer for layer in layers if isinstance(layer, torch.nn.BatchNorm1d)]
    maps = [layer for layer in layers if isinstance(layer, torch.nn.Linear)]
    training = norms[0].training
    if training:
        torch._foreach_add_([norm.num_batches_tracked for norm in norms], 1)
    parameters = (
        *(layer.weight for layer in maps),
        *(layer.bias for layer in maps),
        *(norm.weight for norm in norms),
        *(norm.bias for norm in norms),
    )
    return PairBias.apply(
        particles, table, cells, pairs, width, kind, training, norms, *parameters
    )
