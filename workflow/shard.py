"""The shard job of the embedded backend: simulate and ntuplize in steps until a shard is full.

A fixed number of events either falls short of the jets asked for or wastes some: how many labelled
jets a batch yields depends on its masses and its pT cut. Here each step simulates four fifths of
what seems to be missing, down to a single batch, so that at most one batch's jets are left over.
Event files live in scratch only while their jets are made.
"""

from dataclasses import dataclass
from pathlib import Path

# Of the batches that seem to be missing, so many are simulated before the estimate is made anew.
STEP_FRACTION = 0.8
# Bounds an event file to about 100 MB.
MAX_EVENTS_PER_STEP = 1_000


@dataclass(frozen=True)
class ShardJob:
    """One shard to fill; see `python -m workflow shard --help`."""

    part: str
    index: int
    split: str
    processes: list[str]
    seed: int
    card: Path
    pileup: Path
    events_per_batch: int
    jet_radius: float
    qcd_labels: bool
    jets: int
    max_events: int
    fingerprint: str
    scratch: Path
    output: Path
