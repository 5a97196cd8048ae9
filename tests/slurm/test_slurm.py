"""The Slurm profile on a real Slurm: complete, with a killed job, with a node that goes down.

What comes out is compared byte by byte with what a plain run makes.
"""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from mini_dataset import SNAKEMAKE, find_process, shards

from workflow.config_model import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.slurm]

# What a machine without accounting, accounts and patience needs beside the profile.
LOCAL = (
    "--slurm-no-account", "--slurm-status-command", "squeue",
    "--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "10",
)  # fmt: skip
PATIENCE = 400


class Run:
    """Snakemake with the Slurm profile, in the background."""

    def __init__(self, slurm, folder: Path, config: Path):
        folder.mkdir()
        self.folder = folder
        self.slurm = slurm
        self.log = folder / "snakemake.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [SNAKEMAKE, "--profile", ROOT / "profiles" / "slurm",
                 "--snakefile", ROOT / "Snakefile", "--directory", folder, *LOCAL,
                 "datasets", "--configfile", config],
                env=slurm.environment, stdout=log, stderr=log,
            )  # fmt: skip

    def running_worker(self) -> int:
        """Wait for a shard in the making; return the process that makes it."""
        return self._wait(lambda: find_process(self.folder, "workflow", "shard"))

    def finished_shard(self) -> None:
        """Wait for the first shard."""
        self._wait(lambda: shards(self.folder))

    def finish(self) -> str:
        """Wait for the end; return what Snakemake said."""
        try:
            code = self.process.wait(PATIENCE)
        finally:
            self.process.kill()
        text = self.log.read_text()
        assert code == 0, text[-5000:]
        return text

    def _wait(self, condition):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.process.poll() is None:
            if found := condition():
                return found
            time.sleep(0.2)
        pytest.fail(f"waited in vain\n{self.log.read_text()[-3000:]}")


def test_a_run_makes_the_same_bytes(slurm, config, undisturbed, tmp_path):
    run = Run(slurm, tmp_path / "run", config)
    run.finish()
    assert shards(run.folder) == undisturbed
    assert len(undisturbed) == 6
    jobs = slurm.run("squeue", "--noheader", "--states=all", "--format", "%T %P").split("\n")
    assert jobs.count("COMPLETED main") == 7


def test_a_killed_job_is_tried_again(slurm, config, undisturbed, tmp_path):
    run = Run(slurm, tmp_path / "run", config)
    os.kill(run.running_worker(), signal.SIGKILL)
    text = run.finish()
    assert "Trying to restart job" in text
    assert shards(run.folder) == undisturbed


def test_a_cancelled_job_is_tried_again(slurm, config, undisturbed, tmp_path):
    run = Run(slurm, tmp_path / "run", config)
    run.running_worker()
    jobs = slurm.run("squeue", "--noheader", "--states=RUNNING", "--format", "%i").split()
    slurm.run("scancel", jobs[-1])
    run.finish()
    assert shards(run.folder) == undisturbed


def test_a_node_goes_down_and_comes_back(slurm, config, undisturbed, tmp_path):
    run = Run(slurm, tmp_path / "run", config)
    run.finished_shard()
    run.running_worker()
    slurm.stop_node()
    time.sleep(3)
    slurm.start_node()
    run.finish()
    assert shards(run.folder) == undisturbed
