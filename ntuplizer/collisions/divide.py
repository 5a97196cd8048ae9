"""Shards of collisions: their number is given, and what passes the selection fills them evenly."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa

from ntuplizer.collisions.unique import SeenEvents, events_of_rows, unique_rows
from ntuplizer.products import count_classes
from ntuplizer.shards import ShardKey, read_tables, write_shard
from provenance.errors import UserError
from provenance.files import refuse_replacing
from provenance.ledger import write_ledger


def divide(
    files: Sequence[Path], keys: Sequence[ShardKey], outputs: Sequence[Path], fingerprint: str
) -> int:
    """Write all rows of files as shards that differ by at most one row, or one event's rows.

    Which shard an event goes to is drawn, so that each split holds all runs alike. Of a row that
    is in several files the first copy is kept, where rows have names.

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
        When files differ in what they hold, there are fewer rows than shards, or a shard would
        replace a file.
    """
    started = time.perf_counter()
    refuse_replacing(outputs, files)
    product, options, tables = read_tables(files)
    if product.identity:
        tables = unique_rows(tables, SeenEvents(), product.identity)
    rows = pa.concat_tables(list(tables)).combine_chunks()
    event = events_of_rows(rows, product.event_identity)
    parts = _parts(event, len(outputs), keys[0].generator())
    if not all(map(len, parts)):
        raise UserError(
            f"{outputs[0].parent}: {rows.num_rows} rows passed the selection, too few for "
            f"{len(outputs)} shards: loosen the options or give more files"
        )
    for key, output, chosen in zip(keys, outputs, parts, strict=True):
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


def _parts(event: np.ndarray, n: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return the rows of n parts as even as can be without an event in two of them.

    Parameters
    ----------
    event
        (n_rows,) the event of each row, numbered from 0.
    n
        How many parts.
    rng
        Draws the order of the events.
    """
    drawn = rng.permutation(event.max(initial=-1) + 1)
    rank = np.empty_like(drawn)
    rank[drawn] = np.arange(len(drawn))
    order = np.argsort(rank[event], kind="stable")
    starts = np.flatnonzero(np.diff(event[order], prepend=-1, append=-1))
    even = np.cumsum([len(part) for part in np.array_split(order, n)])[:-1]
    return np.split(order, starts[np.searchsorted(starts, even)] if len(order) else even)


def _once(table: pa.Table) -> Iterator[pa.Table]:
    yield table
