"""The shard job of the embedded backend: simulate and ntuplize in steps until a shard is full.

A fixed number of events either falls short of the jets asked for or wastes some: how many labelled
jets a batch yields depends on its masses and its pT cut. Here each step simulates what fills the
shard if every event gives as many jets as it can, down to a single batch, so that at most one
batch's jets are left over.
Event files live in scratch only while their jets are made.
"""

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa

from generation.delphes_file import write_delphes_file
from generation.fastsim.branches import Branch
from generation.simulate import BatchInfo, Simulator
from ntuplizer.jets import Counts, JetSelection, ntuplize
from ntuplizer.shards import ShardKey, class_counts, write_shard
from provenance.ledger import write_ledger
from workflow.batches import parse_shares, shard_batches

# Bounds an event file to about 100 MB.
MAX_EVENTS_PER_STEP = 1_000
# Two resonances or two hard partons give an event's jets; a third one is rare.
MOST_JETS_PER_EVENT = 2


@dataclass(frozen=True)
class ShardJob:
    """One shard to fill; see `python -m workflow shard --help`."""

    part: str
    index: int
    split: str
    processes: Sequence[str]
    seed: int
    card: Path
    pileup: Path
    events_per_batch: int
    jet_radius: float
    stored_parton_pt: float
    qcd_labels: bool
    jets: int
    max_events: int
    fingerprint: str
    scratch: Path
    output: Path


def fill_shard(job: ShardJob) -> None:
    """Simulate events until the shard is full; write it, shuffled, with its ledger.

    Raises
    ------
    UserError
        When `max_events` do not give enough jets, or an input is wrong.
    """
    started = time.perf_counter()
    key = ShardKey(job.part, job.index, job.split, job.seed)
    shares = parse_shares(job.processes)
    simulator = Simulator(job.card, job.pileup, job.seed, job.events_per_batch)
    made = fill(job, simulator, shares, started)
    rows = write_shard(
        job.output,
        made.tables,
        job.jets,
        key,
        config_sha256=job.fingerprint,
        raise_key="dataset.max_events_per_shard",
    )
    write_ledger(
        job.output,
        started,
        **asdict(key),
        config_sha256=job.fingerprint,
        processes=shares,
        **simulator.inputs(),
        jet_radius=job.jet_radius,
        events_asked=made.events,
        events_generated=made.read,
        events_failed=sum(batch.failed for batch in made.batches),
        events_skipped=made.skipped,
        jets_labelled=made.jets,
        jets_left_over=made.jets - rows.num_rows,
        rows=rows.num_rows,
        class_counts=class_counts(rows),
        batches=[asdict(batch) for batch in made.batches],
    )


@dataclass
class Made:
    """What the shard's steps have made so far."""

    tables: list[pa.Table]
    batches: list[BatchInfo]
    events: int = 0
    read: int = 0
    skipped: int = 0
    jets: int = 0

    def add(self, table: pa.Table, counts: Counts) -> None:
        """Add what the ntuplizer made of a step's events."""
        self.tables.append(table)
        self.read += counts.events
        self.skipped += sum(counts.events_skipped.values())
        self.jets += table.num_rows


def fill(job: ShardJob, simulator: Simulator, shares: dict[str, int], started: float) -> Made:
    """Simulate and ntuplize in steps until there are enough jets or no more events allowed."""
    selection = JetSelection(
        radius=job.jet_radius,
        qcd_labels=job.qcd_labels,
        stored_parton_pt=job.stored_parton_pt,
    )
    batches = shard_batches(job.index, shares)
    made = Made([], [])
    with tempfile.TemporaryDirectory(prefix=f"{job.part}-{job.index}-", dir=job.scratch) as folder:
        file = Path(folder) / "events.root"
        while n_batches := batches_in_step(job, made.events, made.jets):
            step = islice(batches, n_batches)
            written = write_delphes_file(file, simulate_step(simulator, step, made))
            made.events += written
            table, counts = ntuplize(file, selection)
            if counts.events != written:
                raise RuntimeError(f"{written} events were written, {counts.events} were read")
            file.unlink()
            made.add(table, counts)
            report_progress(job, made, started)
    return made


def simulate_step(
    simulator: Simulator, step: Iterator[tuple[str, int]], made: Made
) -> Iterator[dict[str, Branch]]:
    """Yield the branches of each batch; notes in `made` how it was made."""
    for process, number in step:
        branches, info = simulator.batch(process, number, simulator.events_per_batch)
        made.batches.append(info)
        yield branches


def batches_in_step(job: ShardJob, events: int, jets: int) -> int:
    """Return how many batches to simulate next; 0 when the shard is full or may go no further.

    Parameters
    ----------
    job
        The shard.
    events, jets
        What was simulated and labelled so far.
    """
    missing = job.jets - jets
    if missing <= 0:
        return 0
    wanted = min(missing // MOST_JETS_PER_EVENT, MAX_EVENTS_PER_STEP)
    allowed = (job.max_events - events) // job.events_per_batch
    return min(max(1, wanted // job.events_per_batch), allowed)


def report_progress(job: ShardJob, made: Made, started: float) -> None:
    """Write one line on the standard error: how full the shard is and how long it will take."""
    seconds = time.perf_counter() - started
    left = seconds * max(job.jets - made.jets, 0) / max(made.jets, 1)
    sys.stderr.write(
        f"{job.part}_{job.index:04d}: {min(made.jets, job.jets):,}/{job.jets:,} jets from "
        f"{made.events:,} events, {1000 * seconds / made.events:.0f} ms/event, "
        f"{left / 60:.1f} min left\n"
    )
