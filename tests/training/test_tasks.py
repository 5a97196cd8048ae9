"""Tasks are found by their folders: one that lies elsewhere is trained without touching a file."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from provenance.errors import UserError
from training.config import load_config
from training.tasks import SEARCH_PATH, config_type, task_names

TOYS = Path(__file__).with_name("toy_tasks")
# Numbers so small that they stay on the device; a plateau; all rows in one configuration text.
TOY = {
    "task": "multiplicity",
    "epochs": 4,
    "data": {"batch_size": 50, "workers": 0, "on_device": True},
    "optimizer": {
        "name": "sgd",
        "learning_rate": 0.05,
        "schedule": {"name": "plateau", "patience": 0, "min_delta": 10.0},
        "ema_decay": None,
    },
    "run": {"accelerator": "cpu", "threads": 1, "checkpoint_steps": 1},
}
# Commands one after the other in a process, the last of which is cut off in mid-epoch.
RUN = """
import json, sys
from provenance.errors import run
from training.cli import main

for command in json.loads(sys.argv[1]):
    if command[0] == "cut":
        from training.loop import Training
        train_on = Training._train_on
        def cut(self, drawn):
            if self.step == 11:
                raise SystemExit(9)
            train_on(self, drawn)
        Training._train_on = cut
        command = command[1:]
    run(lambda: main(command))
"""


def call(*commands: list[str | Path]) -> subprocess.CompletedProcess:
    text = json.dumps([[str(word) for word in command] for command in commands])
    return subprocess.run(
        [sys.executable, "-c", RUN, text], env=os.environ | {SEARCH_PATH: str(TOYS)},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def rows_of(folder: Path) -> list[dict[str, float]]:
    with (folder / "history.csv").open() as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def test_a_task_in_a_folder_elsewhere_is_fitted_resumed_evaluated_and_predicted(manifest, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    shard, jets = manifest.parent / "QCD_0005.parquet", tmp_path / "jets.parquet"
    # What is to be predicted need not have the truth.
    pq.write_table(pq.read_table(shard).drop_columns(["jet_nparticles"]), jets)
    fit = ["fit", "--config", json.dumps(TOY), "--manifest", manifest, "--output"]
    checkpoint = ["--checkpoint", parts / "checkpoint.ckpt"]
    first = call([*fit, whole], ["cut", *fit, parts])
    assert first.returncode == 9, first.stderr
    second = call(
        [*fit, parts],
        ["evaluate", *checkpoint, "--manifest", manifest, "--output", tmp_path / "test"],
        ["predict", *checkpoint, "--input", jets, "--output", tmp_path / "predicted.parquet"],
        ["export", *checkpoint, "--output", tmp_path / "network.onnx"],
    )
    assert "last.ckpt: goes on after step 11 of 36" in second.stderr
    assert second.stderr.endswith("error: the task multiplicity cannot be exported\n")

    expected, found = rows_of(whole), rows_of(parts)
    for before, after in zip(expected, found, strict=True):
        del before["rows_per_second"], after["rows_per_second"]
        assert after == pytest.approx(before, rel=1e-6)
    assert expected[-1]["val_loss"] < expected[0]["val_loss"] / 2
    # No loss falls by 10, so that the learning rate does with every validation but the first.
    assert [row["learning_rate"] for row in expected] == pytest.approx([0.05, 0.01, 0.002, 0.0004])

    metrics = json.loads((tmp_path / "test" / "metrics.json").read_text())
    assert metrics["task"] == "multiplicity"
    assert metrics["summary"]["spread"] < 0.6
    assert metrics["figures"].keys() == {"residuals", "training"}
    assert all((tmp_path / "test" / f"{name}.png").is_file() for name in metrics["figures"])

    table, truth = pq.read_table(tmp_path / "predicted.parquet"), pq.read_table(shard)
    assert table.column_names == ["jet_pt", "logarithm"]
    assert table["jet_pt"].equals(truth["jet_pt"])
    residual = table["logarithm"].to_numpy() - np.log(truth["jet_nparticles"].to_numpy())
    assert abs(residual.mean()) < 0.5


def test_the_registry_names_its_tasks():
    assert "sophon" in task_names()
    with pytest.raises(UserError, match=r"task 'sofon' does not exist; there are .*sophon"):
        config_type("sofon")
    with pytest.raises(UserError, match="task: a name is needed"):
        load_config("{}")


def test_configurations_are_checked_without_heavy_imports():
    code = """
import sys
from training.config import load_config
from training.tasks import task_names

for name in task_names():
    load_config('{"task": "%s"}' % name)
heavy = {"numpy", "torch", "numba", "lightning", "pyarrow", "matplotlib"} & sys.modules.keys()
sys.exit(", ".join(heavy) or 0)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_a_dataset_of_another_product_is_refused(manifest, tmp_path):
    from training.fit import fit

    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(content | {"product": "events"}))
    with pytest.raises(UserError, match="product 'events', and the task sophon reads jets"):
        fit(load_config('{"task": "sophon"}'), manifest, tmp_path / "out")


def test_frozen_modules_evaluate_and_others_train():
    from training.checkpoint import make_task

    task = make_task(load_config('{"task": "sophon"}'))
    task.freeze(["encoder"])
    task.train()
    trains = {name for name, module in task.named_modules() if name and module.training}
    assert trains == {"network", "network.head", *(f"network.head.{i}" for i in range(4))}
    assert {n for n, p in task.named_parameters() if p.requires_grad} == {
        f"network.head.{i}.{kind}" for i in (0, 3) for kind in ("weight", "bias")
    }
    assert isinstance(task.network.head[0], torch.nn.Linear)
