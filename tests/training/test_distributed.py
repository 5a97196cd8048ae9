"""Two processes train one network, each on its own jets."""

import csv
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from training.checkpoint import load_task

SMALL = Path(__file__).parents[2] / "training" / "configs" / "sophon-small.yaml"
SETTINGS = ("run.devices=2", "epochs=6", "data.rows_per_epoch=256", "model.blocks=1")
CHANCE = math.log(188)


@pytest.mark.slow
def test_two_processes_on_a_cpu(manifest, tmp_path):
    # The second process has nothing to validate on.
    content = json.loads(manifest.read_text())
    other = [file for file in content["files"] if file["split"] != "val"]
    val = next(file for file in content["files"] if file["split"] == "val")
    manifest.write_text(json.dumps(content | {"files": [*other, val]}))
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
    assert summary["steps"] == 12
    with (tmp_path / "out" / "history.csv").open() as file:
        losses = [float(row["train_loss"]) for row in csv.DictReader(file)]
    # It begins near chance and has learned more than that when it ends.
    assert losses[0] == pytest.approx(CHANCE, abs=0.5)
    assert losses[-1] < CHANCE - 0.5
    load_task(tmp_path / "out" / "checkpoint.ckpt")
    # One process speaks and writes.
    assert result.stderr.count("epoch 6/6") == 1

    again = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("this training is finished (12 steps)") == 1
    assert "Traceback" not in again.stderr
