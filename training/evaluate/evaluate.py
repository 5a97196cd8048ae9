"""Evaluation of a checkpoint on a split: numbers as JSON, figures as PNG and PDF."""

import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from provenance.errors import UserError
from provenance.files import sha256, write_json
from provenance.ledger import versions
from training.checkpoint import load_task, read_checkpoint
from training.data.loaders import evaluation_loader, plain_errors
from training.data.reader import Batch, RowGroup
from training.data.shards import (
    Dataset,
    interleave,
    list_row_groups,
    open_dataset,
    training_rows,
    validation_rows,
)
from training.data.stream import Drawn
from training.devices import best_device, limit_threads
from training.evaluate.figures import draw_history
from training.task import AnyTask

HISTORY_CAPTION = (
    "What was watched during the training, on the training and validation splits; validations run "
    "with the weights that are kept."
)


def evaluate(
    checkpoint: Path, manifest: Path, split: str, output: Path, max_rows: int = 2_000_000
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

    Raises
    ------
    UserError
        When checkpoint or data cannot be used, or no row passes the selection.
    """
    started = time.perf_counter()
    task = load_task(checkpoint).to(best_device())
    content = read_checkpoint(checkpoint)
    limit_threads(task.config.run)
    reader = task.reader
    dataset = open_dataset(manifest, task.config, reader)
    rows, number, first = _collect_groups(
        task, list_row_groups(dataset.shards(split), reader), task.measured, max_rows
    )
    if first is None:
        raise UserError(
            f"{manifest}: no {reader.noun} of the split {split!r} passes the selection "
            f"({reader.selection})"
        )
    if task.compared:
        seen = _trained_on(task, dataset)
        task.compare_with(_collect_groups(task, seen, task.compared, max_rows)[0])
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


def _trained_on(task: AnyTask, dataset: Dataset) -> list[RowGroup]:
    """Return the row groups that a training saw."""
    reader, config = task.reader, task.config
    return training_rows(dataset, reader, config) + validation_rows(dataset, reader, config)


def _collect_groups(
    task: AnyTask, groups: list[RowGroup], names: tuple[str, ...], max_rows: int
) -> tuple[dict[str, np.ndarray], int, Batch | None]:
    """Collect over row groups, of all parts alike where there are more than `max_rows` rows."""
    groups = interleave(groups, np.random.default_rng(0))
    room = min(max_rows, sum(group.rows for group in groups))
    with plain_errors():
        loader = evaluation_loader(groups, task.reader, task.config.data)
        return collect(task, loader, room, names)


def collect(
    task: AnyTask, batches: Iterable[Drawn], room: int, names: tuple[str, ...] | None = None
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
        for name, values in measured(task, batch.batch, names).items():
            if name not in kept:
                kept[name] = np.empty((room, *values.shape[1:]), values.dtype)
            kept[name][begin:end] = values[: end - begin]
        if end == room:
            break
    return {name: values[:end] for name, values in kept.items()}, end, first


@torch.inference_mode()
def measured(task: AnyTask, batch: Batch, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return `names` of a batch and of what a task predicts."""
    batch = {name: tensor.to(task.device) for name, tensor in batch.items()}
    found = {**batch, **task.predict(batch)}
    return {name: found[name].cpu().numpy() for name in names}
