"""Members of an ensemble are the trainings that `fit` makes of their seeds."""

import csv
from pathlib import Path

import pytest
import torch

from provenance.errors import UserError
from tests.training.test_event_tasks import CLASSIFICATION, PRETRAINING, TINY
from tests.training.test_event_tasks import manifest as manifest  # noqa: PLC0414
from training.checkpoint import read_checkpoint
from training.cli import main
from training.config import load_config
from training.events.ensemble import Member, fit_ensemble
from training.fit import fit, lock_of

CPU = torch.device("cpu")
# Nothing is drawn at random within a step.
PLAIN = ["augmentation={}", "model.dropout=0", "data.train_rows=500", "data.validation_share=0.33"]


def history_of(folder: Path, name: str) -> list[float]:
    with (folder / "history.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    "changes",
    [
        ["optimizer={name: sgd, learning_rate: 0.1, gradient_clip: null, ema_decay: null}"],
        ["optimizer.gradient_clip=0.3"],
    ],
)
def test_a_member_is_a_single_training(manifest, tmp_path, changes):
    start = tmp_path / "pretrained"
    fit(load_config(PRETRAINING, [*TINY, "steps=20"]), manifest, start)
    changes = [*TINY, *PLAIN, "steps=40", "keep=best", "start.parts=[embedding,encoder]", *changes]
    whole = load_config(CLASSIFICATION, changes)
    pretrained = start / "checkpoint.ckpt"
    members = [
        Member(3, tmp_path / "member3", pretrained),
        Member(4, tmp_path / "member4"),
        Member(5, tmp_path / "member5", pretrained, learning_rate=0.01),
    ]
    fit_ensemble(whole, manifest, members, CPU)
    for member in members:
        seed, path = member.seed, member.start
        own = [*changes, f"seed={seed}"]
        if path is None:
            own = [c for c in own if not c.startswith("start")]
        if member.learning_rate:
            own.append(f"optimizer.learning_rate={member.learning_rate}")
        fit(load_config(CLASSIFICATION, own), manifest, tmp_path / "s", start=path)
        found = read_checkpoint(tmp_path / f"member{seed}" / "checkpoint.ckpt")["state_dict"]
        expected = read_checkpoint(tmp_path / "s" / "checkpoint.ckpt")["state_dict"]
        assert found.keys() == expected.keys()
        for name, tensor in expected.items():
            torch.testing.assert_close(found[name], tensor, atol=2e-4, rtol=2e-3)
        for name in ("step", "learning_rate", "train_loss", "val_loss", "val_accuracy"):
            single = history_of(tmp_path / "s", name)
            assert history_of(tmp_path / f"member{seed}", name) == pytest.approx(single, abs=1e-3)
    losses = [history_of(member.output, "val_loss")[-1] for member in members]
    assert len(set(losses)) == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("optimizer.ema_decay=0.9", "keeps no moving average"),
        ("run.precision=bf16-mixed", "trains in 32 bits"),
        ("optimizer={name: sgd, schedule: {name: plateau}, ema_decay: null}", "than plateau"),
        ("start={parts: [encoder], frozen: true}", "start.frozen speaks of a checkpoint"),
    ],
)
def test_what_an_ensemble_does_not_do(manifest, tmp_path, change, words):
    config = load_config(CLASSIFICATION, [*TINY, change])
    with pytest.raises(UserError, match=words):
        fit_ensemble(config, manifest, [Member(1, tmp_path / "out")], CPU)
    assert not (tmp_path / "out").exists()


def test_two_trainings_in_a_folder_of_a_member_are_refused(manifest, tmp_path):
    config, free, taken = load_config(CLASSIFICATION, TINY), tmp_path / "1", tmp_path / "2"
    with lock_of(taken), pytest.raises(UserError, match="2: another training works here"):
        fit_ensemble(config, manifest, [Member(1, free), Member(2, taken)], CPU)
    assert sorted(path.name for path in tmp_path.rglob("*")) == [".lock", ".lock", "1", "2"]
    with lock_of(free):
        pass


def test_a_member_does_not_replace_what_another_begins_with(manifest, tmp_path):
    start = tmp_path / "1" / "checkpoint.ckpt"
    start.parent.mkdir()
    start.write_text("precious")
    config = load_config(CLASSIFICATION, TINY)
    with pytest.raises(UserError, match="is an input, and would be replaced"):
        fit_ensemble(config, manifest, [Member(1, tmp_path / "1"), Member(2, tmp_path, start)], CPU)
    assert start.read_text() == "precious"


def test_all_rows_are_trained_on_however_a_single_training_would_load_them(manifest, tmp_path):
    settings = [*TINY, *PLAIN, "data.on_device=false", "steps=10"]
    for name, workers in (("one", 0), ("two", 2)):
        config = load_config(CLASSIFICATION, [*settings, f"data.workers={workers}"])
        fit_ensemble(config, manifest, [Member(1, tmp_path / name)], CPU)
    one, two = (read_checkpoint(tmp_path / name / "checkpoint.ckpt") for name in ("one", "two"))
    assert one["history"] == two["history"]


@pytest.mark.parametrize(
    ("seeds", "words"), [(["-1"], "seed = -1: Input should"), (["1", "1"], "a seed twice")]
)
def test_seeds_are_checked(manifest, tmp_path, seeds, words):
    command = ["ensemble", "--config", str(CLASSIFICATION), "--manifest", str(manifest)]
    with pytest.raises(UserError, match=words):
        main([*command, "--output", str(tmp_path / "out"), "--seeds", *seeds])
