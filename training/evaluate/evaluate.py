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
from training.data.reader import Batch
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
    groups = list_row_groups(dataset.shards(split), reader)
    groups = interleave(groups, np.random.default_rng(0))
    room = min(max_rows, sum(group.rows for group in groups))
    with plain_errors():
        loader = evaluation_loader(groups, reader, task.config.data)
        rows, number, first = collect(task, loader, room)
    if first is None:
        raise UserError(
            f"{manifest}: no {reader.noun} of the split {split!r} passes the selection "
            f"({reader.selection})"
        )
    evaluation = task.evaluate(rows, output)
    summary = dict(evaluation.summary)
    if task.compared:
        summary |= task.compare(_trained_on(task, dataset), rows)
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
            "summary": {k: v for k, v in summary.items() if v is not None},
            "figures": figures,
            "checkpoint_sha256": sha256(checkpoint),
            "dataset_sha256": dataset.sha256,
            **evaluation.details,
            "history": history,
            "versions": versions(),
            "wall_seconds": round(time.perf_counter() - started, 3),
        },
    )


def _trained_on(task: AnyTask, dataset: Dataset) -> dict[str, np.ndarray]:
    """Return what a task compares of all rows that its training saw, (n, …) each."""
    reader, config = task.reader, task.config
    groups = training_rows(dataset, reader, config) + validation_rows(dataset, reader, config)
    batches = [drawn.batch for drawn in evaluation_loader(groups, reader, config.data)]
    return {
        name: np.concatenate([batch[name].numpy() for batch in batches]) for name in task.compared
    }


def collect(
    task: AnyTask, batches: Iterable[Drawn], room: int
) -> tuple[dict[str, np.ndarray], int, Batch | None]:
    """Return what a task measures of the first `room` rows, (n, …) each, and how many there are.

    The first batch comes with them, on the CPU; None when there is no row. Arrays are made once, at
    full size, and filled: joining batches at the end would hold all twice.
    """
    kept: dict[str, np.ndarray] = {}
    first: Batch | None = None
    end = 0
    for batch in batches:
        first = batch.batch if first is None else first
        begin, end = end, min(end + batch.rows, room)
        for name, values in measured(task, batch.batch).items():
            if name not in kept:
                kept[name] = np.empty((room, *values.shape[1:]), values.dtype)
            kept[name][begin:end] = values[: end - begin]
        if end == room:
            break
    return {name: values[:end] for name, values in kept.items()}, end, first


@torch.inference_mode()
def measured(task: AnyTask, batch: Batch) -> dict[str, np.ndarray]:
    """Return what a task measures of a batch."""
    batch = {name: tensor.to(task.device) for name, tensor in batch.items()}
    found = {**batch, **task.predict(batch)}
    return {name: found[name].cpu().numpy() for name in task.measured}
