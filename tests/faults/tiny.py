"""The smallest network and a few real jets."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from provenance.ledger import write_ledger
from training.checkpoint import make_task, write_checkpoint
from training.config import load_config
from training.task import AnyTask

MODEL = {
    "embedding": [8],
    "pair_embedding": [4],
    "heads": 2,
    "blocks": 1,
    "class_blocks": 1,
    "head": [8],
}
CONFIG = json.dumps({"task": "sophon", "model": MODEL, "data": {"max_constituents": 16}})


def make_tiny_task() -> AnyTask:
    """Return a task with new weights, always the same."""
    torch.manual_seed(0)
    return make_task(load_config(CONFIG))


def write_task(path: Path, task: AnyTask) -> Path:
    """Write a checkpoint with its ledger."""
    write_checkpoint({"description": task.describe(), "state_dict": task.state_dict()}, path)
    write_ledger(path, 0.0)
    return path


def real_jets(reference, schema: pa.Schema, number: int = 12) -> pa.Table:
    """Return the first of the published jets, with the types of a product."""
    table = pq.read_table(reference("published/JetClassII_example.parquet"))
    return table.slice(0, number).cast(schema)
