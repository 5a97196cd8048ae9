"""The shard job: simulate and ntuplize batch by batch until a shard is full.

A fixed number of events either falls short of the rows asked for or wastes some: how many labelled
jets a batch yields depends on its masses and its pT cut. Here at most one batch's rows are left
over, and events live only until their rows are made.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from commandline.progress import Progress
from ntuplizer.batch import EventBatch
from ntuplizer.counts import Counts
from ntuplizer.products import count_classes, get_product
from ntuplizer.shards import ShardKey, write_shard
from provenance.ledger import write_ledger
from workflow.jobs.batches import shard_batches
from workflow.jobs.description import ShardJob


class EventMaker(Protocol):
    """Makes the events of a batch; a backend."""

    def batch(self, process: str, number: int) -> tuple[Iterable[EventBatch], dict[str, Any]]:
        """Return the events of a batch, and how they were made, for the ledger."""

    def inputs(self) -> dict[str, Any]:
        """Return what the ledger says of detector and pile-up: names and digests."""


@dataclass
class Made:
    """What a shard's batches have made so far."""

    tables: list[pa.Table] = field(default_factory=list)
    batches: list[dict[str, Any]] = field(default_factory=list)
    rows: int = 0

    def add(self, tables: Iterable[pa.Table], batch: dict[str, Any]) -> None:
        """Add a batch and its rows."""
        for table in tables:
            self.tables.append(table)
            self.rows += table.num_rows
        self.batches.append(batch)

    def total(self, key: str) -> int:
        """Add up a number of all batches."""
        return sum(batch[key] for batch in self.batches)


def fill_shard(job: ShardJob, maker: EventMaker, output: Path) -> None:
    """Simulate events until the shard is full; write it, shuffled, with its ledger.

    Raises
    ------
    UserError
        When all batches that the shard may use do not give enough rows, or an input is wrong.
    """
    started = time.perf_counter()
    product = get_product(job.product)
    options = product.read_options(job.options)
    key = ShardKey(job.dataset, job.part, job.index, job.split, job.seed)
    counts = Counts()
    made = Made()
    for process, number in _until_full(job, made):
        events, batch = maker.batch(process, number)
        made.add((product.rows(some, options, counts) for some in events), batch)
    counts.check_losses(job.name)
    rows = write_shard(
        output, made.tables, job.rows, key, product, options, job.fingerprint,
        f"datasets.{job.dataset}.parts.{job.part}.processes",
    )  # fmt: skip
    write_ledger(
        output,
        started,
        job=job.model_dump(mode="json"),
        fingerprint=job.fingerprint,
        **maker.inputs(),
        events_asked=job.events_per_batch * len(made.batches),
        events_generated=made.total("events"),
        events_failed=made.total("failed"),
        counts=counts.as_dict(),
        rows_made=made.rows,
        rows_left_over=made.rows - rows.num_rows,
        rows=rows.num_rows,
        class_counts=count_classes(rows, label) if (label := product.label(options)) else None,
        batches=made.batches,
    )


def _until_full(job: ShardJob, made: Made) -> Iterator[tuple[str, int]]:
    """Yield the shard's batches while rows are missing; says on the way how full it is."""
    with Progress(f"{job.dataset}/{job.name}", job.rows, "rows") as shown:
        for process, number in shard_batches(job.index, job.processes):
            if made.rows >= job.rows:
                break
            yield process, number
            shown.update(made.rows, f", from {made.total('events'):,} events")
