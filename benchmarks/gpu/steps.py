"""Rows of batches that lie on the device: peaks, steps, agreement with a CPU, profiles."""

import time
from collections.abc import Callable
from functools import cache, cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.gpu.costs import Cost, cost
from benchmarks.gpu.settings import Row, Settings, wait
from benchmarks.networks import Network, autocast, prediction_step, to_device, training_step

# What a GPU's outputs may differ by from a CPU's, over the largest, and its gradients, over their
# norm: 32 bits add up in another order; 16 bits round each of the ten or so layers by 2^-9.
BOUNDS = {
    "fp32": {"outputs": 1e-4, "gradients": 1e-3},
    "bf16": {"outputs": 10 * 2**-9, "gradients": 0.2},
}


# About how long a kind of step is measured, and how often at least and at most.
MEASURED_SECONDS, FEWEST, MOST = 0.5, 3, 200
BATCHES = 8


class Steps:
    """One kind of step of a network, at several sizes of batches.

    Parameters
    ----------
    settings
        Where.
    network
        The entry.
    training
        Whether it trains, or predicts.
    compiled
        Whether it is compiled and captured, as `fit` does on a GPU.
    precision
        `bf16` or `fp32`.
    """

    def __init__(
        self, settings: Settings, network: Network, training: bool, compiled: bool, precision: str
    ):
        self.settings, self.network, self.training = settings, network, training
        self.compiled, self.precision = compiled, precision

    @property
    def what(self) -> str:
        """What is measured."""
        return "training step" if self.training else "inference"

    @cached_property
    def step(self) -> Callable[[Any], Any]:
        """The step, of a batch that lies on the device."""
        module = self.network.make().to(self.settings.device)
        if self.compiled and self.network.compile is not None:
            self.network.compile(module)
        if self.training:
            return training_step(self.network, module, self.precision, self.compiled)
        return prediction_step(self.network, module, self.precision)

    def prepare(self, jets: int) -> Callable[[], Row]:
        """Compile and capture what batches of a size need; return what measures."""
        device = self.settings.device
        on_gpu = device.type == "cuda"
        count = 2 if self.settings.quick else BATCHES
        batches = [to_device(batch, device) for batch in made_batches(self.network, jets, count)]
        before = 0
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(device)
            before = torch.cuda.memory_allocated(device)
        started = time.perf_counter()
        self.step(batches[0])
        wait(device)
        row: Row = {"seconds_of_the_first_step": time.perf_counter() - started}
        # Each may be of a size of its own, for which something is prepared.
        for batch in batches:
            self.step(batch)
        wait(device)
        if on_gpu:
            row["peak_gib"] = (torch.cuda.max_memory_allocated(device) - before) / 2**30
        # Weaver's network is not ours to count.
        known = self.network is not self.settings.weaver()
        own = cost(self.network, self.precision, self.training) if known else None
        return partial(self._measure, jets, batches, row, own)

    def _measure(self, jets: int, batches: list[Any], row: Row, own: Cost | None) -> Row:
        device = self.settings.device
        for batch in batches:
            self.step(batch)
        wait(device)
        started = time.perf_counter()
        self.step(batches[0])
        wait(device)
        wanted = round(MEASURED_SECONDS / (time.perf_counter() - started))
        measured = 2 if self.settings.quick else min(max(wanted, FEWEST), MOST)
        started = time.perf_counter()
        for i in range(measured):
            self.step(batches[i % len(batches)])
        launched = time.perf_counter() - started
        wait(device)
        seconds = (time.perf_counter() - started) / measured
        row |= {
            "rows_per_second": jets / seconds,
            "milliseconds": 1e3 * seconds,
            "milliseconds_to_launch": 1e3 * launched / measured,
        }
        if own is not None:
            row["tflops"] = own.flops * jets / seconds / 1e12
            row["tb_per_second"] = own.bytes * jets / seconds / 1e12
        return row

    def profile(self, file: str) -> Row:
        """Write PyTorch's table of where the time of a step with a small batch goes."""
        from torch.profiler import ProfilerActivity
        from torch.profiler import profile as record

        device = self.settings.device
        small, _ = self.settings.batch_sizes(self.network)
        batch = to_device(made_batches(self.network, small, 1)[0], device)
        activities = [ProfilerActivity.CPU]
        sort = "self_cpu_time_total"
        if device.type == "cuda":
            activities.append(ProfilerActivity.CUDA)
            sort = "self_device_time_total"
        for _ in range(2):
            self.step(batch)
        wait(device)
        with record(activities=activities) as seen:
            for _ in range(3):
                self.step(batch)
            wait(device)
        path = self.settings.output / file
        table = seen.key_averages().table(sort_by=sort, row_limit=60, max_name_column_width=80)
        path.write_text(table, encoding="utf-8")
        return {"file": path.name}


@cache
def made_batches(network: Network, jets: int, count: int) -> list[Any]:
    """Return batches of a size, on the CPU."""
    rng = np.random.default_rng(jets)
    return [network.batch(jets, rng) for _ in range(count)]


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
        if device.type == "cuda" and network.fixed_shapes is not None:
            own = network.fixed_shapes()(own)
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
