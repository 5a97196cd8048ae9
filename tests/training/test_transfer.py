"""Transfer: a trained network learns classes of a user's own column."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.metrics import roc_auc_score

from ntuplizer.labels import LABELS
from provenance.errors import UserError
from training.checkpoint import load_task
from training.config import load_config
from training.data.shards import (
    list_row_groups,
    list_shards,
    read_row_groups,
    selected,
    thin,
)
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


def test_a_transfer_is_evaluated_on_its_own_classes(own_labels, sophon, tmp_path):
    fit(transfer(sophon), own_labels, tmp_path / "out")
    evaluate(tmp_path / "out" / "checkpoint.ckpt", own_labels, "test", tmp_path / "test")
    metrics = json.loads((tmp_path / "test" / "metrics.json").read_text())
    groups = list_row_groups(list_shards(own_labels, "test", None), "is_qcd", 2)
    jets = read_row_groups(groups)
    assert metrics["confusion"]["classes"] == ["resonance", "qcd"]
    chosen = selected(jets, transfer(sophon).data.selection)
    counts = np.array(metrics["confusion"]["counts"])
    assert counts.sum(axis=1).tolist() == np.bincount(jets.label[chosen]).tolist()
    assert metrics["accuracy"] == pytest.approx(np.trace(counts) / counts.sum())
    scores = []
    for path, _ in list_shards(own_labels, "test", None):
        predict(tmp_path / "out" / "checkpoint.ckpt", path, tmp_path / "scores.parquet")
        scores += pq.read_table(tmp_path / "scores.parquet")["probabilities"].to_pylist()
    expected = roc_auc_score(jets.label[chosen], np.array(scores)[chosen, 1])
    assert metrics["auc"] == pytest.approx(expected, abs=1e-3)
    assert metrics["auc_of_classes"].keys() == {"resonance", "qcd"}
    for name in ("loss", "roc", "confusion", "calibration"):
        assert (tmp_path / "test" / f"{name}.png").stat().st_size > 5000


def test_a_label_that_is_no_class_is_named(own_labels, sophon, tmp_path):
    with pytest.raises(UserError, match=r"column jet_label holds .*index of the 2 classes"):
        fit(transfer(sophon, "data.label=jet_label"), own_labels, tmp_path / "out")


def test_few_shot_compares_three_ways(own_labels, sophon, tmp_path):
    few_shot(transfer(sophon, "epochs=1"), own_labels, [60], [1, 2], tmp_path / "out")
    results = json.loads((tmp_path / "out" / "few_shot.json").read_text())
    assert results["ways"].keys() == {"scratch", "frozen", "fine-tuned"}
    for way, by_size in results["ways"].items():
        assert by_size.keys() == {"60"}
        for seed, accuracy, area in zip(results["seeds"], *by_size["60"].values(), strict=True):
            folder = tmp_path / "out" / f"{way}_60_seed{seed}" / "test"
            metrics = json.loads((folder / "metrics.json").read_text())
            assert (metrics["accuracy"], metrics["auc"]) == (accuracy, area)
    assert (tmp_path / "out" / "few_shot.png").stat().st_size > 5000
    with pytest.raises(UserError, match=r"set transfer\.checkpoint"):
        few_shot(load_config(CONFIGS / "transfer.yaml"), own_labels, [60], [1], tmp_path / "out")


def test_few_jets_come_from_all_row_groups_and_by_the_seed(manifest):
    groups = list_row_groups(list_shards(manifest, "train", LABELS))
    few = thin(groups, 50, seed=1)
    share = 50 / sum(group.rows for group in groups)
    rows = {(group.path, group.index): group.rows for group in few}
    for group in groups:
        assert abs(rows.get((group.path, group.index), 0) - group.rows * share) <= 1
    jets = read_row_groups(few)
    assert len(jets) == 50
    assert np.isin(jets.pt, read_row_groups(groups).pt).all()
    assert len(np.intersect1d(jets.pt, read_row_groups(thin(groups, 50, seed=2)).pt)) < 25
    assert len(read_row_groups(thin(groups, 3, seed=1))) == 3
    assert thin(groups, 10**6, seed=1) == groups


def test_the_section_belongs_to_the_task():
    with pytest.raises(UserError, match="belongs to `task: transfer`"):
        load_config(CONFIGS / "transfer.yaml", ["task=sophon"])


def test_a_missing_label_column_is_named(manifest):
    with pytest.raises(UserError, match="has no column jet_class"):
        list_row_groups(list_shards(manifest, "train", LABELS), "jet_class")
