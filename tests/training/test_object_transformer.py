import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional

from training.models.ensemble import Ensemble
from training.models.object_transformer import ObjectTransformer
from training.models.sizes import ObjectTransformerConfig

SMALL = ObjectTransformerConfig(width=16, heads=2, blocks=2, feedforward=32, dropout=0.0)


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def network(seed=1, of="event", **changes):
    torch.manual_seed(seed)
    return ObjectTransformer(SMALL.model_copy(update=changes), 9, 2, of)


def events(number=8, seed=1):
    """Six slots, of which the first is always filled; empty ones hold -99 everywhere."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(number, 6, generator=generator) < 0.6
    mask[:, 0] = True
    objects = torch.randn(number, 6, 9, generator=generator)
    return objects.masked_fill(~mask[..., None], -99.0), mask


def test_published_numbers_of_parameters():
    config = ObjectTransformerConfig()
    assert parameters(ObjectTransformer(config, 9, 2)) == 1_687_810
    assert parameters(ObjectTransformer(config, 9, 4, of="object")) == 1_687_940


def test_the_published_encoder_is_pytorchs():
    net = network().eval()
    layers = []
    for own in net.encoder:
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        pairs = {
            "self_attn.in_proj_weight": own.in_projection.weight,
            "self_attn.in_proj_bias": own.in_projection.bias,
            "self_attn.out_proj.weight": own.out_projection.weight,
            "self_attn.out_proj.bias": own.out_projection.bias,
            "linear1.weight": own.expand.weight,
            "linear1.bias": own.expand.bias,
            "linear2.weight": own.contract.weight,
            "linear2.bias": own.contract.bias,
            "norm1.weight": own.attended_norm.weight,
            "norm1.bias": own.attended_norm.bias,
            "norm2.weight": own.norm.weight,
            "norm2.bias": own.norm.bias,
        }
        layer.load_state_dict(pairs)
        layers.append(layer)
    objects, mask = events()
    tokens = nn.Sequential(net.embedding, *layers).eval()(objects)
    torch.testing.assert_close(net.encode(objects, mask), tokens, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(net(objects, mask), net.head(tokens.mean(1)), atol=1e-5, rtol=1e-5)


def test_empty_slots_are_seen_as_published_and_not_when_masked():
    objects, mask = events()
    other = objects.masked_fill(~mask[..., None], 3.0)
    published, masked = network().eval(), network(masked=True).eval()
    assert (published(objects, mask) - published(other, mask)).abs().max() > 1e-3
    torch.testing.assert_close(masked(other, mask), masked(objects, mask), atol=1e-6, rtol=0)


def test_more_empty_slots_change_nothing_when_masked():
    net = network(masked=True).eval()
    objects, mask = events()
    wide = functional.pad(objects, (0, 0, 0, 50), value=-99.0)
    found = net(wide, functional.pad(mask, (0, 50)))
    torch.testing.assert_close(found, net(objects, mask), atol=1e-5, rtol=0)
    assert net(objects, torch.zeros_like(mask)).isfinite().all()


@pytest.mark.parametrize("masked", [True, False])
def test_the_order_of_objects_does_not_matter(masked):
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    objects, mask = events()
    of_events, of_objects = (network(of=of, masked=masked).eval() for of in ("event", "object"))
    torch.testing.assert_close(
        of_events(objects[:, order], mask[:, order]), of_events(objects, mask), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(
        of_objects(objects[:, order], mask[:, order]),
        of_objects(objects, mask)[:, order],
        atol=1e-5,
        rtol=0,
    )


@pytest.mark.parametrize("masked", [True, False])
def test_gradients_reach_every_parameter(masked):
    net = network(masked=masked, dropout=0.1)
    functional.cross_entropy(net(*events()), torch.arange(8) % 2).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        if "in_projection.bias" not in name:  # a key's offset leaves attention as it is
            assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("masked", [True, False])
def test_an_ensemble_has_the_outputs_and_gradients_of_its_members(masked):
    networks = [network(seed, masked=masked) for seed in range(3)]
    batches = [events(seed=seed) for seed in range(3)]
    objects, masks = (torch.stack(x) for x in zip(*batches, strict=True))
    target = torch.arange(8) % 2
    ensemble = Ensemble(networks)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of operations that would run member by member
        outputs = ensemble(objects, masks)
        sum(functional.cross_entropy(own, target) for own in outputs).backward()
    for member, (net, batch) in enumerate(zip(networks, batches, strict=True)):
        own = net(*batch)
        torch.testing.assert_close(outputs[member], own, atol=1e-5, rtol=1e-5)
        functional.cross_entropy(own, target).backward()
        stacked = dict(ensemble.members.named_parameters())
        for name, parameter in net.named_parameters():
            torch.testing.assert_close(
                stacked[name].grad[member], parameter.grad, atol=1e-5, rtol=1e-4, msg=name
            )
        restored = network(99, masked=masked)
        restored.load_state_dict(ensemble.state_of(member))
        torch.testing.assert_close(restored(*batch), own)


def test_members_drop_differently_and_only_in_training():
    ensemble = Ensemble([network(1, dropout=0.5)] * 4)
    objects, mask = events()
    outputs = ensemble(objects, mask, shared=True)
    assert (outputs[0] - outputs[1]).abs().max() > 1e-3
    outputs = ensemble.eval()(objects, mask, shared=True)
    torch.testing.assert_close(outputs[0], outputs[1])


@pytest.mark.parametrize("masked", [True, False])
def test_a_step_of_an_ensemble_is_one_graph(masked):
    ensemble = Ensemble([network(seed, masked=masked) for seed in range(2)])
    objects, mask = events()
    graphs = []

    def backend(graph, _inputs):
        graphs.append(graph)
        return graph

    torch.compiler.reset()
    compiled = torch.compile(ensemble, backend=backend, fullgraph=True)
    expected = ensemble(objects, mask, shared=True)
    torch.testing.assert_close(compiled(objects, mask, shared=True), expected)
    assert len(graphs) == 1
    torch.compiler.reset()
