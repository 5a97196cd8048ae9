"""What a trained network says of every row of a file."""

import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from provenance.errors import UserError
from provenance.files import atomic_output
from provenance.ledger import write_ledger
from provenance.scratch import Scratch
from training.checkpoint import load_task
from training.data.reader import RowGroup, to_device
from training.data.shards import list_row_groups, open_shard, read_table
from training.data.values import row_of
from training.devices import best_device, limit_threads, plain_device_errors
from training.task import AnyTask


@plain_device_errors()
def predict(checkpoint: Path, source: Path, output: Path) -> None:
    """Write what a network says of every row, selected or not, in order.

    Parameters
    ----------
    checkpoint
        Written by `fit`.
    source
        A file of the product that the task reads (Parquet; the truth may be missing), or a ROOT
        file, events of Delphes or PFNano, of which `python -m ntuplizer` makes one first.
    output
        Parquet, a row per row: the columns that the task's reader carries over where the source has
        them, then what the task predicts (`Task.predict`), which is missing where there is no row.
        The file's metadata have the labels' names, where there are labels.

    Raises
    ------
    UserError
        When checkpoint or source cannot be used, or the network can say nothing of a row.
    """
    started = time.perf_counter()
    task = load_task(checkpoint).to(best_device())
    limit_threads(task.config.run)
    with Scratch("predict") as folder:
        rows = source
        if source.suffix == ".root":
            rows = Path(folder) / "rows.parquet"
            _ntuplize(source, rows, task)
        groups = list_row_groups([(rows, "")], task.reader, truth=False)
        with open_shard(rows) as file:
            schema = file.schema_arrow
        carried = [schema.field(name) for name in task.reader.carried if name in schema.names]
        number = _write(output, task, groups, pa.schema(carried))
    write_ledger(output, started, checkpoint=checkpoint.name, source=source.name, rows=number)


def _ntuplize(events: Path, rows: Path, task: AnyTask) -> None:
    if not events.is_file():
        raise UserError(f"{events}: no such event file")
    product = task.config.products[0]
    made = [product, str(events), *task.event_options]
    if _is_cms(events):
        made = ["pfnano", str(events), "--product", product]
    command = [sys.executable, "-m", "ntuplizer", *made]
    result = subprocess.run(
        [*command, "--output", str(rows)], capture_output=True, text=True, check=False
    )
    if result.returncode:
        reason = result.stderr.strip().splitlines()[-1:] or ["the ntuplizer failed"]
        raise UserError(reason[0].removeprefix("error: "))


def _is_cms(events: Path) -> bool:
    """Return whether a ROOT file holds NanoAOD's tree; what else it may be the ntuplizer says."""
    import uproot

    try:
        with uproot.open(events) as file:
            return "Events" in file
    except Exception:  # uproot meets damage with whatever its parser stumbles over
        return False


@torch.inference_mode()
def _predictions(task: AnyTask, groups: list[RowGroup], carried: list[str]) -> Iterator[pa.Table]:
    """Yield the columns carried over and those predicted, row group by row group."""
    for group in groups:
        rows = task.reader.read([group], truth=False)
        table = read_table(group, carried)
        task.reader.check(group, {name: table[name].to_numpy() for name in carried})
        order, pieces = _batches(task, group), []
        if not order:
            continue
        for chosen in order:
            batch = task.reader.collate(rows, chosen)
            found = task.predict(to_device(batch, task.device))
            pieces.append({name: values.cpu().numpy() for name, values in found.items()})
        place = np.argsort(np.concatenate(order), kind="stable")
        for name in pieces[0]:
            values = np.concatenate([piece[name] for piece in pieces])[place]
            column = _column(_finite(values, name, group))
            table = table.append_column(pa.field(name, column.type, nullable=False), column)
        yield table


def _batches(task: AnyTask, group: RowGroup) -> list[np.ndarray]:
    """Return which rows of a row group are predicted together, indices (B,) each.

    Those that an evaluation selects come in its batches, the others after them: what a network says
    of a row depends on its batch in the last digit.
    """
    reader, size = task.reader, task.config.data.batch_size
    with open_shard(group.path) as file:
        known = set(file.schema_arrow.names)
    chosen = np.arange(group.rows)
    if known.issuperset(reader.scalars):
        table = read_table(group, reader.scalars)
        scalars = {name: table[name].to_numpy() for name in table.column_names}
        chosen = reader.chosen(scalars, group.rows)
    others = np.setdiff1d(np.arange(group.rows), chosen)
    return [
        rows[begin : begin + size]
        for rows in (chosen, others)
        for begin in range(0, len(rows), size)
    ]


def _finite(values: np.ndarray, name: str, group: RowGroup) -> np.ndarray:
    """Return what was predicted of the rows of a group, (n,) or (n, k).

    Raises
    ------
    UserError
        When a network can say nothing of a row; names it.
    """
    wrong = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if wrong.any():
        row = row_of(group, int(wrong.argmax()))
        raise UserError(f"{group.path}: the network's {name} of row {row} are NaN or infinity")
    return values


def _column(values: np.ndarray) -> pa.Array:
    """Return (n,) numbers, or (n, k) as a list of k numbers each."""
    if values.ndim == 1:
        return pa.array(values)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def _write(output: Path, task: AnyTask, groups: list[RowGroup], carried: pa.Schema) -> int:
    rows = 0
    labels = task.reader.labels
    metadata = {} if labels is None else {"labels": ",".join(labels)}
    tables = _predictions(task, groups, carried.names)
    # Without a row nothing is predicted.
    first = next(tables, carried.empty_table())
    schema = first.schema.with_metadata(metadata)
    with (
        atomic_output(output) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd", write_page_checksum=True) as writer,
    ):
        for table in chain([first], tables):
            writer.write_table(table.replace_schema_metadata(metadata))
            rows += len(table)
    return rows
