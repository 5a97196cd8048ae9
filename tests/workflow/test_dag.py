"""The resolved graph of each shipped configuration, without running it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from workflow.config_model import ROOT

SNAKEMAKE = Path(sys.executable).parent / "snakemake"


def dry_run(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Plan in a folder of its own, so that results of the checkout do not count."""
    return subprocess.run(
        [SNAKEMAKE, "--snakefile", ROOT / "Snakefile", "--directory", folder,
         "--workflow-profile", ROOT / "profiles" / "default", "--quiet", "rules", "--dry-run",
         *arguments],
        capture_output=True, text=True, check=False, env=os.environ | {"COLUMNS": "200"},
    )  # fmt: skip


def job_counts(result: subprocess.CompletedProcess) -> dict[str, int]:
    assert result.returncode == 0, result.stderr
    return {
        name: int(count)
        for name, count in re.findall(r"^(\w+)\s+(\d+)$", result.stdout + result.stderr, re.M)
    }


def test_quickstart_plans_every_stage(tmp_path):
    assert job_counts(dry_run(tmp_path)) == {
        "pileup_library": 1, "shard": 36, "manifest": 3, "train": 7, "evaluate": 7, "report": 1,
        "all": 1, "total": 56,
    }  # fmt: skip


def test_published_dataset_plans_all_shards(tmp_path):
    result = dry_run(tmp_path, "--configfile", str(ROOT / "config" / "jetclass2.yaml"))
    assert job_counts(result)["shard"] == 2010


def test_one_shard_can_be_asked_for_alone(tmp_path):
    counts = job_counts(dry_run(tmp_path, "results/quickstart/datasets/jets/Res34P_0004.parquet"))
    assert counts == {"pileup_library": 1, "shard": 1, "total": 2}


STUDIES = """
training:
  tuned:
    config: training/configs/sophon-small.yaml
    dataset: jets
    from: {training: sophon, parts: [encoder]}
    flat_sampling: true
studies:
  few_shot:
    training: tuned
    sizes: {key: data.train_rows, values: [100, 1000]}
    ways: {scratch: {from: null}, tuned: {}}
    seeds: [1, 2, 3]
    metric: accuracy
    baseline: scratch
"""


def test_a_study_plans_a_job_for_each_point(tmp_path):
    (tmp_path / "studies.yaml").write_text(STUDIES)
    configs = [ROOT / "config" / "quickstart.yaml", tmp_path / "studies.yaml"]
    counts = job_counts(dry_run(tmp_path, "--configfile", *map(str, configs)))
    assert (counts["train"], counts["evaluate"]) == (8 + 12, 8 + 12)
    # Weights belong to a training: each of those that draw with them has its own.
    assert counts["sampling_weights"] == 1 + 12
    assert counts["study"] == 1


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("sede=3", "sede is unknown; known here"),
        ("seed=-1", "seed = -1"),
        ("datasets={jets: {card: nowhere.tcl}}", "jets.card = 'nowhere.tcl': no such file"),
        ("training={sophon: {set: {epohcs: 3}}}", "epohcs"),
    ],
)
def test_wrong_config_stops_before_any_job(tmp_path, setting, expected):
    result = dry_run(tmp_path, "--config", setting)
    assert result.returncode != 0
    assert expected in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr
