"""Trainings that are killed, or whose saved state is damaged: they go on as if nothing had been."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from tiny import CONFIG, MODEL, real_jets

from ntuplizer.labels import LABELS
from ntuplizer.products import get_product
from provenance.errors import UserError
from training.checkpoint import read_checkpoint, write_checkpoint
from training.config import load_config
from training.fit import fit

JETS = get_product("jets")
# Six steps an epoch, and saved after each second one.
SETTINGS = [
    "epochs=3", "data.batch_size=8", "data.rows_per_epoch=48", "data.workers=0",
    "data.buffer_rows=20", "run.checkpoint_steps=2", "run.accelerator=cpu", "run.threads=1",
    "model.dropout=0.1",
    "data.selection.jet_pt=[1,5000]", "data.selection.jet_sdmass=[0,5000]",
]  # fmt: skip


@pytest.fixture
def manifest(tmp_path, reference):
    """A dataset of 96 jets, as somebody writes one by hand."""
    table = real_jets(reference, JETS.schema(JETS.Options()), 96)
    files = []
    for number, split in enumerate(("train", "train", "val")):
        name = f"A_{number}.parquet"
        rows = table.slice(32 * number, 32)
        pq.write_table(rows, tmp_path / name, row_group_size=16, write_page_checksum=True)
        files.append({"path": name, "part": "A", "split": split, "rows": len(rows)})
    content = {"product": "jets", "dataset_sha256": "5eed" * 16, "labels": LABELS, "files": files}
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    return tmp_path / "manifest.json"


def settings() -> list[str]:
    return [*SETTINGS, *(f"model.{key}={json.dumps(value)}" for key, value in MODEL.items())]


def history(folder: Path) -> list[dict[str, float]]:
    """The rows of a training, without its speed."""
    with (folder / "history.csv").open() as file:
        rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    for row in rows:
        del row["rows_per_second"]
    return rows


def same_results(first: Path, second: Path) -> None:
    """Assert that two trainings agree to 1e-6, their histories included."""
    found, expected = (read_checkpoint(path / "checkpoint.ckpt") for path in (first, second))
    assert found["state_dict"].keys() == expected["state_dict"].keys()
    for name, tensor in expected["state_dict"].items():
        torch.testing.assert_close(found["state_dict"][name], tensor, rtol=1e-6, atol=1e-6)
    assert len(history(first)) == len(history(second)) == 3
    for row, other in zip(history(first), history(second), strict=True):
        assert row == pytest.approx(other, rel=1e-6)


def damage(path: Path) -> None:
    """Flip a bit in the middle of the largest record of a saved state."""
    with zipfile.ZipFile(path) as archive:
        record = archive.read(max(archive.infolist(), key=lambda info: info.file_size))
    content = bytearray(path.read_bytes())
    content[content.index(record) + len(record) // 2] ^= 16
    path.write_bytes(content)


def test_a_damaged_state_costs_the_steps_since_the_one_before(manifest, tmp_path, capsys):
    config = load_config(CONFIG, settings())
    fit(config, manifest, tmp_path / "whole")
    fit(config, manifest, tmp_path / "parts")
    (tmp_path / "parts" / "checkpoint.ckpt").unlink()
    capsys.readouterr()
    damage(tmp_path / "parts" / "last.ckpt")
    fit(config, manifest, tmp_path / "parts")
    said = capsys.readouterr().err
    assert "last.ckpt: not a checkpoint" in said
    assert "the one saved before it is taken" in said
    assert "previous.ckpt: goes on after step 16 of 18" in said
    same_results(tmp_path / "parts", tmp_path / "whole")
    # What was damaged is not kept in the place of what was sound.
    for name in ("last.ckpt", "previous.ckpt"):
        read_checkpoint(tmp_path / "parts" / name)
    for name in ("last.ckpt", "previous.ckpt"):
        damage(tmp_path / "parts" / name)
    capsys.readouterr()
    fit(config, manifest, tmp_path / "parts")
    said = capsys.readouterr().err
    assert "begins anew" in said
    assert "checkpoint.ckpt: is replaced when this training ends" in said
    same_results(tmp_path / "parts", tmp_path / "whole")


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.pop("optimizer"),
        lambda state: state.update(history=5),
        lambda state: state.update(state_dict={}),
        lambda state: state["loader"].clear(),
    ],
)
def test_a_state_that_lacks_something_is_named(manifest, tmp_path, change):
    config = load_config(CONFIG, [*settings(), "epochs=1"])
    fit(config, manifest, tmp_path / "out")
    last = tmp_path / "out" / "last.ckpt"
    state = read_checkpoint(last)
    change(state)
    write_checkpoint(state, last)
    with pytest.raises(
        UserError, match=r"last\.ckpt: lacks what a training needs \(.+\); --restart"
    ):
        fit(config, manifest, tmp_path / "out")


@pytest.mark.slow
@pytest.mark.faults
def test_killed_trainings_go_on_as_if_nothing_had_been(manifest, tmp_path):
    """SIGKILL at four random times; the same command, again and again, ends the training."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    # Enough steps for each call to be killed among them.
    steps = [*settings(), "data.rows_per_epoch=400"]
    fit(load_config(CONFIG, steps), manifest, whole)
    command = [sys.executable, "-m", "training", "fit", "--config", CONFIG]
    command += ["--manifest", str(manifest), "--output", str(parts)]
    command += [word for setting in steps for word in ("--set", setting)]
    rng, kills = np.random.default_rng(1), 0
    for _ in range(4):
        last, before = parts / "last.ckpt", time.time_ns()
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
        )
        # From its first saved state on, anywhere.
        while process.poll() is None and not (last.exists() and last.stat().st_mtime_ns > before):
            time.sleep(0.01)
        time.sleep(float(rng.uniform(0, 0.5)))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            kills += 1
        process.communicate()
        if process.returncode == 0:
            break
    subprocess.run(command, check=True, capture_output=True)
    assert kills >= 2
    same_results(parts, whole)
