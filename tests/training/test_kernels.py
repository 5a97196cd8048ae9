"""The kernels for GPUs give what PyTorch's operations give, derivatives included.

They run on a GPU, or without one in Triton's interpreter where `TRITON_INTERPRET=1` is set.
"""

import copy
import importlib.util
import os

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.models import particle_transformer
from training.models.arrangement import Ragged, ragged_sizes
from training.models.graphs import Capture
from training.models.pair_features import kinematics, pair_features
from training.models.particle_transformer import PairEmbedding, ParticleTransformer, norm_real
from training.models.sizes import ParticleTransformerConfig

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
CAN_RUN = importlib.util.find_spec("triton") and (
    DEVICE.type == "cuda" or os.environ.get("TRITON_INTERPRET") == "1"
)
needs_triton = pytest.mark.skipif(
    not CAN_RUN, reason="needs Triton and a GPU or TRITON_INTERPRET=1"
)
# One constituent; fewer than a tile; more than one.
LENGTHS = (1, 5, 16, 23, 40)
HEADS, WIDTH = 2, 8
# GeV². The mass of a light particle paired with itself is a rounding error, and devices round
# differently.
MASS2 = 25.0
# A GPU's 32 bits go through three products of 19 bits each.
TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture(autouse=True)
def few_programs(monkeypatch):
    """The interpreter runs one program after the other."""
    if CAN_RUN and DEVICE.type == "cpu":
        from training.models.kernels import pairs, rows

        for module in (pairs, rows):
            monkeypatch.setattr(module, "PROGRAMS", 3)


def mask() -> Tensor:
    return (torch.arange(max(LENGTHS) + 3) < torch.tensor(LENGTHS)[:, None]).to(DEVICE)


def ragged() -> Ragged:
    rows, scores, pairs = ragged_sizes(mask().sum(1))
    return Ragged.of(mask(), (rows + 3, scores + 8, pairs + 5))


def hashed(x: Tensor) -> Tensor:
    for factor, shift in ((0x7FEB352D, 16), (0x846CA68B, 15)):
        x = x ^ (x >> shift)
        x = (x * factor) & 0xFFFFFFFF
    return x ^ (x >> 16)


def dropout(count: int, seed: int, probability: float) -> Tensor:
    word = hashed(torch.arange(count) ^ (seed & 0xFFFFFFFF))
    return (((word >> 8) >= round(probability * 2**24)) / (1 - probability)).float().to(DEVICE)


def gradients(out: Tensor, inputs: list[Tensor], grad: Tensor) -> list[Tensor]:
    return [out, *torch.autograd.grad(out, inputs, grad)]


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, device=DEVICE, requires_grad=True)


def test_jets_end_to_end_are_those_of_the_batch():
    jets, real = ragged(), mask().flatten().nonzero().squeeze(1)
    count = sum(LENGTHS)
    assert torch.equal(jets.rows[:count], real)
    assert jets.real.squeeze(1).tolist() == [True] * count + [False] * 3
    offsets, squares, triangles = jets.table.diff(dim=1).tolist()
    assert offsets == list(LENGTHS)
    assert squares == [n * -(-n // 8) * 8 for n in LENGTHS]
    assert triangles == [n * (n + 1) // 2 for n in LENGTHS]


def test_a_norm_looks_at_real_rows_only():
    norm, other = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    nn.init.normal_(norm.weight)
    other.load_state_dict(norm.state_dict())
    x = torch.randn(20, 3)
    real = (torch.arange(20) < 17)[:, None]
    out = norm_real(norm, x, real)[:17]
    expected = other(x[:17])
    torch.testing.assert_close(out, expected)
    for own, others in zip(norm.buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(own, others)


@needs_triton
@pytest.mark.parametrize("probability", [0.0, 0.3])
def test_attention(probability):
    from training.models import kernels

    torch.manual_seed(0)
    jets, seed = ragged(), torch.tensor(123, dtype=torch.int32, device=DEVICE)
    offsets, squares = jets.table[:2].tolist()
    projected = random(len(jets.rows), 3 * HEADS * WIDTH)
    bias = random(HEADS, jets.scores)
    factors = dropout(bias.numel(), 123, probability).view_as(bias)
    grad = torch.randn(sum(LENGTHS), HEADS * WIDTH, device=DEVICE)
    own, _ = kernels.attend(projected, bias, jets.table[0], jets.table[1], seed, HEADS, probability)
    found = gradients(own[: sum(LENGTHS)], [projected, bias], grad)
    attended = []
    for jet, n in enumerate(LENGTHS):
        query, key, value = (
            x.unflatten(1, (HEADS, WIDTH)).transpose(0, 1)
            for x in projected[offsets[jet] : offsets[jet] + n].chunk(3, dim=1)
        )
        own_bias, own_factors = (
            x[:, squares[jet] : squares[jet + 1]].unflatten(1, (n, -1))[:, :, :n]
            for x in (bias, factors)
        )
        weights = (query @ key.mT * WIDTH**-0.5 + own_bias).softmax(dim=2) * own_factors
        attended.append((weights @ value).transpose(0, 1).flatten(1))
    expected = gradients(torch.cat(attended), [projected, bias], grad)
    # Scores beyond a jet's last column are not anyone's.
    used = expected[2] != 0
    torch.testing.assert_close(found[:2], expected[:2], **TOLERANCE)
    torch.testing.assert_close(found[2][used], expected[2][used], **TOLERANCE)


@needs_triton
def test_attention_of_a_token():
    from training.models import kernels

    torch.manual_seed(0)
    jets, width = ragged(), HEADS * WIDTH
    inputs = [
        random(len(LENGTHS), width),
        random(len(LENGTHS), 2 * width),
        random(len(jets.rows), 2 * width),
    ]
    grad = torch.randn(len(LENGTHS), width, device=DEVICE)
    found = gradients(kernels.attend_from_token(*inputs, jets.table[0], HEADS)[0], inputs, grad)
    attended = []
    for jet, (begin, end) in enumerate(jets.table[0].unfold(0, 2, 1).tolist()):
        pairs = torch.cat((inputs[1][jet : jet + 1], inputs[2][begin:end]))
        query, key, value = (
            x.unflatten(1, (HEADS, WIDTH)).transpose(0, 1)
            for x in (inputs[0][jet : jet + 1], *pairs.chunk(2, dim=1))
        )
        weights = (query @ key.mT * WIDTH**-0.5).softmax(dim=2)
        attended.append((weights @ value).transpose(0, 1).flatten(1))
    expected = gradients(torch.cat(attended), inputs, grad)
    torch.testing.assert_close(found, expected, **TOLERANCE)


@needs_triton
@pytest.mark.parametrize("probability", [0.0, 0.4])
def test_gelu_dropout_and_norm(probability):
    from training.models import kernels

    torch.manual_seed(0)
    norm = nn.LayerNorm(24).to(DEVICE)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x, grad = random(21, 24), torch.randn(21, 24, device=DEVICE)
    seed = torch.tensor(-77, dtype=torch.int32, device=DEVICE)
    inputs = [x, norm.weight, norm.bias]
    own = kernels.gelu_drop_norm(x, norm.weight, norm.bias, seed, probability, norm.eps)[0]
    factors = dropout(x.numel(), -77, probability).view_as(x)
    expected = norm(functional.gelu(x) * factors)
    torch.testing.assert_close(
        gradients(own, inputs, grad), gradients(expected, inputs, grad), **TOLERANCE
    )


@needs_triton
@pytest.mark.parametrize("training", [True, False])
def test_pair_network(training):
    from training.models import kernels

    torch.manual_seed(0)
    network = PairEmbedding((24, 16), HEADS).to(DEVICE).train(training)
    for layer in network.layers:
        if isinstance(layer, nn.BatchNorm1d):
            nn.init.normal_(layer.weight, 1, 0.2)
            nn.init.normal_(layer.bias)
    jets, before = ragged(), {k: x.clone() for k, x in network.state_dict().items()}
    momenta = 20 * torch.randn(len(jets.rows), 3, device=DEVICE)
    energy = momenta.square().sum(1, keepdim=True).add(MASS2).sqrt()
    particles = kinematics(torch.cat((momenta, energy), dim=1))
    parameters = list(network.parameters())
    grad = torch.randn(HEADS, jets.scores, device=DEVICE)
    own = kernels.pair_bias(
        particles, jets.table, jets.scores, jets.pairs, jets.width, network.layers, torch.float32
    )
    found, after = gradients(own, parameters, grad), network.state_dict()
    after = {name: x.clone() for name, x in after.items()}
    network.load_state_dict(before)
    offsets, squares, _ = jets.table.tolist()
    first, second, cells, mirrors = [], [], [], []
    for n, offset, square in zip(LENGTHS, offsets, squares, strict=False):
        i, j = torch.tril_indices(n, n)
        pitch = -(-n // 8) * 8
        first.append(offset + i)
        second.append(offset + j)
        cells.append(square + i * pitch + j)
        mirrors.append(square + j * pitch + i)
    i, j, cell, mirror = (torch.cat(x).to(DEVICE) for x in (first, second, cells, mirrors))
    rows = network.layers(pair_features(particles[i], particles[j]))
    spread = rows.new_zeros(jets.scores, HEADS).index_copy(0, cell, rows)
    expected = gradients(spread.index_copy(0, mirror, rows).T, parameters, grad)
    used = torch.cat((cell, mirror))
    torch.testing.assert_close(found[0][:, used], expected[0][:, used], **TOLERANCE)
    for a, b in zip(found[1:], expected[1:], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=2e-3)
    for name, x in network.state_dict().items():
        torch.testing.assert_close(after[name], x, rtol=1e-4, atol=1e-4)


@needs_triton
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("room", [(1, 8, 1), (64, 512, 512)])
def test_the_network_is_the_same_end_to_end(monkeypatch, training, room):
    monkeypatch.setattr(particle_transformer, "STEPS", room)
    monkeypatch.setattr(particle_transformer, "PADDED_STEP", 16)
    sizes = ParticleTransformerConfig(
        embedding=(32, 32), pair_embedding=(16,), heads=2, blocks=2, class_blocks=1, head=(16,),
        dropout=0.0,
    )  # fmt: skip
    torch.manual_seed(1)
    network = ParticleTransformer(sizes, 17, 5).train(training)
    seen = mask().cpu()
    features = torch.randn(*seen.shape, 17) * seen[..., None]
    momenta = 20 * torch.randn(*seen.shape, 3)
    energy = momenta.square().sum(2, keepdim=True).add(MASS2).sqrt()
    inputs = features, torch.cat((momenta, energy), dim=2) * seen[..., None], seen

    def outcome(run, device: torch.device) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        network.to(device).zero_grad()
        out = run(*(x.to(device) for x in inputs))
        out.square().sum().backward()
        return (
            out.detach().cpu(),
            [p.grad.cpu().clone() for p in network.parameters()],
            [b.cpu().clone() for b in network.buffers()],
        )

    before = {name: x.clone() for name, x in network.state_dict().items()}
    expected = outcome(network, torch.device("cpu"))
    network.load_state_dict(before)
    found = outcome(lambda *x: network._on_gpu(network._classify_ragged, *x, None), DEVICE)
    torch.testing.assert_close(found[0], expected[0], **TOLERANCE)
    for a, b in zip(found[1], expected[1], strict=True):
        assert (a - b).norm() <= 1e-3 * b.norm() + 1e-3
    for a, b in zip(found[2], expected[2], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(DEVICE.type == "cpu", reason="needs a GPU")
def test_a_captured_network_learns_as_one_that_is_not():
    torch.manual_seed(1)
    sizes = ParticleTransformerConfig(blocks=2, dropout=0.0)
    plain = ParticleTransformer(sizes, 17, 5).to(DEVICE)
    captured = copy.deepcopy(plain)
    captured.capture = Capture()
    optimizers = [torch.optim.SGD(net.parameters(), lr=1e-3) for net in (plain, captured)]
    for number in (60, 64, 60, 70):
        seen = torch.arange(50) < torch.randint(1, 51, (number, 1))
        features = torch.randn(*seen.shape, 17)
        momenta = 20 * torch.randn(*seen.shape, 3)
        energy = momenta.square().sum(2, keepdim=True).add(0.01).sqrt()
        batch = [x.to(DEVICE) for x in (features, torch.cat((momenta, energy), dim=2), seen)]
        outputs = []
        for net, optimizer in zip((plain, captured), optimizers, strict=True):
            optimizer.zero_grad()
            out = net(*batch)
            out.square().mean().backward()
            optimizer.step()
            with torch.no_grad():
                outputs.append((out.detach().clone(), net.eval()(*batch)))
            net.train()
        torch.testing.assert_close(*outputs, rtol=1e-3, atol=1e-3)
    # Rounded up, 60 and 64 jets are as many.
    shapes = {key[-1] for key in captured.capture.calls}
    assert len(shapes) == 2
    for own, other in zip(captured.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-3, atol=1e-3)
