"""What a GPU makes of the networks, in one call of a few minutes: a table and a JSON file.

Rows, each on its own (one that fails says why, the others go on; none takes longer than its share
of the time): the peaks of the device, equality of a GPU's outputs with a CPU's, training steps and
inference of every network of `NETWORKS` as it stands and compiled, in 16 and 32 bits, weaver-core's
Particle Transformer beside them where it is installed, the loader from Parquet, and training end to
end from Parquet. Jets are synthetic, with the multiplicities of JetClass-II.

Run as `python -m benchmarks.gpu [--output DIR] [--rows WORDS ...]`; `--device cpu --quick` is a
trial of the script.
"""

import argparse
import datetime
import importlib.metadata
import importlib.util
import json
import platform
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmarks.networks import (
    NETWORKS,
    WEAVER,
    Network,
    autocast,
    prediction_step,
    to_device,
    training_step,
)
from benchmarks.part import cpu_name, synthetic_batch
from training.jets.features import JET_FLOATS, PARTICLE_CODES, PARTICLE_FLOATS

Row = dict[str, Any]

# What a GPU's outputs may differ by from a CPU's, over the largest, and its gradients, over their
# norm: 32 bits add up in another order; 16 bits round each of the ten or so layers by 2^-9.
BOUNDS = {
    "fp32": {"outputs": 1e-4, "gradients": 1e-3},
    "bf16": {"outputs": 10 * 2**-9, "gradients": 0.2},
}


# Slow steps are repeated for about so long.
SLOW_SECONDS = 2.0


@dataclass(frozen=True)
class Settings:
    """Where and how long to measure."""

    device: torch.device
    quick: bool
    output: Path
    seconds: float  # for all rows

    def batch_sizes(self, network: Network) -> tuple[int, int]:
        """Return the sizes of a network's batches."""
        return (8, 16) if self.quick else network.sizes

    @property
    def steps(self) -> tuple[int, int]:
        """Return how many steps warm up and how many are measured."""
        return (1, 2) if self.quick else (10, 30)


class MatrixProducts(TorchDispatchMode):
    """Counts what matrix products compute, and the bytes they read and write, operands once."""

    NAMES = ("mm", "addmm", "bmm", "baddbmm")

    def __init__(self) -> None:
        super().__init__()
        self.flops, self.bytes = 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        """Count and go on."""
        result = function(*args, **(kwargs or {}))
        if function.overloadpacket.__name__ in self.NAMES:
            self.flops += flop_registry[function.overloadpacket](*args, out_val=result)
            tensors = [x for x in (*args, result) if isinstance(x, Tensor)]
            self.bytes += sum(x.numel() * x.element_size() for x in tensors)
        return result


@dataclass(frozen=True)
class Cost:
    """What the matrix products of a step cost per jet, counted on a CPU."""

    flops: float
    bytes: float


@cache
def cost(network: Network, precision: str, training: bool, jets: int = 64) -> Cost:
    """Count a step on so many jets; what is not a matrix product, or is padding, comes on top."""
    module = network.make().train(training)
    batch = network.batch(jets, np.random.default_rng(1))
    with (
        MatrixProducts() as products,
        torch.set_grad_enabled(training),
        autocast("cpu", precision),
    ):
        if training:
            network.loss(module, batch).backward()
        else:
            network.predict(module, batch)
    return Cost(products.flops / jets, products.bytes / jets)


def wait(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


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


def write_shard(path: Path, jets: int) -> None:
    """Write synthetic jets as a shard: the columns that training reads, as the ntuplizer does."""
    batch = synthetic_batch(jets, np.random.default_rng(3))
    mask = batch["mask"].numpy()
    px, py, pz, energy = batch["vectors"].numpy()[mask].T
    offsets = pa.array(np.concatenate(([0], mask.sum(1).cumsum())), pa.int32())
    rng = np.random.default_rng(4)
    size = len(px)
    values: dict[str, np.ndarray] = {
        "part_px": px, "part_py": py, "part_pz": pz, "part_energy": energy,
        "part_deta": np.arcsinh(pz / np.hypot(px, py)), "part_dphi": np.arctan2(py, px),
    }  # fmt: skip
    for name in PARTICLE_FLOATS:
        values.setdefault(name, np.abs(rng.normal(0, 0.1, size)))
    for name in PARTICLE_CODES:
        values[name] = rng.integers(0, 2, size).astype(np.int8)
    columns: dict[str, Any] = {}
    for name in (*PARTICLE_FLOATS, *PARTICLE_CODES):
        numbers = values[name] if name in PARTICLE_CODES else values[name].astype(np.float32)
        columns[name] = pa.ListArray.from_arrays(offsets, pa.array(numbers))
    for name in JET_FLOATS:
        columns[name] = rng.uniform(200, 400, jets).astype(np.float32)
    columns["jet_label"] = batch["label"].numpy().astype(np.int32)
    table = pa.table(columns)
    pq.write_table(
        table,
        path,
        compression="zstd",
        row_group_size=10_000,
        use_dictionary=False,
        write_page_checksum=True,
    )


class Parquet:
    """Training from shards that the script writes; the one place that knows `training`'s loader."""

    def __init__(self, settings: Settings, folder: Path):
        from benchmarks.end_to_end import write_manifest

        self.settings, self.folder = settings, folder
        self.jets = 200 if settings.quick else 20_000
        write_shard(folder / "jets_0.parquet", self.jets)
        copies = 4 if settings.quick else 16
        shards = [(folder / f"jets_{i}.parquet", "jets") for i in range(copies)]
        for path, _ in shards[1:]:
            shutil.copyfile(shards[0][0], path)
        self.manifest = write_manifest(shards, folder)

    def _data(self, batch_size: int, workers: int, steps: int) -> tuple[Any, Any]:
        from benchmarks.end_to_end import CONFIG
        from training.config import load_config
        from training.data.loaders import TrainingData
        from training.data.shards import open_dataset
        from training.tasks.sophon.task import Sophon

        changes = {
            "epochs": 2,
            "run.devices": 1,
            "run.accelerator": "gpu" if self.settings.device.type == "cuda" else "cpu",
            "data.batch_size": batch_size,
            "data.workers": workers,
            "data.rows_per_epoch": steps * batch_size,
            "data.validation_rows": batch_size,
        }
        config = load_config(CONFIG, [f"{key}={value}" for key, value in changes.items()])
        reader = Sophon(config).reader
        return config, TrainingData(open_dataset(self.manifest, config, reader), reader, config)

    def loader(self, batch_size: int, workers: int) -> Row:
        """Measure the loader alone, transfers included."""
        from benchmarks.end_to_end import loader_rate

        warm_up, measured = (1, 2) if self.settings.quick else (40, 20 * max(workers, 4))
        _, data = self._data(batch_size, workers, warm_up + measured)
        return {"rows_per_second": loader_rate(data, warm_up, measured, self.settings.device)}

    def training(self, batch_size: int, workers: int) -> Row:
        """Measure a training as `fit` runs it, after an epoch in which kernels are compiled."""
        from benchmarks.end_to_end import end_to_end_rate

        config, data = self._data(batch_size, workers, 2 if self.settings.quick else 120)
        device = self.settings.device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        row: Row = {"rows_per_second": end_to_end_rate(config, data, self.folder)}
        row["milliseconds"] = 1e3 * batch_size / row["rows_per_second"]
        if device.type == "cuda":
            row["peak_gib"] = torch.cuda.max_memory_allocated(device) / 2**30
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


class Report:
    """The rows, measured one after the other."""

    def __init__(self, settings: Settings, wanted: Sequence[str] = ("",)):
        self.settings, self.wanted = settings, wanted
        self.rows: list[Row] = []
        self.end = time.perf_counter() + settings.seconds

    def add(self, work: Callable[[], Row], seconds: float, **names: Any) -> Row:
        """Measure a row and print it; its error, if it fails or takes too long, is in it."""
        label = " ".join(str(value) for value in names.values())
        if not any(word in label for word in self.wanted):
            return {}
        left = min(seconds, self.end - time.perf_counter())
        started = time.perf_counter()
        row = dict(names)
        try:
            if left < 1:
                raise TimeoutError("the time for all rows was used up before")
            with time_limit(left):
                row |= work()
        except Exception as error:
            row["error"] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        row["seconds"] = time.perf_counter() - started
        self.rows.append(row)
        print(json.dumps({k: rounded(v) for k, v in row.items()}), flush=True)
        return row


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in what takes longer, and again each second until it gives way."""

    def ring(*_: Any) -> None:
        raise TimeoutError(f"took longer than {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def rounded(value: Any) -> Any:
    """Return a number with four digits, anything else as it is."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def measure(settings: Settings, wanted: Sequence[str] = ("",)) -> dict[str, Any]:
    """Measure all rows whose names hold one of some words and return the report."""
    report = Report(settings, wanted)
    on_gpu = settings.device.type == "cuda"
    has_weaver = importlib.util.find_spec("weaver") is not None
    report.add(lambda: peaks(settings), 20, what="peaks")
    # What matters most comes first.
    for training, precision in ((True, "bf16"), (False, "bf16"), (True, "fp32"), (False, "fp32")):
        for name, network in NETWORKS.items():
            if training and precision in network.equal:
                report.add(
                    lambda network=network, precision=precision: agreement(
                        settings, network, precision
                    ),
                    40, network=name, what="agreement", precision=precision,
                )  # fmt: skip
            if on_gpu and network.compile is not None:
                _step_rows(report, name, network, training, True, precision)
            if name == "sophon" and training and precision == "bf16":
                # Here, where its parts are compiled already.
                _parquet_rows(report)
        if has_weaver:
            _step_rows(report, "weaver", WEAVER, training, False, precision)
        for name, network in NETWORKS.items():
            _step_rows(report, name, network, training, False, precision)
    return summary(report)


def _step_rows(
    report: Report, name: str, network: Network, training: bool, compiled: bool, precision: str
) -> None:
    settings, made = report.settings, []
    names = {
        "network": name,
        "what": "training step" if training else "inference",
        "precision": precision,
        "compiled": compiled,
    }

    def step() -> Callable[[Any], Any]:
        # Made in the first row, whose budget it is part of.
        if not made:
            module = network.make().to(settings.device)
            if compiled and network.compile is not None:
                network.compile(module)
            made.append(
                training_step(network, module, precision, compiled)
                if training
                else prediction_step(network, module, precision)
            )
        return made[0]

    for jets in settings.batch_sizes(network):
        report.add(
            lambda jets=jets: step_row(
                settings, network, training, compiled, precision, step(), jets
            ),
            60, **names, batch=jets,
        )  # fmt: skip
    if training and precision == "bf16" and network is NETWORKS.get("sophon"):
        kind = "compiled" if compiled else "eager"
        report.add(
            lambda: profile(settings, network, step(), f"{name}-{kind}"),
            15, **names | {"what": "profile"},
        )  # fmt: skip


def _parquet_rows(report: Report) -> None:
    settings = report.settings
    with tempfile.TemporaryDirectory() as folder:
        made: list[Parquet] = []

        def parquet() -> Parquet:
            if not made:
                made.append(Parquet(settings, Path(folder)))
            return made[0]

        small, large = settings.batch_sizes(NETWORKS["sophon"])
        for workers in (0,) if settings.quick else (1, 8):
            report.add(
                lambda workers=workers: parquet().loader(small, workers),
                20, what="loader", batch=small, workers=workers,
            )  # fmt: skip
        for batch in (small,) if settings.quick else (small, large):
            workers = 0 if settings.quick else 8
            report.add(
                lambda batch=batch, workers=workers: parquet().training(batch, workers),
                60, network="sophon", what="training from Parquet", precision="bf16", batch=batch,
                workers=workers,
            )  # fmt: skip


def summary(report: Report) -> dict[str, Any]:
    """Add to the rows what follows from several, and what they were measured on."""
    rows, settings = report.rows, report.settings
    peak: Row = next((row for row in rows if row.get("what") == "peaks"), {})
    weaver = {
        (row["what"], row["precision"], row["batch"]): row["rows_per_second"]
        for row in rows
        if row.get("network") == "weaver" and "rows_per_second" in row
    }
    loader: Row = next(
        (row for row in rows if row.get("what") == "loader" and "rows_per_second" in row), {}
    )
    for row in rows:
        if "rows_per_second" not in row or row["what"] == "loader":
            continue
        for quantity in ("tflops", "tb_per_second"):
            if quantity in row and quantity in peak:
                row[f"{quantity}_over_peak"] = row[quantity] / peak[quantity]
        beside = weaver.get((row["what"], row.get("precision"), row.get("batch")))
        if beside and row.get("network") != "weaver":
            row["times_weaver"] = row["rows_per_second"] / beside
        if "rows_per_second" in loader and row["what"] == "training step":
            row["loader_processes_needed"] = row["rows_per_second"] / loader["rows_per_second"]
    return {
        "date": datetime.date.today().isoformat(),
        "device": device(settings.device),
        "driver": driver(settings.device),
        "processor": cpu_name(),
        "versions": versions(),
        "quick": settings.quick,
        "rows": rows,
    }


def device(where: torch.device) -> str:
    """Return the device's name."""
    return torch.cuda.get_device_name(where) if where.type == "cuda" else cpu_name()


def driver(where: torch.device) -> str | None:
    """Return the version of the GPU's driver, None without one."""
    if where.type != "cuda" or shutil.which("nvidia-smi") is None:
        return None
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout.split()[0]


def versions() -> dict[str, str]:
    """Return the versions of what is measured."""
    found = {"python": platform.python_version()}
    for name in ("torch", "triton", "lightning", "numpy", "pyarrow", "numba", "weaver-core"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


# Headings of the table, and the keys below them.
TABLE = {
    "Network": "network",
    "Measured": "what",
    "Precision": "precision",
    "Compiled": "compiled",
    "Batch": "batch",
    "Rows/s": "rows_per_second",
    "ms": "milliseconds",
    "× weaver": "times_weaver",
    "Peak GiB": "peak_gib",
    "TFLOP/s": "tflops",
    "of peak": "tflops_over_peak",
    "TB/s at least": "tb_per_second",
    "of the peak": "tb_per_second_over_peak",
    "Remarks": "remarks",
}


def markdown(report: dict[str, Any]) -> str:
    """Return the table."""
    lines = ["| " + " | ".join(TABLE) + " |", "|---" * len(TABLE) + "|"]
    for row in report["rows"]:
        remarks = [
            f"{key.replace('_', ' ')} {rounded(row[key])}"
            for key in ("outputs", "gradients", "workers", "loader_processes_needed", "file")
            if key in row
        ]
        remarks += [row["error"]] if "error" in row else []
        cells = row | {"remarks": "; ".join(remarks)}
        lines.append("| " + " | ".join(_cell(cells.get(key, "")) for key in TABLE.values()) + " |")
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
    return str(value).replace("|", "/")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="small batches, few steps")
    parser.add_argument("--output", type=Path, default=Path("build/benchmarks"))
    parser.add_argument("--seconds", type=float, default=225, help="for all rows")
    parser.add_argument(
        "--rows",
        nargs="+",
        default=[""],
        metavar="WORDS",
        help="only those whose names hold one of these, such as 'sophon training' or loader",
    )
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    if options.device == "cpu":
        torch.set_num_threads(1)
    settings = Settings(
        torch.device(options.device), options.quick, options.output, options.seconds
    )
    report = measure(settings, options.rows)
    (options.output / "gpu.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"\n{report['device']}, driver {report['driver']}, {report['date']}, "
          f"{report['versions']}\n\n{markdown(report)}")  # fmt: skip


if __name__ == "__main__":
    main()
