"""Command line."""

import argparse
import json
from pathlib import Path

import torch

import benchmarks.gpu
from benchmarks.gpu.report import NAME, markdown, measure
from benchmarks.gpu.settings import Settings


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=benchmarks.gpu.__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="small batches, few steps")
    parser.add_argument("--output", type=Path, default=Path("build/benchmarks"))
    parser.add_argument("--seconds", type=float, default=235, help="for all rows")
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
    parser.add_argument(
        "--networks",
        default=Settings.networks,
        metavar="MODULE",
        help="that has NETWORKS, WEAVER",
    )
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    settings = Settings(
        torch.device(options.device),
        options.quick,
        options.output,
        options.seconds,
        options.networks,
    )
    path = options.output / NAME
    known = []
    if options.resume and path.exists():
        known = json.loads(path.read_text(encoding="utf-8"))["rows"]
    report = measure(settings, options.rows, known)
    print(f"\n{report['device']}, driver {report['driver']}, {report['date']}, "
          f"{report['versions']}\n\n{markdown(report)}")  # fmt: skip


if __name__ == "__main__":
    main()
