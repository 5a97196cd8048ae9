"""Captured steps: the learning rate follows its schedule, and training is what it was."""

import copy
import types

import pytest
import torch
from torch import nn
from torch.nn import functional

from training.captured import (
    CapturedUpdate,
    _Graph,
    keep_rate_in_tensor,
    plain_optimizer_state,
)
from training.config import SGD, AdamW, WarmupFlatDecay
from training.optimizers import make_optimizer, make_schedule

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.BatchNorm1d(6), nn.Linear(6, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 2)
    )


def train(config, device: str, captured: bool, in_tensor: bool, steps: int = 12):
    """Train on batches of two sizes; return weights and the optimiser's state."""
    module = network().to(device)
    optimizer = make_optimizer(module, config)
    schedule = make_schedule(optimizer, WarmupFlatDecay(warmup=0.3), steps)

    def update(batch):
        optimizer.zero_grad()
        loss = functional.cross_entropy(module(batch["x"]), batch["label"])
        loss.backward()
        norm = nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        return {"loss": loss.detach()}, norm

    step = CapturedUpdate(update, module, optimizer) if captured else update
    if in_tensor:
        keep_rate_in_tensor(optimizer, torch.device(device))
    draws = torch.Generator().manual_seed(2)
    losses = []
    for number in range(steps):
        rows = 16 + number % 2
        x = torch.randn(rows, 6, generator=draws)
        batch = {"x": x.to(device), "label": (x[:, 0] > 0).long().to(device)}
        torch.manual_seed(number)
        numbers, _ = step(batch)
        losses.append(float(numbers["loss"]))
        schedule.step()
    return module.state_dict(), plain_optimizer_state(optimizer), losses


CONFIGS = [AdamW(learning_rate=0.01), SGD(name="sgd", learning_rate=0.05, momentum=0.9)]


@pytest.mark.parametrize("config", CONFIGS, ids=["adamw", "sgd"])
def test_a_learning_rate_in_a_tensor_follows_the_schedule(config):
    plain, plain_state, losses = train(config, "cpu", False, in_tensor=False)
    other, state, other_losses = train(config, "cpu", False, in_tensor=True)
    assert losses[-1] != losses[0]
    torch.testing.assert_close(other, plain, rtol=1e-6, atol=1e-7)
    assert other_losses == pytest.approx(losses, rel=1e-6)
    rates = [group["lr"] for group in plain_state["param_groups"]]
    assert [group["lr"] for group in state["param_groups"]] == pytest.approx(rates, rel=1e-6)
    # A training without a captured step goes on with it.
    module = network()
    optimizer = make_optimizer(module, config)
    optimizer.load_state_dict(copy.deepcopy(state))
    assert all(isinstance(group["lr"], float) for group in optimizer.param_groups)
    assert not any(group.get("capturable") for group in optimizer.param_groups)


class Uncaptured(CapturedUpdate):
    """Notes what would be captured."""

    def _capture(self, batch):
        self.noted = [*getattr(self, "noted", []), (len(batch["x"]), batch.get("room"))]
        graph = types.SimpleNamespace(replay=lambda: None)
        return _Graph(graph, {"x": batch["x"].clone()}, None)


def test_what_was_captured_for_less_room_is_forgotten(monkeypatch):
    """Else graphs, and their memory, would pile up while rooms grow."""
    pools = iter(range(9))
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: next(pools))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    step = Uncaptured(None, nn.Linear(1, 1), None)
    for rows, room in ((64, 5), (128, 9), (64, 5), (64, 6), (128, 9), (64, 6)):
        step({"x": torch.zeros(rows, 1), "room": room})
    assert step.noted == [(64, 5), (128, 9), (64, 6)]
    assert len(step.graphs) == 2
    # Without a room batches of all sizes come back.
    step = Uncaptured(None, nn.Linear(1, 1), None)
    for width in (1, 2, 1):
        step({"x": torch.zeros(64, width)})
    assert len(step.noted) == len(step.graphs) == 2


@needs_gpu
def test_a_room_that_grows_keeps_the_memory_of_one_graph():
    module = nn.Linear(1024, 1024).cuda()
    optimizer = make_optimizer(module, CONFIGS[0])

    def update(batch):
        optimizer.zero_grad()
        x = batch["x"].repeat(batch["room"], 1)
        loss = module(x).square().mean()
        loss.backward()
        optimizer.step()
        return {"loss": loss.detach()}, loss.detach()

    step = CapturedUpdate(update, module, optimizer)
    memory = []
    for room in range(40, 60, 2):
        numbers, _ = step({"x": torch.ones(512, 1024, device="cuda"), "room": room})
        assert numbers["loss"].isfinite()
        memory.append(torch.cuda.memory_reserved())
    assert len(step.graphs) == 1
    assert memory[-1] < 2 * memory[0]


@needs_gpu
@pytest.mark.parametrize("config", CONFIGS, ids=["adamw", "sgd"])
def test_a_captured_training_is_the_same(config):
    plain, plain_state, losses = train(config, "cuda", False, in_tensor=False)
    captured, state, captured_losses = train(config, "cuda", True, in_tensor=False)
    assert captured_losses == pytest.approx(losses, rel=1e-5)
    torch.testing.assert_close(captured, plain, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(state["state"], plain_state["state"], rtol=1e-4, atol=1e-6)
