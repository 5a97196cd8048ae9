"""Jets per second of training Sophon's network, end to end: from Parquet to the optimiser's step.

A training as `python -m training fit` runs it, with its loader processes, pinned memory, transfers
beside the computation, precision, compilation and moving average; on a GPU where there is one, else
on a CPU. Beside it stand the same loader alone, with its transfers, and the same step
alone on a batch that stays on the device, so that the row says which of the two holds back the
other. The shards are the training jets of a dataset repeated to a given number.

Run as `python -m benchmarks.end_to_end --manifest M [--set run.compile=false] [--json FILE]`; it
prints the row as JSON and as Markdown. All times are the wall's.
"""

import argparse
import datetime
import json
import resource
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from benchmarks.loader import repeat_dataset
from benchmarks.part import clock, device_name, step_timer
from ntuplizer.labels import LABELS
from provenance.files import write_json
from training.config import load_config
from training.data.loaders import TrainingData
from training.data.reader import to_device
from training.data.shards import open_dataset
from training.devices import best_device, compiles, limit_threads
from training.fit import make_fabric
from training.loop import Training
from training.tasks.sophon.config import Config
from training.tasks.sophon.task import Sophon

CONFIG = Path(__file__).parents[1] / "training" / "configs" / "sophon.yaml"


def loader_rate(data: TrainingData, warm_up: int, steps: int, device: torch.device) -> float:
    """Return jets per second of the training loader with transfers to the device."""
    batches = iter(data.training_loader(device))

    def take(number: int) -> int:
        jets = 0
        for drawn in islice(batches, number):
            for tensor in drawn.batch.values():
                if isinstance(tensor, torch.Tensor):
                    tensor.to(device, non_blocking=True)
            jets += drawn.rows
        clock(device)
        return jets

    take(warm_up)
    return rate(lambda: take(steps))


def step_rate(
    task: Sophon,
    config: Config,
    data: TrainingData,
    warm_up: int,
    steps: int,
    device: torch.device,
) -> float:
    """Return jets per second of training steps on a batch that stays on the device."""
    drawn = next(iter(data.training_loader(device).stream))
    batch = to_device(drawn.batch, device)
    precision = "bf16" if config.run.precision == "bf16-mixed" else "fp32"
    step = step_timer(task.network, precision, device)
    for _ in range(warm_up):
        step(batch)
    return rate(lambda: sum(len(batch["label"]) for _ in range(steps) if step(batch)))


def rate(work: Callable[[], int]) -> float:
    """Return how many jets a second some work gets through."""
    started = time.perf_counter()
    jets = work()
    return jets / (time.perf_counter() - started)


def make_task(config: Config) -> Sophon:
    """Return the task, compiled where `fit` would."""
    task = Sophon(config)
    if compiles(config.run):
        task.compile_network()
    return task


def end_to_end_rate(
    config: Config, data: TrainingData, folder: Path, turn: Callable[[], None] = lambda: None
) -> float:
    """Return jets per second of the second epoch of a training, which compiles in the first.

    `turn` is called between the two, and may wait.
    """
    fabric = make_fabric(config.run)
    fabric.launch()
    training = Training(make_task(config), data, fabric, folder / "logs")

    def save(_: object) -> None:
        if len(training.history) == 1:
            started = time.perf_counter()
            turn()
            # Of the epoch that has begun.
            training._clock += time.perf_counter() - started

    training.run(save)
    return training.history[-1]["rows_per_second"]


def measure(config: Config, manifest: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return the row."""
    device = best_device() if config.run.accelerator != "cpu" else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    reader = Sophon(config).reader
    data = TrainingData(open_dataset(manifest, config, reader), reader, config)
    sizes = options.warm_up, options.steps
    loader = loader_rate(data, *sizes, device)
    step = step_rate(make_task(config), config, data, *sizes, device)
    with tempfile.TemporaryDirectory() as folder:
        together = end_to_end_rate(config, data, Path(folder))
    memory = (
        torch.cuda.max_memory_allocated(device) / 2**30
        if device.type == "cuda"
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    )
    return {
        "date": datetime.date.today().isoformat(),
        "device": device_name(device),
        "torch": torch.__version__,
        "precision": config.run.precision,
        "compiled": compiles(config.run),
        "batch_size": config.data.batch_size,
        "loader_processes": config.data.workers,
        "loader_jets_per_second": round(loader, 1),
        "step_jets_per_second": round(step, 1),
        "end_to_end_jets_per_second": round(together, 1),
        "peak_memory_gib": round(memory, 2),
    }


def write_manifest(shards: list[tuple[Path, str]], folder: Path) -> Path:
    """Write the manifest of a dataset that trains on shards and validates on the first."""
    files = [{"path": path.name, "part": part, "split": "train"} for path, part in shards]
    files.append({**files[0], "split": "val"})
    content = {"product": "jets", "labels": LABELS, "files": files}
    write_json(folder / "manifest.json", content)
    return folder / "manifest.json"


def main() -> None:
    """Measure and print the row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--manifest", type=Path, required=True, help="whose jets to repeat")
    parser.add_argument("--jets", type=int, default=400_000, help="in the shards")
    parser.add_argument("--steps", type=int, default=200, help="measured")
    parser.add_argument(
        "--warm-up", type=int, default=20, help="steps before, of loader and step alone"
    )
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--json", type=Path, help="also write the row here")
    options = parser.parse_args()
    config = load_config(options.config, ["epochs=2", "run.devices=1", *options.set])
    assert isinstance(config, Config)
    batch = config.data.batch_size
    rows = {"rows_per_epoch": options.steps * batch, "validation_rows": batch}
    config = config.model_copy(update={"data": config.data.model_copy(update=rows)})
    limit_threads(config.run)
    with tempfile.TemporaryDirectory() as folder:
        shards = repeat_dataset(options.manifest, options.jets, Path(folder))
        row = measure(config, write_manifest(shards, Path(folder)), options)
    print(json.dumps(row, indent=1))
    print("| " + " | ".join(row) + " |\n" + "|---" * len(row) + "|")
    print("| " + " | ".join(str(value) for value in row.values()) + " |")
    if options.json:
        write_json(options.json, row)


if __name__ == "__main__":
    main()
