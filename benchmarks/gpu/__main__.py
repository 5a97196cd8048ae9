"""Command line."""

import argparse
import json
from pathlib import Path

import torch

import benchmarks.gpu
from benchmarks.gpu.report import markdown, measure
from benchmarks.gpu.settings import Settings


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
