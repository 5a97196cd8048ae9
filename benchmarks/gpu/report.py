"""All rows, what follows from several, and the table."""

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
from functools import cache
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.parquet import Parquet
from benchmarks.gpu.settings import Row, Settings
from benchmarks.gpu.steps import agreement, peaks, profile, step_row
from benchmarks.networks import NETWORKS, WEAVER, Network, prediction_step, training_step
from benchmarks.part import cpu_name
from provenance.files import atomic_output

NAME = "gpu.json"
NO_TIME = "the time for all rows was used up before"


class BrokenProcessError(Exception):
    """A row failed on a GPU: what it leaves behind, half a captured graph say, fails the others.

    Parameters
    ----------
    seconds
        That are left for all rows.
    """

    def __init__(self, seconds: float):
        super().__init__()
        self.seconds = max(seconds, 0.0)


class Report:
    """The rows, measured one after the other; `gpu.json` has them as soon as they are.

    Parameters
    ----------
    settings
        Where and how long.
    wanted
        Words, one of which the name of a row must hold.
    known
        Rows of a call before, which are not measured again.
    """

    def __init__(
        self, settings: Settings, wanted: Sequence[str] = ("",), known: Sequence[Row] = ()
    ):
        self.settings, self.wanted = settings, wanted
        self.rows: list[Row] = [row for row in known if NO_TIME not in row.get("error", "")]
        self.known = {row["row"] for row in self.rows}
        self.end = time.perf_counter() + settings.seconds

    def add(self, work: Callable[[], Row], seconds: float, **names: Any) -> Row:
        """Measure a row and print it; its error, if it fails or takes too long, is in it.

        Raises
        ------
        BrokenProcessError
            When it failed on a GPU.
        """
        label = " ".join(str(value) for value in names.values())
        if label in self.known or not any(word in label for word in self.wanted):
            return {}
        left = min(seconds, self.end - time.perf_counter())
        started = time.perf_counter()
        row, broken = {"row": label, **names}, False
        try:
            if left < 1:
                row["error"] = NO_TIME
            else:
                with time_limit(left):
                    row |= work()
        except Exception as error:
            row["error"] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            broken = self.settings.device.type == "cuda"
        row["seconds"] = time.perf_counter() - started
        self.rows.append(row)
        print(json.dumps({k: rounded(v) for k, v in row.items()}), flush=True)
        self.write()
        if broken:
            raise BrokenProcessError(self.end - time.perf_counter())
        return row

    def write(self) -> dict[str, Any]:
        """Write and return what there is so far."""
        report = summary(self)
        with atomic_output(self.settings.output / NAME) as path:
            path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        return report


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


def measure(
    settings: Settings, wanted: Sequence[str] = ("",), known: Sequence[Row] = ()
) -> dict[str, Any]:
    """Measure all rows whose names hold one of some words and return the report.

    Raises
    ------
    BrokenProcessError
        When the rest needs another process; the rows so far are in `gpu.json`.
    """
    report = Report(settings, wanted, known)
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
            captured = training and network.fixed_shapes
            if on_gpu and (network.compile is not None or captured):
                _step_rows(report, name, network, training, True, precision)
            if name == "sophon" and training and precision == "bf16":
                # Here, where its parts are compiled already.
                _parquet_rows(report)
            if name == "sophon" and has_weaver:
                _step_rows(report, "weaver", WEAVER, training, False, precision)
        for name, network in NETWORKS.items():
            _step_rows(report, name, network, training, False, precision)
    return report.write()


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
                40, what="loader", batch=small, workers=workers,
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
        of_jets = row.get("network") in ("sophon", "weaver")
        if of_jets and "rows_per_second" in loader and row["what"] == "training step":
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


@cache
def device(where: torch.device) -> str:
    """Return the device's name."""
    return torch.cuda.get_device_name(where) if where.type == "cuda" else cpu_name()


@cache
def driver(where: torch.device) -> str | None:
    """Return the version of the GPU's driver, None without one."""
    if where.type != "cuda" or shutil.which("nvidia-smi") is None:
        return None
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout.split()[0]


@cache
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
