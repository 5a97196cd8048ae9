"""The pair network: from kinematics to the biases of all scores, norms over the batch included.

What a layer makes of a pair is stored before its norm, whose sums over all pairs the same pass
collects; norm and GELU are computed anew where the values are read, forwards and backwards.
"""

# ruff: noqa: N803  (capitals are what Triton compiles in)
import torch
import triton
import triton.language as tl
from torch import Tensor

from training.models.kernels.common import normal, padded, pitch_of

EPSILON = tl.constexpr(1e-8)
PI = tl.constexpr(3.141592653589793)
# Programs that share all pairs, each with sums of its own.
PROGRAMS = 528
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


@triton.jit
def _pair_features(
    particles, features, places, partial, offsets, squares, triangles, tiles,
    STATISTICS: tl.constexpr, BLOCK_I: tl.constexpr, BLOCK_J: tl.constexpr,
):  # fmt: skip
    jet, tile = tl.program_id(0), tl.program_id(1)
    begin = tl.load(offsets + jet)
    n = tl.load(offsets + jet + 1) - begin
    square, triangle = tl.load(squares + jet), tl.load(triangles + jet)
    pitch = pitch_of(n)
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
            cumulative, _ = normal(u)
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
            cumulative, density = normal(u)
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
def _fold_norm(
    partial, programs, count, weight, offset, running_mean, running_variance, folded, momentum, eps,
    WIDTH: tl.constexpr, PADDED: tl.constexpr, TRAINING: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    # A batch norm as x * scale + shift, after its mean and inverse deviation.
    c = tl.arange(0, PADDED)
    real = c < WIDTH
    if TRAINING:
        n = tl.maximum(tl.load(count), 1).to(tl.float32)
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
                WIDTH=size, PADDED=padded(size), TRAINING=training,
                BLOCK=max(FOLDED // padded(size), 1), num_warps=8,
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
                INPUTS=inputs, INPUTS_PADDED=padded(inputs),
                OUTPUTS=outputs, OUTPUTS_PADDED=padded(outputs),
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
        weights, values = rest[:layers], rest[layers : 2 * layers + 1]
        folds = rest[2 * layers + 1 :]
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
                INPUTS=inputs, INPUTS_PADDED=padded(inputs),
                OUTPUTS=outputs, OUTPUTS_PADDED=padded(outputs),
                ACTIVE=index > 0, TRAINING=ctx.training, **BACKWARD[grad.dtype],
            )  # fmt: skip
            sums = partial.sum(0)
            of_weights[index] = partial_weight.sum(0)
            of_shifts[index], of_scales[index], of_biases[index] = sums.split(
                (inputs, inputs, outputs)
            )
            grad = grad_x
        return *(None,) * 8, *of_weights, *of_biases, *of_scales, *of_shifts


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
        counts = [norm.num_batches_tracked for norm in norms]
        torch._foreach_add_([count for count in counts if count is not None], 1)
    parameters = (
        *(layer.weight for layer in maps),
        *(layer.bias for layer in maps),
        *(norm.weight for norm in norms),
        *(norm.bias for norm in norms),
    )
    return PairBias.apply(particles, table, cells, pairs, width, kind, training, norms, *parameters)
