"""A dataset of six small shards, each made in seconds: what tests of whole runs build."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from provenance.files import sha256
from workflow.config_model import ROOT

SNAKEMAKE = Path(sys.executable).parent / "snakemake"
CONFIG = {
    "name": "mini",
    "generation": {"events_per_batch": 10, "pileup_events": 200},
    "datasets": {
        "jets": {
            "card": "delphes_cards/jetclass2_fatjet.tcl",
            "rows_per_shard": 8,
            "parts": {"Res34P": {"processes": {"res34p": 1}, "shards": 6}},
        }
    },
}

SHARDS = [f"results/mini/datasets/jets/Res34P_{index:04d}.parquet" for index in range(6)]
PILEUP = "results/mini/pileup/minbias.arrow"
PATIENCE = 300  # s, for what a job takes on a busy machine


def write_config(folder: Path, more: dict[str, Any] | None = None) -> Path:
    """Write the configuration, with more keys, and return its file."""
    path = folder / "mini.yaml"
    path.write_text(yaml.safe_dump(CONFIG | (more or {})))
    return path


def command(folder: Path, config: Path, *arguments: str) -> list:
    """Return the call of Snakemake that builds the dataset, or other targets, in a folder."""
    return [
        SNAKEMAKE, "--snakefile", ROOT / "Snakefile", "--directory", folder,
        "--workflow-profile", ROOT / "profiles" / "default", "--cores", "1", *arguments,
        "--configfile", config,
    ]  # fmt: skip


def build(folder: Path, config: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run Snakemake to its end."""
    return subprocess.run(
        command(folder, config, *arguments), capture_output=True, text=True, check=False
    )


def start(folder: Path, config: Path, *arguments: str) -> subprocess.Popen:
    """Start Snakemake, in a session of its own and silent."""
    return subprocess.Popen(
        command(folder, config, *arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip


def await_shard(folder: Path, run: subprocess.Popen) -> int | None:
    """Return the process of the shard that a run works on; None when the run has ended."""
    deadline = time.monotonic() + PATIENCE
    while run.poll() is None:
        if (job := find_process(folder, "workflow", "shard")) is not None:
            return job
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return None


def with_library(run: Path, folder: Path) -> Path:
    """Return a folder that has the pile-up library of a run and no shard."""
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("datasets"))
    return folder


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[Path]:
    """Put a small file system of its own on a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    call = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
    if os.geteuid() != 0 or subprocess.run(call, capture_output=True, check=False).returncode:
        pytest.skip("cannot mount a file system here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def remount(folder: Path, option: str) -> None:
    """Change a file system that was mounted: `ro`, `size=50m`."""
    subprocess.run(["mount", "-o", f"remount,{option}", folder], check=True)


def dataset(folder: Path) -> Path:
    """Return the folder of the shards below the folder of a run."""
    return folder / "results" / "mini" / "datasets" / "jets"


def shards(folder: Path) -> dict[str, str]:
    """Return the checksum of every shard below the folder of a run."""
    return {file.name: sha256(file) for file in sorted(dataset(folder).glob("*.parquet"))}


def find_process(folder: Path, *module_and_command: str) -> int | None:
    """Return the process that runs `python -m <module> <command>` in a folder."""
    wanted = [b"-m", *(word.encode() for word in module_and_command)]
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = status.read_bytes().split(b"\0")
            where = (status.parent / "cwd").readlink()
        except OSError:
            continue
        if where == folder and words[1 : 1 + len(wanted)] == wanted:
            return int(status.parent.name)
    return None
