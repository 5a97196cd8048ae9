"""Training end to end on reference jets: results, resuming, errors."""

import csv
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from provenance.errors import UserError
from training.checkpoint import load_task, read_checkpoint
from training.config import load_config
from training.evaluate.evaluate import evaluate
from training.fit import fit
from training.tasks.sophon import Sophon

CONFIGS = Path(__file__).parents[2] / "training" / "configs"
SMALL = CONFIGS / "sophon-small.yaml"
TINY = [
    "epochs=2",
    "data.batch_size=64",
    "data.buffer_jets=150",
    "model.embedding=[32,16]",
    "model.blocks=1",
    "model.dropout=0.1",
]


class PowerCutError(Exception):
    """Ends a training in the middle."""


def weights(path: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(path)["state_dict"]


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(value, second[name]) for name, value in first.items()
    )


def test_trains_evaluates_and_describes_itself(manifest, tmp_path):
    output = tmp_path / "out"
    fit(load_config(SMALL, TINY), manifest, output)
    rows = list(csv.DictReader((output / "history.csv").open()))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert float(rows[1]["train_loss"]) < float(rows[0]["train_loss"])
    summary = json.loads((output / "summary.json").read_text())
    assert summary["result"]["val_loss"] == pytest.approx(float(rows[1]["val_loss"]))
    assert summary["parameters"] == sum(
        p.numel() for p in load_task(output / "checkpoint.ckpt").network.parameters()
    )

    evaluate(output / "checkpoint.ckpt", manifest, "val", tmp_path / "val")
    metrics = json.loads((tmp_path / "val" / "metrics.json").read_text())
    # The checkpoint holds the averaged weights, with which the last validation ran.
    assert metrics["loss"] == pytest.approx(float(rows[1]["val_loss"]), rel=1e-4)
    assert metrics["accuracy"] == pytest.approx(float(rows[1]["val_accuracy"]), abs=1e-6)
    assert metrics["accuracy_qcd_merged"] >= metrics["accuracy"]
    assert sum(map(sum, metrics["confusion"]["counts"])) == metrics["jets"]
    for name in ("loss", "roc", "confusion", "calibration", "sculpting"):
        assert (tmp_path / "val" / f"{name}.png").stat().st_size > 5000
        assert (tmp_path / "val" / f"{name}.pdf").read_bytes()[:5] == b"%PDF-"


def test_same_seed_same_weights_other_seed_other_weights(manifest, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        fit(load_config(SMALL, [*TINY, "epochs=1", f"seed={seed}"]), manifest, tmp_path / name)
    first, again, other = (weights(tmp_path / name / "checkpoint.ckpt") for name in "abc")
    assert same(first, again)
    assert not same(first, other)


@pytest.mark.parametrize("interrupted_step", [4, 9])
def test_an_interrupted_training_goes_on_as_if_nothing_had_been(
    manifest, tmp_path, monkeypatch, interrupted_step
):
    config = load_config(SMALL, [*TINY, "data.jets_per_epoch=400", "run.checkpoint_steps=3"])
    fit(config, manifest, tmp_path / "whole")

    training_step = Sophon.training_step

    def interrupt(self, batch):
        if self.global_step == interrupted_step:
            raise PowerCutError
        return training_step(self, batch)

    monkeypatch.setattr(Sophon, "training_step", interrupt)
    with pytest.raises(PowerCutError):
        fit(config, manifest, tmp_path / "parts")
    monkeypatch.undo()
    assert not (tmp_path / "parts" / "checkpoint.ckpt").exists()
    assert not (tmp_path / "parts" / "summary.json").exists()
    fit(config, manifest, tmp_path / "parts", resume=True)

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert same(weights(whole / "checkpoint.ckpt"), weights(parts / "checkpoint.ckpt"))
    losses = [
        [float(row["train_loss"]) for row in csv.DictReader((folder / "history.csv").open())]
        for folder in (whole, parts)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert not any(map(math.isnan, losses[0]))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_selection_without_jets_ends_in_one_sentence(manifest, tmp_path, workers):
    settings = [*TINY, "data.selection.jet_pt=[2400,2500]", f"data.workers={workers}"]
    with pytest.raises(UserError) as error:
        fit(load_config(SMALL, settings), manifest, tmp_path)
    assert str(error.value).startswith("no training jet passes the selection (2400 < jet_pt < 2500")


def test_a_checkpoint_that_cannot_be_gone_on_from_is_named(manifest, tmp_path):
    config = load_config(SMALL, [*TINY, "epochs=1", "data.jets_per_epoch=64"])
    fit(config, manifest, tmp_path)
    with pytest.raises(UserError, match=r"last\.ckpt: model\.blocks was 1 and is 2"):
        fit(
            load_config(SMALL, [*TINY, "epochs=2", "model.blocks=2"]),
            manifest,
            tmp_path,
            resume=True,
        )
    last = tmp_path / "last.ckpt"
    last.write_bytes(last.read_bytes()[:-2000])
    with pytest.raises(UserError, match=r"last\.ckpt: not a checkpoint"):
        fit(config, manifest, tmp_path, resume=True)


def test_every_config_file_is_valid():
    for path in CONFIGS.glob("*.yaml"):
        load_config(path)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epoch=3", "epoch: Extra inputs are not permitted"),
        ("epochs=-3", "epochs: Input should be greater than 0, got -3"),
        ("data.batch_size=many", "data.batch_size: Input should be a valid integer"),
        ("epochs", "write key=value"),
        ("epochs.more=3", "epochs is a value, not a section"),
    ],
)
def test_wrong_overrides_are_named(override, message):
    with pytest.raises(UserError, match=message):
        load_config(SMALL, [override])


def test_more_gpus_than_there_are(manifest, tmp_path):
    config = load_config(SMALL, ["run.accelerator=gpu", "run.devices=99"])
    with pytest.raises(UserError, match="asks for 99 GPUs and this machine has"):
        fit(config, manifest, tmp_path)


def test_foreign_checkpoints_are_refused(manifest, tmp_path):
    checkpoint = tmp_path / "checkpoint.ckpt"
    with pytest.raises(UserError, match="no such checkpoint"):
        evaluate(checkpoint, manifest, "test", tmp_path)
    checkpoint.write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match="not a checkpoint"):
        evaluate(checkpoint, manifest, "test", tmp_path)
    torch.save({"state_dict": {}}, checkpoint)
    with pytest.raises(UserError, match="no description"):
        evaluate(checkpoint, manifest, "test", tmp_path)
    torch.save({"description": {"features": ["part_px"]}}, checkpoint)
    with pytest.raises(UserError, match=r"was trained with other features \(1\)"):
        evaluate(checkpoint, manifest, "test", tmp_path)


def test_configuration_is_read_without_heavy_imports():
    code = (
        "import sys; from training.config import load_config; "
        f"load_config({str(SMALL)!r}); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'numba', 'lightning')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_command_line_says_one_sentence(tmp_path):
    command = [sys.executable, "-m", "training", "fit", "--config", str(tmp_path / "no.yaml")]
    command += ["--manifest", "none.json", "--output", str(tmp_path / "out")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr == f"error: {tmp_path / 'no.yaml'}: no such configuration file\n"
    assert not (tmp_path / "out").exists()
