"""What the default settings of a GPU use, on a CPU: 16 bits, the fused attention, compiling."""

import pytest
import torch
from conftest import SMALL, TINY
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from training.checkpoint import load_task, read_checkpoint
from training.config import load_config
from training.fit import fit
from training.models import attention, particle_transformer
from training.models.arrangement import ALIGNMENT
from training.models.attention import explicit_attention, fused_attention
from training.models.dropout import Dropout
from training.models.particle_transformer import ParticleTransformer
from training.models.sizes import ParticleTransformerConfig

SIZES = ParticleTransformerConfig(
    embedding=(32, 32), pair_embedding=(16,), heads=2, blocks=2, class_blocks=1, head=(16,)
)


def jets(number: int, length: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, length + 1, (number,), generator=generator)
    mask = torch.arange(length) < lengths[:, None]
    features = torch.randn(number, length, 17, generator=generator)
    momenta = 20 * torch.randn(number, length, 3, generator=generator)
    energy = momenta.square().sum(2, keepdim=True).add(0.01).sqrt()
    return features, torch.cat((momenta, energy), dim=2) * mask[..., None], mask


def network(**changes) -> ParticleTransformer:
    torch.manual_seed(1)
    return ParticleTransformer(SIZES.model_copy(update={"dropout": 0.0, **changes}), 17, 5)


def gradients(net: ParticleTransformer, inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
    net.zero_grad()
    net(*inputs).square().sum().backward()
    return {name: p.grad.clone() for name, p in net.named_parameters()}


class AttentionCalls(TorchFunctionMode):
    """Notes the arguments of PyTorch's attention and lets it run."""

    def __init__(self):
        super().__init__()
        self.calls: list[tuple[Tensor, ...]] = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is nn.functional.scaled_dot_product_attention:
            self.calls.append(args[:4])
        return function(*args, **(kwargs or {}))


def test_both_attentions_are_the_same_with_the_same_gradients():
    torch.manual_seed(0)
    shapes = [(3, 2, 16, 8)] * 3 + [(3, 2, 16, 16)]
    results = []
    for attend in (fused_attention, explicit_attention):
        torch.manual_seed(0)
        inputs = [torch.randn(shape, requires_grad=True) for shape in shapes]
        out = attend(*inputs, Dropout(0.3).eval())
        out.square().sum().backward()
        results.append([out, *(x.grad for x in inputs)])
    for fused, explicit in zip(*results, strict=True):
        torch.testing.assert_close(fused, explicit, rtol=1e-4, atol=1e-5)


def test_the_fused_attention_drops_in_training_only():
    torch.manual_seed(0)
    inputs = [torch.randn(3, 2, 16, 16) for _ in range(4)]
    drop = Dropout(0.5)
    assert not torch.equal(fused_attention(*inputs, drop), fused_attention(*inputs, drop))
    drop.eval()
    assert torch.equal(fused_attention(*inputs, drop), fused_attention(*inputs, drop))


def test_the_network_is_the_same_with_the_fused_attention(monkeypatch):
    net, inputs = network(), jets(20, 30)
    expected = gradients(net, inputs)
    monkeypatch.setattr(attention, "explicit_attention", fused_attention)
    with AttentionCalls() as seen:
        found = gradients(net, inputs)
    assert len(seen.calls) == 4 * (2 + 1)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("length", [1, 13, 40])
def test_gpu_kernels_get_the_layout_that_they_want(monkeypatch, length):
    """The conditions of PyTorch's `can_use_mem_efficient_attention` and `preprocess_mask`."""
    net = network()
    monkeypatch.setattr(attention, "explicit_attention", fused_attention)
    with AttentionCalls() as seen, torch.autocast("cpu", torch.bfloat16):
        net(*jets(20, length))
    assert seen.calls
    for query, key, value, bias in seen.calls:
        for x in (query, key, value):
            assert x.dtype == bias.dtype == torch.bfloat16
            assert x.stride(-1) == 1
            assert x.shape[-1] % ALIGNMENT == 0
            assert x.data_ptr() % 16 == 0
            assert all(step * x.element_size() % 16 == 0 for step in x.stride()[:-1])
        assert bias.shape == (*query.shape[:3], key.shape[2])
        assert bias.stride(-1) == 1
        assert bias.data_ptr() % 16 == 0
        assert all(step % ALIGNMENT == 0 for step in bias.stride()[:-1])


def test_pair_features_stay_in_32_bits_and_logits_near(monkeypatch):
    seen = []
    pair_features = particle_transformer.pair_features

    def record(*particles):
        seen.append(pair_features(*particles))
        return seen[-1]

    monkeypatch.setattr(particle_transformer, "pair_features", record)
    net, inputs = network().eval(), jets(30, 30)
    with torch.no_grad():
        exact = net(*inputs)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = net(*inputs)
    half = len(seen) // 2
    assert half == 4
    for full, mixed in zip(seen[:half], seen[half:], strict=True):
        assert mixed.dtype == torch.float32
        assert torch.equal(full, mixed)
    # bfloat16 keeps 8 bits: each of the ten or so layers in a row rounds by up to 2^-9.
    assert 0 < (rounded - exact).abs().max() < 10 * 2**-9 * exact.abs().max()


def test_trains_in_16_bits(manifest, tmp_path, monkeypatch):
    seen = set()
    forward = ParticleTransformer.forward

    def watched(network, *inputs):
        logits = forward(network, *inputs)
        seen.add((network.training, logits.dtype))
        return logits

    monkeypatch.setattr(ParticleTransformer, "forward", watched)
    settings = [*TINY, "run.precision=bf16-mixed", "data.rows_per_epoch=256"]
    fit(load_config(SMALL, settings), manifest, tmp_path)
    # In steps of training as in those of validation.
    assert seen == {(True, torch.bfloat16), (False, torch.bfloat16)}
    rows = read_checkpoint(tmp_path / "checkpoint.ckpt")["history"]
    assert rows[1]["train_loss"] < rows[0]["train_loss"] < 6
    assert all(
        p.dtype == torch.float32 for p in load_task(tmp_path / "checkpoint.ckpt").parameters()
    )


def test_batches_of_all_sizes_compile_four_graphs_once():
    net, compiled = network(length_groups=2), network(length_groups=2)
    graphs = []

    def count(graph, _):
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    # Without code generation, which the next test has: quick, and an error where tracing stops.
    compiled.compile_parts(backend=count, fullgraph=True)
    assert net.state_dict().keys() == compiled.state_dict().keys()
    for number, length, seed in ((24, 30, 1), (23, 17, 2), (64, 64, 3), (9, 40, 5)):
        inputs = jets(number, length, seed)
        expected, found = gradients(net, inputs), gradients(compiled, inputs)
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-3)
        assert len(graphs) == 4
    torch.compiler.reset()


@pytest.mark.slow
def test_a_compiled_training_is_that_of_an_eager_one_and_goes_on(manifest, tmp_path, capsys):
    """With code generation, the moving average, checkpoints and a change back to eager."""
    settings = ["data.rows_per_epoch=256", "model.blocks=1", "model.length_groups=1"]
    rows = {}
    for name, compiles in (("eager", "false"), ("compiled", "true")):
        config = load_config(SMALL, [*settings, "epochs=1", f"run.compile={compiles}"])
        fit(config, manifest, tmp_path / name)
        checkpoint = read_checkpoint(tmp_path / name / "checkpoint.ckpt")
        rows[name] = checkpoint["history"]
    for quantity in ("train_loss", "val_loss"):
        assert rows["compiled"][0][quantity] == pytest.approx(rows["eager"][0][quantity], rel=1e-3)
    # Where a training runs, and how, does not make it another.
    capsys.readouterr()
    config = load_config(SMALL, [*settings, "epochs=1", "run.compile=false"])
    fit(config, manifest, tmp_path / "compiled")
    assert "this training is finished" in capsys.readouterr().err
    load_task(tmp_path / "compiled" / "checkpoint.ckpt")
