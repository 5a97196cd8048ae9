"""The published dataset plans quickly with either backend, and in little memory."""

import re
import subprocess
import sys

import pytest

from workflow.config_model import ROOT

SECONDS, MEGABYTES = 60, 1000


@pytest.mark.parametrize(
    ("config", "jobs"), [("jetclass2", 2_010), ("jetclass2-containers", 2_300)]
)
def test_published_dataset_plans_in_time(config, jobs):
    # As a program: Linux counts the memory of a large parent, such as this run, as its child's.
    line = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "dag.py", ROOT / "config" / f"{config}.yaml"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    found = re.search(r": (\d+) jobs, (\S+) s, (\d+) MB", line)
    planned, seconds, memory = map(float, found.groups())
    assert planned > jobs
    assert seconds < SECONDS
    assert memory < MEGABYTES
