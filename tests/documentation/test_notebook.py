"""The notebook runs from its first cell to its last, on a small dataset and a small network."""

from pathlib import Path

import nbformat
import pytest
from jet_dataset import write_jet_dataset
from nbclient import NotebookClient

from training.checkpoint import make_task, write_checkpoint
from training.config import load_config
from workflow.config_model import ROOT

NOTEBOOK = ROOT / "notebooks" / "first_look.ipynb"
JETS_PER_SHARD = 30


@pytest.fixture
def dataset(tmp_path) -> Path:
    return write_jet_dataset(tmp_path / "jets", ("train", "val", "test"), JETS_PER_SHARD)


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    """Return a small network that has learned nothing."""
    small = ["model.blocks=1", "data.max_constituents=16"]
    task = make_task(load_config(ROOT / "training" / "configs" / "sophon-small.yaml", small))
    description = task.describe() | {"dataset_sha256": None}
    content = {"description": description, "state_dict": task.state_dict(), "history": []}
    write_checkpoint(content, tmp_path / "checkpoint.ckpt")
    return tmp_path / "checkpoint.ckpt"


def test_the_notebook_runs(dataset, checkpoint, monkeypatch):
    monkeypatch.setenv("DATASET", str(dataset))
    monkeypatch.setenv("CHECKPOINT", str(checkpoint))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    # Results of other data are not kept in the repository.
    assert not any(cell.get("outputs") for cell in notebook.cells)
    client = NotebookClient(notebook, resources={"metadata": {"path": str(NOTEBOOK.parent)}})
    client.execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    text = "".join(output.text for output in shown if output.output_type == "stream")
    assert "90 jets in 3 files; QCD_0002.parquet:\n30 jets with 54 columns" in text
    assert "30 jets; the most probable label is right for" in text
    figures = [output for output in shown if "image/png" in output.get("data", {})]
    assert len(figures) == 3
