"""Rows of batches that lie on the device: peaks, steps, agreement with a CPU, profiles."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.gpu.costs import cost
from benchmarks.gpu.settings import Row, Settings, wait
from benchmarks.networks import WEAVER, Network, autocast, to_device

# What a GPU's outputs may differ by from a CPU's, over the largest, and its gradients, over their
# norm: 32 bits add up in another order; 16 bits round each of the ten or so layers by 2^-9.
BOUNDS = {
    "fp32": {"outputs": 1e-4, "gradients": 1e-3},
    "bf16": {"outputs": 10 * 2**-9, "gradients": 0.2},
}


# Slow steps are repeated for about so long.
SLOW_SECONDS = 2.0


def step_row(
    settings: Settings, network: Network, training: bool, compiled: bool, precision: str,
    step: Callable[[Any], Any], jets: int,
) -> Row:  # fmt: skip
    """Measure one kind of step at one batch size."""
    device = settings.device
    rng = np.random.default_rng(jets)
    batches = [
        to_device(network.batch(jets, rng), device) for _ in range(2 if settings.quick else 8)
    ]
    warm_up, measured = settings.steps
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    started = time.perf_counter()
    step(batches[0])
    wait(device)
    first = time.perf_counter() - started
    # All batches once: each may be of a size of its own, for which something is prepared.
    for i in range(max(warm_up, len(batches))):
        step(batches[i % len(batches)])
    wait(device)
    started = time.perf_counter()
    step(batches[0])
    wait(device)
    measured = min(measured, max(round(SLOW_SECONDS / (time.perf_counter() - started)), 2))
    started = time.perf_counter()
    for i in range(measured):
        step(batches[i % len(batches)])
    launched = time.perf_counter() - started
    wait(device)
    seconds = (time.perf_counter() - started) / measured
    row: Row = {
        "rows_per_second": jets / seconds,
        "milliseconds": 1e3 * seconds,
        "milliseconds_to_launch": 1e3 * launched / measured,
        "seconds_of_the_first_step": first,
    }
    if device.type == "cuda":
        row["peak_gib"] = torch.cuda.max_memory_allocated(device) / 2**30
    if network is not WEAVER:
        own = cost(network, precision, training)
        row["tflops"] = own.flops * jets / seconds / 1e12
        row["tb_per_second"] = own.bytes * jets / seconds / 1e12
    return row


def peaks(settings: Settings) -> Row:
    """Measure the matrix product in bf16 and the copy of memory."""
    device = settings.device
    side, length = (256, 2**20) if settings.quick else (8192, 2**30)
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    x = torch.randn(length, device=device)
    y = torch.empty_like(x)

    def seconds(work: Callable[[], Any]) -> float:
        for _ in range(3):
            work()
        wait(device)
        started = time.perf_counter()
        for _ in range(10):
            work()
        wait(device)
        return (time.perf_counter() - started) / 10

    return {
        "tflops": 2 * side**3 / seconds(lambda: a @ b) / 1e12,
        "tb_per_second": 2 * x.numel() * x.element_size() / seconds(lambda: y.copy_(x)) / 1e12,
    }


def agreement(settings: Settings, network: Network, precision: str) -> Row:
    """Compare a loss in training, outputs and gradients with a CPU's in 32 bits."""
    torch.manual_seed(1)
    module = network.make()
    for part in module.modules():
        # Random numbers differ between devices.
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    state = {name: x.clone() for name, x in module.state_dict().items()}
    batch = network.batch(8 if settings.quick else 64, np.random.default_rng(2))

    def results(device: torch.device, precision: str) -> tuple[Tensor, Tensor, Tensor]:
        module.load_state_dict(state)
        module.to(device).zero_grad()
        own = to_device(batch, device)
        with autocast(device.type, precision):
            loss = network.loss(module.train(), own)
            loss.backward()
            with torch.no_grad():
                evaluated = network.predict(module.eval(), own).float().cpu()
        gradients = [p.grad.flatten().cpu() for p in module.parameters() if p.grad is not None]
        return loss.detach().float().cpu(), evaluated, torch.cat(gradients)

    wanted = results(torch.device("cpu"), "fp32")
    found = results(settings.device, precision)
    outputs = max(
        float((a - b).abs().max() / b.abs().max())
        for a, b in zip(found[:2], wanted[:2], strict=True)
    )
    gradients = float((found[2] - wanted[2]).norm() / wanted[2].norm())
    bounds = BOUNDS[precision]
    row: Row = {"outputs": outputs, "gradients": gradients, "bounds": bounds}
    if not (outputs <= bounds["outputs"] and gradients <= bounds["gradients"]):
        row["error"] = f"beyond the bounds {bounds}"
    return row


def profile(settings: Settings, network: Network, step: Callable[[Any], Any], name: str) -> Row:
    """Write PyTorch's table of where a training step's time goes."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as record

    batch = to_device(
        network.batch(settings.batch_sizes(network)[0], np.random.default_rng(5)), settings.device
    )
    activities = [ProfilerActivity.CPU]
    sort = "self_cpu_time_total"
    if settings.device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
        sort = "self_device_time_total"
    for _ in range(2):
        step(batch)
    wait(settings.device)
    with record(activities=activities) as seen:
        for _ in range(3):
            step(batch)
        wait(settings.device)
    path = settings.output / f"profile-{name}.txt"
    table = seen.key_averages().table(sort_by=sort, row_limit=60, max_name_column_width=80)
    path.write_text(table, encoding="utf-8")
    return {"file": path.name}
