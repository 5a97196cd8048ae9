"""Using a trained network: predict and export agree with each other and with evaluation."""

import json
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pyarrow.parquet as pq
import pytest
import torch
from conftest import SMALL

from ntuplizer.labels import LABELS
from provenance.errors import UserError
from training.checkpoint import load_task, make_task, write_checkpoint
from training.config import load_config
from training.data.shards import list_row_groups
from training.export import export_onnx
from training.predict import predict
from training.summary import summary
from training.tasks.sophon.export import INPUTS

SIZES = ["model.embedding=[32,16]", "model.blocks=1", "data.max_constituents=64"]


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    task = make_task(load_config(SMALL, SIZES))
    content = {"description": task.describe(), "state_dict": task.state_dict()}
    write_checkpoint(content, tmp_path / "checkpoint.ckpt")
    return tmp_path / "checkpoint.ckpt"


def columns(path, names=("jet_pt", "jet_sdmass", "jet_label")) -> dict[str, np.ndarray]:
    table = pq.read_table(path, columns=list(names))
    return {name: np.stack(table[name].to_numpy(zero_copy_only=False)) for name in names}


def test_predict_covers_every_jet_in_order_and_onnx_agrees(checkpoint, reference, tmp_path):
    source = reference("published/JetClassII_example.parquet")
    predict(checkpoint, source, tmp_path / "scores.parquet")
    names = ("jet_pt", "jet_sdmass", "jet_label", "probabilities", "embedding")
    scores = columns(tmp_path / "scores.parquet", names)
    jets = columns(source)
    for name in ("jet_pt", "jet_sdmass", "jet_label"):
        np.testing.assert_array_equal(scores[name], jets[name])
    assert scores["probabilities"].shape == (100, 188)
    assert scores["embedding"].shape == (100, 16)
    np.testing.assert_allclose(scores["probabilities"].sum(axis=1), 1, atol=1e-5)
    metadata = pq.read_schema(tmp_path / "scores.parquet").metadata
    assert metadata[b"labels"].decode().split(",") == list(LABELS)

    export_onnx(checkpoint, tmp_path / "network.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx")
    reader = load_task(checkpoint).reader
    read = reader.read(list_row_groups([(source, "")], reader))
    # Other numbers and lengths than in the export's example, and more padding than needed.
    for chosen, extra in ((np.arange(1), 0), (np.arange(1, 40), 0), (np.arange(40, 100), 9)):
        batch = reader.collate(read, chosen)
        arrays = (batch["features"].mT, batch["vectors"].mT, batch["mask"][:, None].float())
        padded = [torch.nn.functional.pad(x, (0, extra)).numpy() for x in arrays]
        probabilities, embedding = session.run(None, dict(zip(INPUTS, padded, strict=True)))
        np.testing.assert_allclose(probabilities, scores["probabilities"][chosen], atol=1e-4)
        np.testing.assert_allclose(embedding, scores["embedding"][chosen], atol=1e-4)
    properties = {p.key: p.value for p in onnx.load(tmp_path / "network.onnx").metadata_props}
    description = {key: json.loads(value) for key, value in properties.items()}
    assert description["labels"] == list(LABELS)
    assert len(description["features"]) == 17
    scaling = dict(zip(description["feature_names"], description["feature_scaling"], strict=True))
    assert scaling["part_pt_scale_log"] == [1.7, 0.7, -5, 5]
    assert scaling["part_d0err"] == [0, 1, 0, 1]
    assert description["max_constituents"] == 64
    assert description["selected_jet_sdmass"] == [20, 500]


def test_predict_on_a_delphes_file(checkpoint, reference, tmp_path):
    events = reference("published/events_delphes_higgs2p_example.root")
    predict(checkpoint, events, tmp_path / "scores.parquet")
    scores = columns(tmp_path / "scores.parquet")
    expected = columns(reference("published/events_delphes_higgs2p_example.ak8.ntuple.parquet"))
    np.testing.assert_allclose(scores["jet_pt"], expected["jet_pt"], rtol=1e-5)
    np.testing.assert_array_equal(scores["jet_label"], expected["jet_label"])


def test_predict_names_a_bad_source(checkpoint, tmp_path):
    with pytest.raises(UserError, match="no such event file"):
        predict(checkpoint, tmp_path / "none.root", tmp_path / "scores.parquet")
    broken = tmp_path / "broken.root"
    broken.write_bytes(b"root?")
    with pytest.raises(UserError, match=r"broken\.root"):
        predict(checkpoint, broken, tmp_path / "scores.parquet")
    assert not (tmp_path / "scores.parquet").exists()


def test_a_file_without_labels_or_rows_is_predicted(checkpoint, reference, tmp_path):
    table = pq.read_table(reference("published/JetClassII_example.parquet"))
    for rows in (100, 0):
        source = table.slice(0, rows).drop_columns(["jet_label"])
        pq.write_table(source, tmp_path / "jets.parquet")
        predict(checkpoint, tmp_path / "jets.parquet", tmp_path / "scores.parquet")
        scores = pq.read_table(tmp_path / "scores.parquet")
        assert len(scores) == rows
        assert scores.column_names[:2] == ["jet_pt", "jet_sdmass"]
        assert "jet_label" not in scores.column_names


def test_summary_counts_the_parameters():
    lines = summary(load_config('{"task": "sophon"}')).splitlines()
    assert lines[-1].split() == ["parameters", "2,304,688"]
    assert [line.split()[0] for line in lines[:3]] == ["embedding", "pair_embedding", "blocks"]
    numbers = [int(line.split()[1].replace(",", "")) for line in lines]
    assert sum(numbers[:-1]) == numbers[-1]


def test_commands_are_listed():
    command = [sys.executable, "-m", "training", "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for name in ("fit", "evaluate", "predict", "export", "convert", "weights", "summary"):
        assert name in text
