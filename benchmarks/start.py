"""How long a job takes to begin: `python -m benchmarks.start`.

Three starts with warm caches, each in a process of its own, the best of some tries: a shard of one
row (simulated, written, with its ledger), a training up to its first step, and planning the
quickstart. Wall time is what a user waits, processor time what is left of it on a busy machine.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from generation.default_library import default_library
from ntuplizer.manifest import build_manifest
from workflow.config_model import ROOT
from workflow.jobs.description import ShardJob

# Ends the process when the first step is done.
FIRST_STEP = """
import os, sys
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
from training.loop import Training
step = Training._train_on
def only_one(self, drawn):
    step(self, drawn)
    os._exit(0)
Training._train_on = only_one
from training.cli import main
main(sys.argv[1:])
"""
TARGETS = {"shard": 3.0, "fit, to its first step": 5.0, "snakemake --dry-run": 2.0}


@dataclass
class Start:
    """Seconds of one start."""

    wall: float
    processor: float


def measure(command: list[str | Path], tries: int) -> Start:
    """Return the best of some runs of a command."""
    starts = []
    for _ in range(tries):
        before, began = os.times(), time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
        after = os.times()
        used = (after.children_user + after.children_system) - (
            before.children_user + before.children_system
        )
        starts.append(Start(time.perf_counter() - began, used))
    return min(starts, key=lambda start: start.processor)


def shard_command(
    output: Path, rows: int, index: int = 0, split: str = "train"
) -> list[str | Path]:
    """Return the call that makes a shard of QCD jets."""
    job = ShardJob(
        dataset="jets", part="QCD", index=index, split=split, product="jets",
        options={"qcd_labels": True}, processes={"qcd": 1}, seed=1,
        card="delphes_cards/jetclass2_fatjet.tcl", events_per_batch=10, rows=rows, inputs={},
    )  # fmt: skip
    arguments = ["--job", job.text, "--pileup", default_library(), "--output", output]
    return [sys.executable, "-m", "workflow", "shard", *arguments]


def fit_command(folder: Path) -> list[str | Path]:
    """Return the call that trains a small network on a small dataset, which it makes."""
    dataset = folder / "dataset"
    for index, split in enumerate(("train", "val")):
        shard = dataset / f"QCD_{index:04d}.parquet"
        subprocess.run(shard_command(shard, 100, index, split), check=True, capture_output=True)
    manifest = dataset / "manifest.json"
    build_manifest([dataset], "jets", 1, "", manifest)
    config = ROOT / "training" / "configs" / "sophon-small.yaml"
    arguments = ["fit", "--restart", "--config", config, "--set", "epochs=1"]
    return [
        sys.executable, "-c", FIRST_STEP, *arguments, "--manifest", manifest,
        "--output", folder / "fit",
    ]  # fmt: skip


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=3)
    tries = parser.parse_args().tries
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        commands = {
            "shard": shard_command(folder / "shard.parquet", 1),
            "fit, to its first step": fit_command(folder),
            "snakemake --dry-run": [
                Path(sys.executable).parent / "snakemake", "--dry-run", "--quiet",
                "--configfile", "config/quickstart.yaml", "--directory", folder / "run",
            ],
        }  # fmt: skip
        print("| start | wall, s | processor, s | target, s |\n|---|---|---|---|")
        for what, command in commands.items():
            measure(command, 1)
            start = measure(command, tries)
            row = f"| {what} | {start.wall:.1f} | {start.processor:.1f} | {TARGETS[what]:.0f} |"
            print(row, flush=True)


if __name__ == "__main__":
    main()
