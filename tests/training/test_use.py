"""Using a trained network: predict and export agree with each other and with evaluation."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pyarrow.parquet as pq
import pytest
import torch

from ntuplizer.labels import LABELS
from provenance.errors import UserError
from training.config import load_config
from training.data.shards import list_row_groups, read_row_groups
from training.data.stream import make_batch
from training.export import INPUTS, export_onnx
from training.predict import predict
from training.tasks.sophon import Sophon

SMALL = Path(__file__).parents[2] / "training" / "configs" / "sophon-small.yaml"
TINY = ["model.embedding=[32,16]", "model.blocks=1", "data.max_constituents=64"]


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    task = Sophon(load_config(SMALL, TINY), LABELS)
    content = {"state_dict": task.state_dict()}
    task.on_save_checkpoint(content)
    torch.save(content, tmp_path / "checkpoint.ckpt")
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
    read = read_row_groups(list_row_groups([(source, "")]))
    # Other numbers and lengths than in the export's example, and more padding than needed.
    for chosen, extra in ((np.arange(1), 0), (np.arange(1, 40), 0), (np.arange(40, 100), 9)):
        batch = make_batch(read, chosen, 64)
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


def test_commands_are_listed():
    command = [sys.executable, "-m", "training", "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for name in ("fit", "evaluate", "predict", "export", "convert", "weights", "summary"):
        assert name in text
