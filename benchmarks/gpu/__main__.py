"""Command line."""

import argparse
import gc
import json
import os
import sys
from pathlib import Path

import torch

import benchmarks.gpu
from benchmarks.gpu.report import NAME, BrokenProcessError, markdown, measure
from benchmarks.gpu.settings import Settings

# What importing all costs a process that takes over.
START_SECONDS = 8


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=benchmarks.gpu.__doc__.splitlines()[0])
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
    parser.add_argument(
        "--resume", action="store_true", help=f"go on with the rows of a {NAME} in the output"
    )
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    if options.device == "cpu":
        torch.set_num_threads(1)
    settings = Settings(
        torch.device(options.device), options.quick, options.output, options.seconds
    )
    path = options.output / NAME
    known = []
    if options.resume and path.exists():
        known = json.loads(path.read_text(encoding="utf-8"))["rows"]
    try:
        report = measure(settings, options.rows, known)
    except BrokenProcessError as broken:
        seconds = str(max(broken.seconds - START_SECONDS, 0))
        # Loader processes that the row has left behind end with their loader.
        gc.collect()
        more = ["--resume", "--seconds", seconds]
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks.gpu", *sys.argv[1:], *more])  # noqa: S606
    print(f"\n{report['device']}, driver {report['driver']}, {report['date']}, "
          f"{report['versions']}\n\n{markdown(report)}")  # fmt: skip


if __name__ == "__main__":
    main()
