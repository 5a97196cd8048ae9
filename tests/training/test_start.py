"""Beginning with a trained network: classes of a user's own, parts, frozen parts."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import CONFIGS, SMALL, TINY
from sklearn.metrics import roc_auc_score

from provenance.errors import UserError
from training.checkpoint import load_task, make_task, read_checkpoint, write_checkpoint
from training.config import load_config
from training.data.shards import list_row_groups, read_dataset
from training.evaluate.evaluate import evaluate
from training.fit import fit
from training.predict import predict

SIZES = [setting for setting in TINY if setting.startswith(("model", "data"))]
OWN = ["labels=[resonance,qcd]", "data.label=is_qcd", "steps=12", "data.rows_per_epoch=256"]


@pytest.fixture
def own_labels(manifest) -> Path:
    """The dataset with a column of the user's, and no labels."""
    content = json.loads(manifest.read_text())
    for entry in content["files"]:
        path = manifest.parent / entry["path"]
        table = pq.read_table(path)
        is_qcd = pa.array(table["jet_label"].to_numpy() > 160, pa.int32())
        pq.write_table(table.append_column("is_qcd", is_qcd), path, row_group_size=40)
    manifest.write_text(json.dumps(content | {"labels": None}))
    return manifest


@pytest.fixture
def trained(tmp_path) -> Path:
    """A checkpoint over the 188 labels."""
    torch.manual_seed(0)
    task = make_task(load_config(SMALL, SIZES))
    content = {"description": task.describe(), "state_dict": task.state_dict()}
    write_checkpoint(content, tmp_path / "trained.ckpt")
    return tmp_path / "trained.ckpt"


def own(*more: str):
    return load_config(SMALL, [*SIZES, *OWN, *more])


def encoder(path: Path) -> dict[str, torch.Tensor]:
    return {
        name: value
        for name, value in read_checkpoint(path)["state_dict"].items()
        if not name.startswith("network.head.") and not name.endswith("num_batches_tracked")
    }


def test_a_frozen_encoder_stays_and_a_free_one_learns(own_labels, trained, tmp_path):
    before = encoder(trained)
    for frozen in ("true", "false"):
        output = tmp_path / frozen
        config = own("start.parts=[encoder]", f"start.frozen={frozen}")
        fit(config, own_labels, output, start=trained)
        after = encoder(output / "checkpoint.ckpt")
        # The moving average of a constant rounds.
        moved = [
            name for name, value in before.items() if not torch.allclose(after[name], value, 1e-5)
        ]
        assert (len(moved) == 0) == (frozen == "true")
    assert load_task(tmp_path / "true" / "checkpoint.ckpt").labels == ("resonance", "qcd")


def test_what_it_began_with_belongs_to_a_training(own_labels, trained, tmp_path, capsys):
    config = own("start.parts=[encoder]", "steps=1")
    fit(config, own_labels, tmp_path / "out", start=trained)
    description = read_checkpoint(tmp_path / "out" / "checkpoint.ckpt")["description"]
    assert len(description["start_sha256"]) == 64
    other = make_task(load_config(SMALL, SIZES))
    content = {"description": other.describe(), "state_dict": other.state_dict()}
    write_checkpoint(content, tmp_path / "other.ckpt")
    capsys.readouterr()
    fit(config, own_labels, tmp_path / "out", start=tmp_path / "other.ckpt")
    assert "with other start_sha256; begins anew" in capsys.readouterr().err


def test_own_classes_are_measured(own_labels, trained, tmp_path):
    output = tmp_path / "out"
    fit(own("start.parts=[encoder]"), own_labels, output, start=trained)
    evaluate(output / "checkpoint.ckpt", own_labels, "test", tmp_path / "test")
    metrics = json.loads((tmp_path / "test" / "metrics.json").read_text())
    task = load_task(output / "checkpoint.ckpt")
    scores, labels, chosen = [], [], []
    for path, part in read_dataset(own_labels).shards("test"):
        predict(output / "checkpoint.ckpt", path, tmp_path / "scores.parquet")
        scores += pq.read_table(tmp_path / "scores.parquet")["probabilities"].to_pylist()
        jets = task.reader.read(list_row_groups([(path, part)], task.reader))
        labels.append(jets.label)
        chosen.append(task.reader.select(jets.scalars))
    label, used = np.concatenate(labels), np.concatenate(chosen)
    expected = roc_auc_score(label[used], np.array(scores)[used, 1])
    assert metrics["summary"]["jets"] == used.sum()
    assert metrics["summary"]["auc"] == pytest.approx(expected, abs=1e-3)
    assert metrics["auc_of_classes"].keys() == {"resonance", "qcd"}
    assert metrics["figures"].keys() == {"training", "roc", "confusion", "calibration"}


def test_a_network_that_does_not_fit_is_named(own_labels, trained, tmp_path):
    config = own("start.parts=[encoder]", "model.embedding=[16,24]", "model.blocks=2")
    with pytest.raises(UserError) as error:
        fit(config, own_labels, tmp_path / "out", start=trained)
    assert "trained.ckpt: does not fit: network.class_token is (1, 1, 16), where the" in str(
        error.value
    )
    assert str(error.value).endswith("the checkpoint has model.embedding=[16, 16], model.blocks=1")
    # A head of other classes is part of what does not fit.
    with pytest.raises(UserError, match=r"does not fit: network\.head\.3\.weight is \(188, 16\)"):
        fit(own(), own_labels, tmp_path / "out", start=trained)
    assert not (tmp_path / "out" / "last.ckpt").exists()


def test_parts_without_a_checkpoint_are_refused(own_labels, tmp_path):
    with pytest.raises(UserError, match=r"give start\.checkpoint"):
        fit(own("start.parts=[encoder]"), own_labels, tmp_path / "out")
    with pytest.raises(UserError, match=r"none\.ckpt: no such checkpoint"):
        fit(own(), own_labels, tmp_path / "out", start=tmp_path / "none.ckpt")


def test_a_label_that_is_no_class_is_named(own_labels, tmp_path):
    with pytest.raises(UserError, match=r"column jet_label holds .*index of the 2 classes"):
        fit(own("data.label=jet_label"), own_labels, tmp_path / "out")


def test_a_missing_label_column_is_named(manifest, tmp_path):
    config = load_config(CONFIGS / "sophon-transfer.yaml", ["start.parts=null"])
    with pytest.raises(UserError, match="has no column jet_class, which is the truth"):
        fit(config, manifest, tmp_path / "out")
