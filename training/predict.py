"""Scores of every jet of a file."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from provenance.errors import UserError
from provenance.files import atomic_output
from provenance.ledger import write_ledger
from training.checkpoint import load_task
from training.data.shards import RowGroup, list_row_groups, read_row_groups
from training.data.stream import Batch, make_batch
from training.devices import best_device, limit_threads
from training.inference import Scores, score

BATCH = 512


def predict(checkpoint: Path, source: Path, output: Path) -> None:
    """Write the probabilities and the embedding of every jet, selected or not, in order.

    Parameters
    ----------
    checkpoint
        Written by `fit`.
    source
        A jet file (Parquet), or a Delphes event file (ROOT), whose jets `python -m ntuplizer jets`
        makes first.
    output
        Parquet, a row per jet: `jet_pt`, `jet_sdmass` (GeV), `jet_label`, `probabilities` (one per
        label, the labels' names are in the file's metadata) and `embedding`.

    Raises
    ------
    UserError
        When checkpoint or source cannot be used.
    """
    started = time.perf_counter()
    task = load_task(checkpoint).to(best_device())
    limit_threads(task.config.run)
    with tempfile.TemporaryDirectory() as folder:
        jets = source
        if source.suffix == ".root":
            jets = Path(folder) / "jets.parquet"
            _ntuplize(source, jets)
        groups = list_row_groups([(jets, "")])
        batches = _every_jet(groups, task.config.data.max_constituents)
        width = task.config.model.embedding[-1]
        rows = _write(output, score(task, batches), task.labels, width)
    write_ledger(output, started, checkpoint=checkpoint.name, source=source.name, jets=rows)


def _ntuplize(events: Path, jets: Path) -> None:
    if not events.is_file():
        raise UserError(f"{events}: no such event file")
    # With the labels of QCD jets no jet is without a label and left out.
    command = [sys.executable, "-m", "ntuplizer", "jets", str(events), "--qcd-labels"]
    result = subprocess.run(
        [*command, "--output", str(jets)], capture_output=True, text=True, check=False
    )
    if result.returncode:
        reason = result.stderr.strip().splitlines()[-1:] or ["the ntuplizer failed"]
        raise UserError(reason[0].removeprefix("error: "))


def _every_jet(groups: list[RowGroup], max_constituents: int) -> Iterator[Batch]:
    for group in groups:
        jets = read_row_groups([group])
        for begin in range(0, len(jets), BATCH):
            chosen = np.arange(begin, min(begin + BATCH, len(jets)))
            yield make_batch(jets, chosen, max_constituents)


def _write(output: Path, scores: Iterator[Scores], labels: tuple[str, ...], width: int) -> int:
    schema = pa.schema(
        [
            pa.field("jet_pt", pa.float32(), nullable=False),
            pa.field("jet_sdmass", pa.float32(), nullable=False),
            pa.field("jet_label", pa.int32(), nullable=False),
            pa.field("probabilities", pa.list_(pa.float32(), len(labels)), nullable=False),
            pa.field("embedding", pa.list_(pa.float32(), width), nullable=False),
        ],
        metadata={"labels": ",".join(labels)},
    )
    rows = 0
    with (
        atomic_output(output) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd", write_page_checksum=True) as writer,
    ):
        for part in scores:
            lists = (
                pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
                for values in (part.probabilities, part.embedding)
            )
            label = pa.array(part.label, pa.int32())
            columns = [pa.array(part.jet_pt), pa.array(part.jet_sdmass), label, *lists]
            writer.write_batch(pa.record_batch(columns, schema=schema))
            rows += len(part.label)
    return rows
