"""A dataset of six small shards, each made in seconds: what tests of whole runs build."""

import subprocess
import sys
from pathlib import Path
from typing import Any

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
