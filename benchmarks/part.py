"""Training step of this project's Particle Transformer beside weaver's, on one CPU core or a GPU.

Both have Sophon's sizes and see the same jets: synthetic, with the multiplicities of JetClass-II.
The steps alternate, so that a busy machine slows both alike, and the best of each counts. On a CPU
the time is that of the process, not of the wall.

weaver is not a dependency of the project: `pip install --no-deps weaver-core==0.5.3`, best in a
copy of the environment; without it the project is measured alone. Run as `python -m benchmarks.part
[--device cuda] [--json FILE]`. `--compile` adds the project's network as `run.compile` makes it.
"""

import argparse
import datetime
import importlib.util
import json
import logging
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from training.data.reader import Batch
from training.models.particle_transformer import ParticleTransformer
from training.models.sizes import ParticleTransformerConfig

FEATURES, CLASSES = 17, 188
# Deciles of the number of constituents in the public JetClass-II example.
DECILES = (2, 21, 28, 33, 37, 41, 45, 50, 56, 65, 110)


def synthetic_batch(jets: int, rng: np.random.Generator) -> Batch:
    """Return jets with realistic multiplicities, momenta and angles, padded to 128."""
    lengths = np.interp(rng.random(jets), np.linspace(0, 1, len(DECILES)), DECILES).astype(int)
    mask = np.arange(128) < lengths[:, None]
    share = np.sort(rng.exponential(size=mask.shape) ** 2 * mask, axis=1)[:, ::-1]
    pt = 500 * share / share.sum(axis=1, keepdims=True)
    eta, phi = rng.normal(0, 0.2, (2, *mask.shape))
    energy = pt * np.cosh(eta) * 1.0001
    vectors = np.stack((pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), energy), axis=2)
    features = rng.normal(size=(*mask.shape, FEATURES))
    longest = lengths.max()
    arrays = {
        "features": (features * mask[..., None])[:, :longest].astype(np.float32),
        "vectors": (vectors * mask[..., None])[:, :longest].astype(np.float32),
        "mask": mask[:, :longest],
        "label": rng.integers(0, CLASSES, jets),
    }
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def weaver_network(**changes: Any) -> nn.Module:
    """Return weaver's network as Sophon's public files configure it, with changes."""
    from weaver.nn.model.ParticleTransformer import ParticleTransformer as WeaverTransformer

    logging.disable(logging.INFO)
    sophon: dict[str, Any] = {
        "input_dim": FEATURES,
        "num_classes": CLASSES,
        "pair_input_dim": 4,
        "use_pre_activation_pair": True,
        "fc_params": [(512, 0.1)],
        "trim": True,
    }

    class Wrapper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mod = WeaverTransformer(**(sophon | changes))

        def forward(self, features: Tensor, vectors: Tensor, mask: Tensor) -> Tensor:
            return self.mod(features.mT, v=vectors.mT, mask=mask[:, None])

    return Wrapper()


def own_network(compiled: bool = False) -> nn.Module:
    """Return the network of the project."""
    network = ParticleTransformer(ParticleTransformerConfig(), FEATURES, CLASSES)
    if compiled:
        network.compile_parts()
    return network


def step_timer(
    network: nn.Module, precision: str, device: torch.device
) -> Callable[[Batch], float]:
    """Return a function that trains on a batch and gives the seconds it took."""
    network.to(device).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)

    def step(batch: Batch) -> float:
        started = clock(device)
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            logits = network(batch["features"], batch["vectors"], batch["mask"])
            loss = nn.functional.cross_entropy(logits, batch["label"])
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        return clock(device) - started

    return step


def clock(device: torch.device) -> float:
    """Return seconds: of the process on a CPU, of the wall on a GPU that has caught up."""
    if device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


def main() -> None:
    """Time both and print jets per second."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--compile", action="store_true", help="measure it compiled too")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device(options.device)
    rng = np.random.default_rng(1)
    batches = [
        {name: x.to(device) for name, x in synthetic_batch(options.batch_size, rng).items()}
        for _ in range(4)
    ]
    networks = {"project": own_network()}
    if options.compile:
        networks["project_compiled"] = own_network(compiled=True)
    if importlib.util.find_spec("weaver"):
        networks["weaver"] = weaver_network()
    timers = {
        name: step_timer(network, options.precision, device) for name, network in networks.items()
    }
    # weaver begins to cut its batches in the sixth step.
    seconds: dict[str, list[float]] = {name: [] for name in timers}
    for i in range(6 + options.steps):
        for name, step in timers.items():
            elapsed = step(batches[i % len(batches)])
            if i >= 6:
                seconds[name].append(elapsed)
    results = {
        "date": datetime.date.today().isoformat(),
        "device": device_name(device),
        "torch": torch.__version__,
        "precision": options.precision,
        "batch_size": options.batch_size,
        "jets_per_second": {
            name: round(options.batch_size / min(times), 1) for name, times in seconds.items()
        },
        "jets_per_second_median": {
            name: round(options.batch_size / float(np.median(times)), 1)
            for name, times in seconds.items()
        },
    }
    rates = results["jets_per_second"]
    results["times_weaver"] = {
        name: round(rate / rates["weaver"], 2) for name, rate in rates.items() if "weaver" in rates
    }
    print(json.dumps(results, indent=1))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def device_name(device: torch.device) -> str:
    """Return the GPU's name, or that of a processor's core."""
    return (
        torch.cuda.get_device_name(device) if device.type == "cuda" else f"one core, {cpu_name()}"
    )


def cpu_name() -> str:
    """Return the processor's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
