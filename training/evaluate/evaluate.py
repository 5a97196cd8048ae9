"""Evaluation of a checkpoint on a split: numbers as JSON, figures as PNG and PDF."""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from commandline.progress import Progress
from provenance.errors import UserError
from provenance.files import sha256, write_json
from provenance.ledger import versions
from training.checkpoint import load_task, read_checkpoint
from training.data.loaders import evaluation_loader, plain_errors
from training.data.reader import Batch, RowGroup, to_device
from training.data.shards import (
    Dataset,
    interleave,
    list_row_groups,
    open_dataset,
    open_shard,
    training_rows,
    validation_rows,
)
from training.data.stream import Drawn
from training.devices import best_device, limit_threads, plain_device_errors
from training.evaluate.figures import draw_history
from training.task import AnyTask

HISTORY_CAPTION = (
    "What was watched during the training, on the training and validation splits; validations run "
    "with the weights that are kept."
)


@plain_device_errors()
def evaluate(
    checkpoint: Path,
    manifest: Path,
    split: str,
    output: Path,
    max_rows: int = 2_000_000,
    predictions: Sequence[Path] = (),
) -> None:
    """Write `metrics.json` and the figures of a task, with `training`, the history, among them.

    Parameters
    ----------
    checkpoint
        Written by `fit`.
    manifest
        Of the dataset.
    split
        Which of its splits to use.
    output
        Folder for the results.
    max_rows
        Enough rows: reading stops there, after rows of all parts alike. Bounds the memory: a row
        takes what the task measures of it (`Task.measured`), once, and what the measures need; of
        188 labels 0.9 kB.

    predictions
        What `predict` wrote of the split's shards, in the place of asking the network again.

    Raises
    ------
    UserError
        When checkpoint, data or predictions cannot be used, or no row passes the selection.
    """
    started = time.perf_counter()
    task = load_task(checkpoint).to(best_device())
    content = read_checkpoint(checkpoint)
    limit_threads(task.config.run)
    reader = task.reader
    dataset = open_dataset(manifest, task.config, reader)
    names = task.joined_by if predictions else task.measured
    rows, number, first = collect_groups(
        task, list_row_groups(dataset.shards(split), reader), names, max_rows
    )
    if first is None:
        raise UserError(
            f"{manifest}: no {reader.noun} of the split {split!r} passes the selection "
            f"({reader.selection})"
        )
    if predictions:
        rows = dict(task.join(rows, read_predictions(predictions)))
    if task.compared:
        seen = _trained_on(task, dataset)
        task.compare_with(collect_groups(task, seen, task.compared, max_rows)[0])
    evaluation = task.evaluate(rows, output)
    figures = {**evaluation.figures, **task.illustrate(first, output)}
    history = content.get("history", [])
    if history:
        draw_history(output / "training", history)
        figures["training"] = HISTORY_CAPTION
    write_json(
        output / "metrics.json",
        {
            "task": task.config.task,
            "split": split,
            "rows": number,
            "summary": {k: v for k, v in evaluation.summary.items() if v is not None},
            "meanings": {k: v for k, v in task.meanings.items() if k in evaluation.summary},
            "figures": figures,
            "checkpoint_sha256": sha256(checkpoint),
            "dataset_sha256": dataset.sha256,
            **evaluation.details,
            "history": history,
            "versions": versions(),
            "wall_seconds": round(time.perf_counter() - started, 3),
        },
    )


def read_predictions(paths: Sequence[Path]) -> pa.Table:
    """Read files that `python -m training predict` wrote.

    Raises
    ------
    UserError
        When one is missing, damaged, or has other columns than the first that has rows; when none
        has.
    """
    tables = []
    for path in paths:
        with open_shard(path) as file:
            table = file.read().replace_schema_metadata(None)
        # Of no row nothing is predicted: the columns of that are missing, and nothing is lost.
        if len(table):
            tables.append((path, table))
    if not tables:
        raise UserError(f"{paths[0]}: predicts no row: give those of all shards of the split")
    first, expected = tables[0]
    for path, table in tables:
        if table.schema != expected.schema:
            raise UserError(f"{path}: has other columns than {first}: of another checkpoint")
    return pa.concat_tables([table for _, table in tables]).combine_chunks()


def _trained_on(task: AnyTask, dataset: Dataset) -> list[RowGroup]:
    """Return the row groups that a training saw."""
    reader, config = task.reader, task.config
    return training_rows(dataset, reader, config) + validation_rows(dataset, reader, config)


def collect_groups(
    task: AnyTask, groups: list[RowGroup], names: tuple[str, ...], max_rows: int
) -> tuple[dict[str, np.ndarray], int, Batch | None]:
    """Collect over row groups, of all parts alike where there are more than `max_rows` rows."""
    groups = interleave(groups, np.random.default_rng(0))
    room = min(max_rows, sum(group.rows for group in groups))
    with plain_errors():
        loader = evaluation_loader(groups, task.reader, task.config.data)
        with Progress("evaluation", room, task.reader.noun + "s") as shown:
            return collect(task, loader, room, names, shown)


def collect(
    task: AnyTask,
    batches: Iterable[Drawn],
    room: int,
    names: tuple[str, ...] | None = None,
    shown: Progress | None = None,
) -> tuple[dict[str, np.ndarray], int, Batch | None]:
    """Return `names`, or what a task measures, of the first `room` rows, (n, …) each, and how many.

    The first batch comes with them, on the CPU; None when there is no row. Arrays are made once, at
    full size, and filled: joining batches at the end would hold all twice.
    """
    kept: dict[str, np.ndarray] = {}
    first: Batch | None = None
    end = 0
    names = task.measured if names is None else names
    for batch in batches:
        first = batch.batch if first is None else first
        begin, end = end, min(end + batch.rows, room)
        # A network that nothing is asked of need not run.
        in_batch = {name: batch.batch[name].numpy() for name in names if name in batch.batch}
        found = in_batch if len(in_batch) == len(names) else measured(task, batch.batch, names)
        for name, values in found.items():
            if name not in kept:
                kept[name] = np.empty((room, *values.shape[1:]), values.dtype)
            kept[name][begin:end] = values[: end - begin]
        if shown is not None:
            shown.update(end)
        if end == room:
            break
    return {name: values[:end] for name, values in kept.items()}, end, first


@torch.inference_mode()
def measured(task: AnyTask, batch: Batch, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return `names` of a batch and of what a task predicts."""
    batch = to_device(batch, task.device)
    found = {**batch, **task.predict(batch)}
    return {name: found[name].cpu().numpy() for name in names}
