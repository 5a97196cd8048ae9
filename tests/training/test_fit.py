"""Training end to end on reference jets: results, going on, errors."""

import csv
import json
import math
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import CONFIGS, SMALL, TINY

from provenance.errors import UserError
from provenance.lock import locked
from training.checkpoint import load_task, read_checkpoint
from training.config import load_config
from training.evaluate.evaluate import evaluate
from training.fit import fit
from training.tasks.sophon.task import Sophon


class PowerCutError(Exception):
    """Ends a training in the middle."""


def weights(path: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(path)["state_dict"]


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(value, second[name]) for name, value in first.items()
    )


def history(folder: Path) -> list[dict[str, float]]:
    """The rows of a training, without its speed."""
    with (folder / "history.csv").open() as file:
        rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    for row in rows:
        del row["rows_per_second"]
    return rows


def test_trains_evaluates_and_describes_itself(manifest, tmp_path):
    output = tmp_path / "out"
    fit(load_config(SMALL, [*TINY, "epochs=3"]), manifest, output)
    rows = history(output)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert rows[2]["train_loss"] < rows[1]["train_loss"] < rows[0]["train_loss"]
    assert rows[2]["val_loss"] < math.log(188)
    summary = json.loads((output / "summary.json").read_text())
    assert summary["result"]["val_loss"] == rows[2]["val_loss"]
    task = load_task(output / "checkpoint.ckpt")
    assert summary["parameters"] == sum(p.numel() for p in task.network.parameters())
    assert read_checkpoint(output / "checkpoint.ckpt")["description"]["dataset_sha256"] == (
        "5eed" * 16
    )

    evaluate(output / "checkpoint.ckpt", manifest, "val", tmp_path / "val")
    metrics = json.loads((tmp_path / "val" / "metrics.json").read_text())
    measured = metrics["summary"]
    # The checkpoint holds the averaged weights, with which the last validation ran.
    assert measured["loss"] == pytest.approx(rows[2]["val_loss"], rel=1e-4)
    assert measured["accuracy"] == pytest.approx(rows[2]["val_accuracy"], abs=1e-6)
    assert measured["accuracy_qcd_merged"] >= measured["accuracy"]
    assert sum(map(sum, metrics["confusion"]["counts"])) == measured["jets"] == metrics["rows"]
    assert metrics["dataset_sha256"] == "5eed" * 16
    assert metrics["figures"].keys() == {
        "training", "roc", "confusion", "calibration", "sculpting"
    }  # fmt: skip
    for name in metrics["figures"]:
        assert (tmp_path / "val" / f"{name}.pdf").read_bytes()[:5] == b"%PDF-"


def test_same_seed_same_weights_other_seed_other_weights(manifest, tmp_path):
    short = [*TINY, "epochs=1", "data.rows_per_epoch=128", "model.dropout=0.1"]
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        fit(load_config(SMALL, [*short, f"seed={seed}"]), manifest, tmp_path / name)
    first, again, other = (weights(tmp_path / name / "checkpoint.ckpt") for name in "abc")
    assert same(first, again)
    assert not same(first, other)


# Epochs have four steps, and every second one is saved: before an epoch's third step, before the
# first of the next, after its last, before the end of its validation.
@pytest.mark.parametrize(("step", "validating"), [(2, False), (4, False), (7, True), (11, True)])
def test_an_interrupted_training_goes_on_as_if_nothing_had_been(
    manifest, tmp_path, monkeypatch, capsys, step, validating
):
    settings = [*TINY, "epochs=3", "data.rows_per_epoch=256", "data.buffer_rows=150"]
    settings += ["model.dropout=0.1", "run.checkpoint_steps=2"]
    config = load_config(SMALL, settings)
    fit(config, manifest, tmp_path / "whole")
    capsys.readouterr()

    taken, forward = [0], Sophon.step

    def interrupt(self, batch):
        if taken[0] >= step and self.training != validating:
            raise PowerCutError
        taken[0] += self.training
        return forward(self, batch)

    monkeypatch.setattr(Sophon, "step", interrupt)
    with pytest.raises(PowerCutError):
        fit(config, manifest, tmp_path / "parts")
    monkeypatch.undo()
    assert not (tmp_path / "parts" / "checkpoint.ckpt").exists()
    assert not (tmp_path / "parts" / "summary.json").exists()
    # The same call goes on by itself.
    fit(config, manifest, tmp_path / "parts")
    assert f"last.ckpt: goes on after step {step // 2 * 2} of 12\n" in capsys.readouterr().err

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert same(weights(whole / "checkpoint.ckpt"), weights(parts / "checkpoint.ckpt"))
    expected = history(whole)
    assert [row["epoch"] for row in expected] == [1, 2, 3]
    for before, after in zip(expected, history(parts), strict=True):
        assert after == pytest.approx(before, rel=1e-6)


def test_going_on_or_beginning_anew_is_said(manifest, tmp_path, capsys):
    settings = [*TINY, "epochs=1", "data.rows_per_epoch=64"]

    def call(*more: str, **options) -> str:
        fit(load_config(SMALL, [*settings, *more]), manifest, tmp_path, **options)
        return "".join(
            line for line in capsys.readouterr().err.splitlines(True) if "last.ckpt" in line
        )

    last = tmp_path / "last.ckpt"
    assert call() == ""
    before = weights(last)
    # Nothing is lost, and where a training runs does not matter.
    assert "this training is finished (1 steps)" in call("run.threads=2")
    assert same(weights(last), before)
    assert call(restart=True) == ""
    assert "is of a training with other seed; begins anew" in call("seed=2")
    assert not same(weights(last), before)
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(content | {"dataset_sha256": "0" * 64}))
    assert "with other dataset_sha256; begins anew" in call("seed=2")
    last.write_bytes(last.read_bytes()[:-2000])
    assert "last.ckpt: not a checkpoint" in call("seed=2")


def test_so_many_steps_whatever_the_number_of_rows(manifest, tmp_path):
    learned = {}
    for rows in (60, 240):
        output = tmp_path / str(rows)
        settings = ["steps=7", "data.rows_per_epoch=192", f"data.train_rows={rows}"]
        fit(load_config(SMALL, [*TINY, *settings]), manifest, output)
        assert [row["step"] for row in history(output)] == [3, 6, 7]
        assert json.loads((output / "summary.json").read_text())["steps"] == 7
        # The schedule ends with the training.
        assert history(output)[-1]["learning_rate"] == pytest.approx(3e-5)
        learned[rows] = history(output)[-1]
    # With fewer rows, which it sees more often, it knows them better.
    assert learned[60]["train_loss"] < learned[240]["train_loss"]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        # Matrices grow ten thousandfold in every step.
        (
            ["optimizer.learning_rate=100", "optimizer.weight_decay=100"],
            r"the (loss|gradient) became (nan|inf) in step \d",
        ),
        (
            [
                "optimizer.learning_rate=100",
                "optimizer.weight_decay=100",
                "optimizer.gradient_clip=null",
            ],
            "became (nan|inf) in",
        ),
    ],
)
def test_a_loss_that_is_no_number_stops_the_training(manifest, tmp_path, settings, reason):
    settings = [*TINY, *settings, "optimizer.schedule.warmup=0", "run.checkpoint_steps=1"]
    settings += ["data.buffer_rows=150"]
    with pytest.raises(UserError, match=reason) as error:
        fit(load_config(SMALL, settings), manifest, tmp_path)
    assert "in pass 0 of stream 0, which was drawn from " in str(error.value)
    assert "_0000.parquet (row group" in str(error.value) or "more row groups" in str(error.value)
    last = read_checkpoint(tmp_path / "last.ckpt")
    assert last["step"] >= 1
    assert all(torch.isfinite(value).all() for value in last["state_dict"].values())


def test_a_full_disk_keeps_what_was_saved_before(manifest, tmp_path):
    config = load_config(SMALL, [*TINY, "epochs=1", "data.rows_per_epoch=64"])
    fit(config, manifest, tmp_path)
    files = {name: (tmp_path / name).read_bytes() for name in ("last.ckpt", "checkpoint.ckpt")}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(files["last.ckpt"]) // 2, limits[1]))
    try:
        with pytest.raises(UserError, match=r"last\.ckpt: cannot be written .* is the disk full"):
            fit(config, manifest, tmp_path, restart=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert files == {name: (tmp_path / name).read_bytes() for name in files}
    assert not list(tmp_path.glob(".*tmp*"))


def test_a_training_does_not_replace_what_it_begins_with(manifest, tmp_path):
    output = tmp_path / "output"
    output.mkdir()
    (output / "checkpoint.ckpt").write_text("precious")
    config = load_config(SMALL, TINY)
    with pytest.raises(UserError, match=r"checkpoint\.ckpt: is an input, and would be replaced"):
        fit(config, manifest, output, start=output / "checkpoint.ckpt")
    assert [path.name for path in output.iterdir()] == ["checkpoint.ckpt"]


def test_two_trainings_in_one_folder_are_refused(manifest, tmp_path):
    config = load_config(SMALL, TINY)
    with (
        locked(tmp_path / ".lock", "training"),
        pytest.raises(UserError, match=r"another training works here \(process \d+ on "),
    ):
        fit(config, manifest, tmp_path)
    assert not (tmp_path / "last.ckpt").exists()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_selection_without_jets_ends_in_one_sentence(manifest, tmp_path, workers):
    settings = [*TINY, "data.selection.jet_pt=[2400,2500]", f"data.workers={workers}"]
    with pytest.raises(UserError) as error:
        fit(load_config(SMALL, settings), manifest, tmp_path)
    assert str(error.value).startswith("no training jet passes the selection (2400 < jet_pt < 2500")


def test_every_config_file_is_valid():
    for path in CONFIGS.glob("*.yaml"):
        load_config(path)


def test_json_text_is_a_configuration():
    assert load_config('{"task": "sophon", "epochs": 3}', ["seed=5"]).epochs == 3
    with pytest.raises(UserError, match="configuration: not JSON"):
        load_config("{task: sophon}")
    with pytest.raises(UserError, match=r"configuration: seed = 1844.*: Input should be less than"):
        load_config('{"task": "sophon", "seed": 18446744073709551616}')


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epoch=3", "epoch is unknown; known here: task, seed, epochs"),
        ("epochs=-3", "epochs = -3: Input should be greater than 0"),
        ("data.batch_size=many", "data.batch_size = 'many': Input should be a valid integer"),
        ("epochs", "write key=value"),
        ("epochs.more=3", "epochs is a value, not a section"),
        ("optimizer.name=lion", "optimizer = .*: name has to be one of adamw, adam, sgd"),
        ("optimizer.schedule.patience=3", "optimizer.schedule.patience is unknown; known"),
        ("start.parts=[body]", "names 'body', but the parts of the task sophon are encoder, head"),
        ("start.frozen=true", "start.frozen leaves nothing to train"),
        ("data={on_device: true, workers: 2}", "set workers to 0"),
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
    torch.save({"description": {"task": "sofon"}}, checkpoint)
    with pytest.raises(UserError, match=r"checkpoint\.ckpt: task 'sofon' does not exist"):
        evaluate(checkpoint, manifest, "test", tmp_path)
    sophon = Sophon(load_config(SMALL, TINY))
    description = sophon.describe() | {"features": ["part_px"]}
    torch.save({"description": description, "state_dict": sophon.state_dict()}, checkpoint)
    with pytest.raises(UserError, match=r"was trained with other features \(1\)"):
        evaluate(checkpoint, manifest, "test", tmp_path)


def test_command_line_says_one_sentence(tmp_path):
    command = [sys.executable, "-m", "training", "fit", "--config", str(tmp_path / "no.yaml")]
    command += ["--manifest", "none.json", "--output", str(tmp_path / "out")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr == f"error: {tmp_path / 'no.yaml'}: no such file\n"
    assert not (tmp_path / "out").exists()
