"""All rows, what follows from several, and the table."""

import datetime
import importlib.metadata
import importlib.util
import json
import platform
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch

from benchmarks.gpu.plan import WEAVER, units
from benchmarks.gpu.processes import NO_TIME, Measurement
from benchmarks.gpu.settings import Row, Settings
from benchmarks.part import cpu_name
from provenance.files import atomic_output

NAME = "gpu.json"


class Report:
    """The rows; `gpu.json` has each as soon as it is measured.

    Parameters
    ----------
    settings
        Where they are measured.
    known
        Rows of a call before; those that there was no time for are left out.
    """

    def __init__(self, settings: Settings, known: Sequence[Row] = ()):
        self.settings = settings
        self.rows: list[Row] = [row for row in known if row.get("error") != NO_TIME]

    def add(self, row: Row) -> None:
        """Print a row and write it."""
        self.rows.append(row)
        print(json.dumps({k: rounded(v) for k, v in row.items()}), flush=True)
        self.write()

    def write(self) -> dict[str, Any]:
        """Write and return what there is so far."""
        report = summary(self)
        with atomic_output(self.settings.output / NAME) as path:
            path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        return report


def rounded(value: Any) -> Any:
    """Return a number with four digits, anything else as it is."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def measure(
    settings: Settings, words: Sequence[str] = ("",), known: Sequence[Row] = ()
) -> dict[str, Any]:
    """Measure all rows whose names hold one of some words and return the report."""
    report = Report(settings, known)
    there = {row["row"] for row in report.rows}
    wanted = []
    for unit in units(settings, importlib.util.find_spec(WEAVER) is not None):
        rows = [
            row
            for row in unit.rows(settings, settings.output, lambda: None)
            if row.label not in there and any(word in row.label for word in words)
        ]
        if rows:
            wanted.append((unit, rows))
    Measurement(settings, wanted, report.add).run()
    return report.write()


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
    said = subprocess.run(query, capture_output=True, text=True, check=False).stdout.split()
    return said[0] if said else None


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
