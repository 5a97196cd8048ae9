"""Two processes train one network, each on its own jets."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from training.checkpoint import load_task

SMALL = Path(__file__).parents[2] / "training" / "configs" / "sophon-small.yaml"
SETTINGS = ("run.devices=2", "epochs=2", "data.jets_per_epoch=256", "model.blocks=1")


@pytest.mark.slow
def test_two_processes_on_a_cpu(manifest, tmp_path):
    command = [sys.executable, "-m", "training", "fit", "--config", str(SMALL)]
    for setting in SETTINGS:
        command += ["--set", setting]
    command += ["--manifest", str(manifest), "--output", str(tmp_path / "out")]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["devices"] == 2
    # Two batches of 64 per step.
    assert summary["steps"] == 4
    assert summary["result"]["train_loss"] < 5.5
    load_task(tmp_path / "out" / "checkpoint.ckpt")
    # One process speaks and writes.
    assert result.stderr.count("epoch 2/2") == 1

    resumed = subprocess.run(
        [*command, "--resume"], capture_output=True, text=True, check=False, timeout=600
    )
    assert resumed.returncode == 0, resumed.stderr
    assert "Traceback" not in resumed.stderr
