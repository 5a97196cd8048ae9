"""Probes: an encoder taken over, frozen or not, and what is measured with it."""

import json

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score
from test_joint_embedding_task import CONFIGS, CONSTITUENTS, SMALL, TINY, batch_of

from training.checkpoint import load_task, make_task, read_checkpoint
from training.config import load_config
from training.data.shards import list_row_groups, read_dataset
from training.evaluate.evaluate import evaluate
from training.evaluate.metrics import rejection
from training.fit import fit
from training.jets.constituents import jets_of

PROBE = CONFIGS / "probe-small.yaml"


def probe(settings, *more):
    sizes = [s for s in settings if s.startswith(("data", "model.encoder"))]
    return load_config(PROBE, [*sizes, "steps=20", "data.rows_per_epoch=1280", *more])


def encoder(path):
    return {
        name: value
        for name, value in read_checkpoint(path)["state_dict"].items()
        if name.startswith("network.encoder.")
    }


@pytest.fixture(params=[TINY, CONSTITUENTS], ids=["patches", "constituents"])
def settings(request):
    return request.param


@pytest.mark.parametrize("head", ["linear", "attentive"])
def test_an_encoder_is_taken_over(settings, head, manifest, tmp_path):
    fit(load_config(SMALL, [*settings, "steps=2"]), manifest, tmp_path / "before")
    checkpoint = tmp_path / "before" / "checkpoint.ckpt"
    before = encoder(checkpoint)
    blocks = f"model.classifier.class_blocks={int(head == 'attentive')}"
    for frozen in ("true", "false"):
        config = probe(settings, blocks, "start.parts=[encoder]", f"start.frozen={frozen}",
                       "optimizer.ema_decay=null")  # fmt: skip
        fit(config, manifest, tmp_path / frozen, start=checkpoint)
        after = encoder(tmp_path / frozen / "checkpoint.ckpt")
        assert before.keys() == after.keys()
        moved = [name for name, value in before.items() if not torch.equal(after[name], value)]
        assert bool(moved) == (frozen == "false")


def test_what_is_measured(manifest, tmp_path):
    fit(probe(TINY, "steps=150"), manifest, tmp_path / "out")
    checkpoint = tmp_path / "out" / "checkpoint.ckpt"
    evaluate(checkpoint, manifest, "test", tmp_path / "test")
    metrics = json.loads((tmp_path / "test" / "metrics.json").read_text())
    task = load_task(checkpoint)
    assert task.labels == ("QCD", "X", "YY")
    groups = list_row_groups(read_dataset(manifest).shards("test"), task.reader)
    rows = task.reader.read(groups)
    chosen = np.flatnonzero(task.reader.select(rows.scalars))
    batch = task.reader.collate(rows, chosen)
    with torch.no_grad():
        found = task.predict(batch)["probabilities"].numpy()
    label = batch["label"].numpy()
    summary = metrics["summary"]
    assert set(summary) == set(task.config.numbers)
    assert summary["jets"] == len(label)
    assert summary["accuracy"] == pytest.approx(accuracy_score(label, found.argmax(1)), abs=1e-3)
    rejections = [rejection(found[label == i, i], found[label != i, i], 0.5) for i in range(3)]
    expected = np.exp(np.mean(np.log([x for x in rejections if x])))
    assert summary["rejection_at_50%"] == pytest.approx(expected, rel=0.05)
    # It learns: chance is 0.5.
    assert summary["auc"] > 0.6


def test_the_second_of_two_classes_is_the_signal(manifest, tmp_path):
    classes = "data.classes={QCD: ['QCD_*'], X: ['X_*']}"
    fit(probe(TINY, classes, "steps=40"), manifest, tmp_path / "out")
    evaluate(tmp_path / "out" / "checkpoint.ckpt", manifest, "test", tmp_path / "test")
    metrics = json.loads((tmp_path / "test" / "metrics.json").read_text())
    of_classes = metrics["rejection_of_other_classes"]
    assert metrics["summary"]["rejection_at_50%"] == pytest.approx(of_classes["X"]["at_50%"])


def test_a_standardised_probe_sees_jets_that_spread(manifest):
    more = ["model.classifier.class_blocks=0", "model.classifier.standardise=true"]
    task = make_task(probe(TINY, *more)).train()
    batch = batch_of(task, manifest, 48)
    with torch.no_grad():
        seen = task.network.embed(jets_of(batch))
    torch.testing.assert_close(seen.mean(dim=0), torch.zeros(16), atol=1e-4, rtol=0)
    # Not to the last digit, for a small number stands beside the variance.
    assert (seen.std(dim=0) > 0.9).all()
    # The encoder alone is taken over: what was seen of the jets is the head's.
    assert task.part_of("network.norm.running_mean") == "head"
