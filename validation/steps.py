"""Read event files of Delphes and simulate their events anew, some events at a time."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from generation.delphes_file import read_generator_records
from generation.fastsim.card import read_card
from generation.fastsim.engine import Detector
from generation.pileup import PileupLibrary
from generation.record import GeneratorRecord
from generation.seeds import resimulation_key
from ntuplizer.batch import EventBatch
from ntuplizer.counts import Counts
from ntuplizer.products import get_product
from ntuplizer.sources import delphes, memory
from validation.leaves import Leaf, read_leaves, simulated_leaves

# As many as the ntuplizer reads of a file at once.
EVENTS = delphes.EVENTS_PER_STEP


class JetRows:
    """Makes the jets of events.

    Parameters
    ----------
    jet_radius
        Of the anti-kT jets.
    qcd_labels
        Whether the jets are labelled as those of a sample without resonances.
    """

    def __init__(self, jet_radius: float, qcd_labels: bool) -> None:
        self.product = get_product("jets")
        options = {"jet_radius": jet_radius, "qcd_labels": qcd_labels}
        self.options = self.product.read_options(options)
        self.counts = Counts()
        self.branches = self.product.branches(self.options)
        self.optional = self.product.optional_branches(self.options)

    def make(self, batch: EventBatch) -> pa.Table:
        """Return the jets of a batch."""
        return self.product.rows(batch, self.options, self.counts)


@dataclass(frozen=True)
class Step:
    """Some events of a file of Delphes.

    Attributes
    ----------
    start
        Number of the first in the file.
    leaves, jets
        What Delphes made of them.
    record
        The generator's events.
    """

    start: int
    leaves: dict[str, Leaf]
    jets: pa.Table
    record: GeneratorRecord


def read_steps(path: Path, rows: JetRows) -> Iterator[Step]:
    """Read an event file of Delphes.

    Raises
    ------
    UserError
        When it cannot be read.
    """
    batches = delphes.batches(path, rows.branches, rows.optional)
    records = read_generator_records(path, EVENTS)
    for number, (batch, record) in enumerate(zip(batches, records, strict=True)):
        start = number * EVENTS
        leaves = read_leaves(path, start, start + record.n_events)
        yield Step(start, leaves, rows.make(batch), record)


def rows_of(path: Path, jet_radius: float) -> JetRows:
    """Return what makes the jets of a file: without labelled ones it is a QCD sample."""
    rows = JetRows(jet_radius, qcd_labels=False)
    for batch in delphes.batches(path, rows.branches, rows.optional):
        if rows.make(batch).num_rows:
            return JetRows(jet_radius, qcd_labels=False)
    return JetRows(jet_radius, qcd_labels=True)


class FastSimulation:
    """Simulates the generator's events of steps.

    Parameters
    ----------
    card, pileup
        The detector and its minimum-bias library.
    """

    def __init__(self, card: Path, pileup: Path) -> None:
        self.detector = Detector(read_card(card), PileupLibrary.open(pileup))

    def simulate(self, step: Step, seed: int, rows: JetRows) -> tuple[Mapping[str, Leaf], pa.Table]:
        """Return the leaves and the jets of one pass; another seed is another pass."""
        key = resimulation_key(seed, step.start // EVENTS)
        branches = self.detector.simulate(step.record, key)
        simulated = [("resimulated", step.start // EVENTS, branches)]
        (batch,) = memory.batches(simulated, rows.branches, rows.optional)
        return simulated_leaves(branches), rows.make(batch)
