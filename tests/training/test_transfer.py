"""Transfer: a trained network learns classes of a user's own column."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ntuplizer.labels import LABELS
from provenance.errors import UserError
from training.checkpoint import load_task
from training.config import load_config
from training.data.shards import list_row_groups, list_shards, read_row_groups, thin
from training.evaluate.evaluate import evaluate
from training.few_shot import few_shot
from training.fit import fit
from training.predict import predict

CONFIGS = Path(__file__).parents[2] / "training" / "configs"
SETTINGS = ["epochs=2", "run.threads=1", "data.label=is_qcd", "transfer.labels=[resonance,qcd]"]


@pytest.fixture
def own_labels(manifest) -> Path:
    """The dataset with a column of the user's and no labels of ours."""
    content = json.loads(manifest.read_text())
    for entry in content["files"]:
        path = manifest.parent / entry["path"]
        table = pq.read_table(path)
        is_qcd = pa.array(table["jet_label"].to_numpy() > 160, pa.int32())
        pq.write_table(table.append_column("is_qcd", is_qcd), path, row_group_size=40)
    content["labels"] = ["resonance", "qcd"]
    manifest.write_text(json.dumps(content))
    return manifest


@pytest.fixture
def sophon(tmp_path) -> Path:
    from training.tasks.sophon import Sophon

    torch.manual_seed(0)
    settings = ["model.embedding=[32,16]", "model.blocks=1", "data.max_constituents=64"]
    task = Sophon(load_config(CONFIGS / "sophon-small.yaml", settings), LABELS)
    content = {"state_dict": task.state_dict()}
    task.on_save_checkpoint(content)
    torch.save(content, tmp_path / "sophon.ckpt")
    return tmp_path / "sophon.ckpt"


def transfer(sophon, *more):
    settings = [*SETTINGS, f"transfer.checkpoint={sophon}", *more]
    return load_config(CONFIGS / "transfer.yaml", settings)


def test_a_frozen_network_learns_with_its_head_only(own_labels, sophon, tmp_path):
    fit(transfer(sophon, "transfer.frozen=true"), own_labels, tmp_path / "out")
    before, after = load_task(sophon), load_task(tmp_path / "out" / "checkpoint.ckpt")
    assert after.labels == ("resonance", "qcd")
    for name, value in before.network.state_dict().items():
        if not name.startswith("head.") and not name.endswith("num_batches_tracked"):
            # The moving average of a constant rounds.
            torch.testing.assert_close(after.network.state_dict()[name], value)
    predict(
        tmp_path / "out" / "checkpoint.ckpt",
        own_labels.parent / "QCD_0005.parquet",
        tmp_path / "scores.parquet",
    )
    scores = pq.read_table(tmp_path / "scores.parquet")["probabilities"].to_pylist()
    assert np.shape(scores)[1] == 2
    with pytest.raises(UserError, match="has classes of its own"):
        evaluate(tmp_path / "out" / "checkpoint.ckpt", own_labels, "test", tmp_path)


def test_few_shot_compares_three_ways(own_labels, sophon, tmp_path):
    few_shot(transfer(sophon, "epochs=1"), own_labels, [60], tmp_path / "out")
    results = json.loads((tmp_path / "out" / "few_shot.json").read_text())
    assert results.keys() == {"scratch", "frozen", "fine-tuned"}
    for by_size in results.values():
        assert by_size.keys() == {"60"}
        assert all(0 <= numbers["val_accuracy"] <= 1 for numbers in by_size.values())
    assert (tmp_path / "out" / "few_shot.png").stat().st_size > 5000
    with pytest.raises(UserError, match=r"set transfer\.checkpoint"):
        few_shot(load_config(CONFIGS / "transfer.yaml"), own_labels, [60], tmp_path / "out")


def test_few_jets_come_from_every_row_group(manifest):
    groups = list_row_groups(list_shards(manifest, "train", LABELS))
    few = thin(groups, 50)
    assert len(few) == len(groups)
    jets = read_row_groups(few)
    assert len(jets) == pytest.approx(50, abs=len(groups) / 2)
    assert jets.pt[0] == read_row_groups(groups).pt[0]
    assert thin(groups, 10**6) == groups


def test_the_section_belongs_to_the_task():
    with pytest.raises(UserError, match="belongs to `task: transfer`"):
        load_config(CONFIGS / "transfer.yaml", ["task=sophon"])


def test_a_missing_label_column_is_named(manifest):
    with pytest.raises(UserError, match="has no column jet_class"):
        list_row_groups(list_shards(manifest, "train", LABELS), "jet_class")
