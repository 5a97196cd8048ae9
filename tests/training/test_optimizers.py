"""Schedules and optimisers do what their configuration says."""

import pytest
import torch
from torch import nn

from training.average import MovingAverage
from training.config import Cosine, WarmupFlatDecay, load_config
from training.optimizers import cosine, make_optimizer, make_schedule, warmup_flat_decay


def config(**optimizer):
    return load_config('{"task": "sophon"}', [f"optimizer={optimizer}"]).optimizer


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 1))


def test_warm_up_flat_stretch_and_decay():
    factor = warmup_flat_decay(WarmupFlatDecay(warmup=0.1, flat=0.5, final_fraction=0.01), 100)
    assert [factor(step) for step in (0, 4, 10, 50)] == pytest.approx([1 / 11, 5 / 11, 1, 1])
    assert factor(75) == pytest.approx(0.1)
    assert factor(100) == pytest.approx(0.01)


def test_half_a_cosine():
    factor = cosine(Cosine(name="cosine", final_fraction=0.01), 100)
    assert factor(0) == 1
    assert factor(50) == pytest.approx((1 + 0.01) / 2)
    assert factor(100) == pytest.approx(0.01)
    # The published fine-tuning: from 0.01 to 0.0001.
    optimizer = make_optimizer(network(), config(name="sgd", learning_rate=0.01))
    schedule = make_schedule(optimizer, Cosine(name="cosine", final_fraction=0.01), 20)
    for _ in range(20):
        optimizer.step()
        schedule.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-4)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)],
)
def test_only_matrices_decay_and_only_what_is_trained_moves(name, kind):
    net = network()
    net[0].weight.requires_grad_(False)
    kept = [p.clone() for p in net.parameters()]
    options = {"name": name, "learning_rate": 0.1, "weight_decay": 0.5}
    optimizer = make_optimizer(net, config(**options))
    assert type(optimizer) is kind
    # Without gradients of the loss all that moves is what decays.
    for parameter in net.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    moved = [
        name
        for (name, new), old in zip(net.named_parameters(), kept, strict=True)
        if not torch.equal(new, old)
    ]
    assert moved == ["2.weight"]


def test_the_moving_average_follows_and_gives_the_weights_back():
    net = nn.Linear(1, 1, bias=False)
    average = MovingAverage(net, decay=0.9)
    for value in (1.0, 2.0, 3.0):
        net.weight.data.fill_(value)
        average.update()
    with average.in_place():
        # The first value as it is: 0.9 (0.9 · 1 + 0.1 · 2) + 0.1 · 3.
        assert net.weight.item() == pytest.approx(0.9 * (0.9 + 0.2) + 0.3)
    assert net.weight.item() == 3


def test_without_a_decay_there_is_no_average():
    net = nn.Linear(1, 1, bias=False)
    average = MovingAverage(net, decay=None)
    average.update()
    before = net.weight.item()
    with average.in_place():
        assert net.weight.item() == before
    assert average.state_dict() is None
