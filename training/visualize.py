"""Figures of the rows that a task would read, before anything is trained."""

from pathlib import Path

import numpy as np

from provenance.errors import UserError
from provenance.files import write_json
from training.checkpoint import make_task
from training.config import FitConfig
from training.data.shards import interleave, list_row_groups, open_dataset


def visualize(
    config: FitConfig, manifest: Path, split: str, output: Path, max_rows: int = 200_000
) -> None:
    """Draw the selected rows of a split, as PNG and PDF, and write `views.json`, their captions.

    Parameters
    ----------
    config
        Of a training: its task draws what its reader reads.
    manifest
        Of the dataset.
    split
        Which of its splits.
    output
        Folder for the figures.
    max_rows
        Enough rows: no row group is read beyond, after row groups of all parts alike.

    Raises
    ------
    UserError
        When the data cannot be used, no row passes the selection, or the task draws nothing.
    """
    task = make_task(config)
    reader = task.reader
    dataset = open_dataset(manifest, config, reader)
    groups = interleave(
        list_row_groups(dataset.shards(split), reader), np.random.default_rng(config.seed)
    )
    ends = np.cumsum([group.rows for group in groups])
    rows = reader.read(groups[: int(np.searchsorted(ends, max_rows)) + 1])
    chosen = reader.chosen(rows.scalars, len(rows))
    if not len(chosen):
        raise UserError(
            f"{manifest}: no {reader.noun} of the split {split!r} passes the selection "
            f"({reader.selection})"
        )
    figures = task.draw_rows(rows, chosen, output)
    write_json(
        output / "views.json",
        {
            "task": config.task,
            "split": split,
            "rows": len(chosen),
            "figures": dict(figures),
            "dataset_sha256": dataset.sha256,
        },
    )
