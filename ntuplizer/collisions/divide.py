"""Shards of collisions: their number is given, and what passes the selection fills them evenly."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa

from ntuplizer.collisions.unique import SeenEvents, unique_rows
from ntuplizer.products import count_classes
from ntuplizer.shards import ShardKey, read_tables, write_shard
from provenance.errors import UserError
from provenance.ledger import write_ledger


def divide(
    files: Sequence[Path], keys: Sequence[ShardKey], outputs: Sequence[Path], fingerprint: str
) -> int:
    """Write all rows of files as shards that differ by at most one row.

    Which shard a row goes to is drawn, so that each split holds all runs alike. Of an event that is
    in several files the first copy is kept, where the rows say which event they are of.

    Parameters
    ----------
    files
        Rows of one product, in the order in which copies are dropped.
    keys, outputs
        Name and place of each shard.
    fingerprint
        Hash of all that shaped the rows.

    Returns
    -------
    int
        How many rows there are.

    Raises
    ------
    UserError
        When files differ in what they hold, or there are fewer rows than shards.
    """
    started = time.perf_counter()
    product, options, tables = read_tables(files)
    if {"batch", "event"} <= set(product.identity):
        tables = unique_rows(tables, SeenEvents())
    rows = pa.concat_tables(list(tables)).combine_chunks()
    if rows.num_rows < len(outputs):
        raise UserError(
            f"{outputs[0].parent}: {rows.num_rows} rows passed the selection, too few for "
            f"{len(outputs)} shards: loosen the options or give more files"
        )
    order = keys[0].generator().permutation(rows.num_rows)
    for key, output, chosen in zip(keys, outputs, np.array_split(order, len(outputs)), strict=True):
        own = rows.take(pa.array(np.sort(chosen)))
        shard = write_shard(
            output, _once(own), own.num_rows, key, product, options, fingerprint, "the files"
        )
        label = product.label(options)
        write_ledger(
            output,
            started,
            product=product.name,
            **asdict(key),
            fingerprint=fingerprint,
            inputs=[path.name for path in files],
            rows=shard.num_rows,
            class_counts=None if label is None else count_classes(shard, label),
        )
    return rows.num_rows


def _once(table: pa.Table) -> Iterator[pa.Table]:
    yield table
