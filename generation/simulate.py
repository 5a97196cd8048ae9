"""From a process to a Delphes event file: Pythia, then the detector, batch by batch."""

import time
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from commandline.progress import progress
from generation.default_library import default_library
from generation.delphes_file import read_generator_records, read_weights, write_delphes_file
from generation.fastsim.branches import Branch
from generation.fastsim.card import branch_names, read_card
from generation.fastsim.engine import Detector
from generation.fastsim.modules.pileup_merger import MEAN_PILEUP
from generation.lhe_check import check_lhe, uncompressed
from generation.pileup import PileupLibrary
from generation.process import Point, load_process
from generation.pythia import EventGenerator, GeneratedBatch
from generation.seeds import KEY_BYTES, Stage, batch_key, resimulation_key, stream
from provenance.errors import UserError
from provenance.files import atomic_output, sha256
from provenance.ledger import check_ledger, write_ledger

EVENTS_PER_BATCH = 100
# `Event.Number` is a signed integer of 64 bits.
EVENT_NUMBERS = 1 << 63
DEFAULT_CARD = Path(__file__).parents[1] / "delphes_cards" / "jetclass2_fatjet.tcl"

# Of MadGraph's events: what a shower may lose.
LARGEST_LOSS = 0.05

# Branches of the generator's event, whatever the card.
EVENT_BRANCHES = ("Event", "Weight")

# Leaves of Delphes' `Event` and their types; those that nobody fills stay 0.
EVENT_LEAVES = {
    "fUniqueID": "u4", "fBits": "u4", "Number": "i8", "ReadTime": "f4", "ProcTime": "f4",
    "ProcessID": "i4", "MPI": "i4", "Weight": "f4", "CrossSection": "f4",
    "CrossSectionError": "f4", "Scale": "f4", "AlphaQED": "f4", "AlphaQCD": "f4",
    "ID1": "i4", "ID2": "i4", "X1": "f4", "X2": "f4", "ScalePDF": "f4", "PDF1": "f4",
    "PDF2": "f4",
}  # fmt: skip


# What the branches of a second simulation of the detector end in.
AGAIN = "_again"


@dataclass(frozen=True)
class BatchInfo:
    """How a batch was made, for the ledger.

    Attributes
    ----------
    process, batch
        Name of the process, number of the batch.
    key
        The key of its random numbers, as 32 hexadecimal digits.
    point
        The parameter point.
    events, failed
        Events made, and how many more Pythia gave up.
    cross_section
        In mb; None where Pythia does not know it.
    """

    process: str
    batch: int
    key: str
    point: Point
    events: int
    failed: int
    cross_section: float | None


class Simulator:
    """Generation and detector, started once and ready to simulate any batch of any process.

    Parameters
    ----------
    card
        Delphes card.
    pileup
        Minimum-bias library; None stands for the default one where the card adds pile-up.
    seed
        Dataset seed, 0 to 2^64 - 1.
    events_per_batch
        Events at each parameter point.
    branches
        Branches of the card that are wanted, None for all of them: only the modules that they need
        are run. `Event` and `Weight`, which cost nothing, are always there.
    again
        Whether the detector is simulated a second time for each event, with random numbers of its
        own: `<branch>_again`.

    Raises
    ------
    UserError
        When a file or a number is wrong, or the card writes no such branch.
    """

    def __init__(
        self,
        card: str | Path,
        pileup: str | Path | None,
        seed: int,
        events_per_batch: int = EVENTS_PER_BATCH,
        branches: Collection[str] | None = None,
        again: bool = False,
    ) -> None:
        if events_per_batch < 1:
            raise UserError(f"{events_per_batch} events per batch asked for; at least 1 is needed")
        batch_key(seed, "", 0)
        self.seed = seed
        self.events_per_batch = events_per_batch
        self.card = read_card(card)
        if pileup is None and self._adds_pileup():
            pileup = default_library()
        self.pileup = None if pileup is None else Path(pileup)
        library = None if pileup is None else PileupLibrary.open(pileup)
        self.branches = branches if branches is None else self._of_card(branches)
        self.again = again
        self.detector = Detector(self.card, library, self.branches)
        self._generators: dict[str, EventGenerator] = {}

    def _adds_pileup(self) -> bool:
        return any(
            config.type == "PileUpMerger" and config.number("MeanPileUp", MEAN_PILEUP) > 0
            for config in self.card.sequence()
        )

    def _of_card(self, branches: Collection[str]) -> list[str]:
        """Return what the card has to make so that these branches, and those of events, are there.

        A card may have a branch `Weight` of its own.
        """
        ours = set(EVENT_BRANCHES).difference(branch_names(self.card))
        return sorted({*branches, *EVENT_BRANCHES} - ours)

    def batches(
        self, process: str, first_batch: int, n_batches: int
    ) -> Iterator[tuple[dict[str, Branch], BatchInfo]]:
        """Simulate consecutive batches of a process.

        Yields
        ------
        tuple
            The branches of the batch by name, and how it was made.
        """
        for batch in range(first_batch, first_batch + n_batches):
            yield self.batch(process, batch, self.events_per_batch)

    def batch(self, process: str, batch: int, n_events: int) -> tuple[dict[str, Branch], BatchInfo]:
        """Simulate one batch; the result depends on the arguments and the seed alone."""
        if process not in self._generators:
            self._generators[process] = EventGenerator(load_process(process))
        generator = self._generators[process]
        key = batch_key(self.seed, process, batch)
        point = generator.process.draw_point(stream(Stage.PARAMETER_POINT, key))
        generated = generator.batch(point, key, n_events)
        branches = _simulated(self.detector, generated, batch * self.events_per_batch, key)
        if self.again:
            # No process has such a name.
            other = batch_key(self.seed, f"{process}{AGAIN}", batch)
            second = self.detector.simulate(generated.record, other)
            branches |= {f"{name}{AGAIN}": branch for name, branch in second.items()}
        return branches, _info(process, batch, key, point, generated)

    def inputs(self) -> dict[str, str | list[str] | None]:
        """Return what the ledger says of the detector: card, pile-up, their digests, branches."""
        return {
            "card": self.card.path.name,
            "card_sha256": self.card.sha256,
            "branches": self.branches,
            "pileup": None if self.pileup is None else self.pileup.name,
            "pileup_sha256": None if self.pileup is None else sha256(self.pileup),
        }


def simulate(
    process: str,
    events: int,
    seed: int,
    output: str | Path,
    card: str | Path = DEFAULT_CARD,
    pileup: str | Path | None = None,
    first_batch: int = 0,
    events_per_batch: int = EVENTS_PER_BATCH,
    branches: Collection[str] | None = None,
) -> None:
    """Simulate events of a process and write them as a Delphes event file with its ledger.

    Parameters
    ----------
    process
        Name of the process, a folder of `generation/processes`.
    events
        How many; a last batch may be smaller than the others.
    seed
        Dataset seed, 0 to 2^64 - 1.
    output
        ROOT file to write.
    card, pileup, first_batch, events_per_batch, branches
        Detector card, minimum-bias library, number of the first batch, events per batch, branches
        to write (None for all of the card).

    Raises
    ------
    UserError
        When an argument is wrong.
    """
    started = time.perf_counter()
    if events < 1:
        raise UserError(f"{events} events asked for; at least 1 is needed")
    load_process(process)
    n_batches = -(-events // max(events_per_batch, 1))
    _check_numbers(seed, first_batch, n_batches, events_per_batch)
    infos: list[BatchInfo] = []
    with atomic_output(output) as temporary:
        simulator = Simulator(card, pileup, seed, events_per_batch, branches)

        def batches() -> Iterator[dict[str, Branch]]:
            for index in progress(range(n_batches), n_batches, process):
                n_events = min(events_per_batch, events - index * events_per_batch)
                batch, info = simulator.batch(process, first_batch + index, n_events)
                infos.append(info)
                yield batch

        written = write_delphes_file(temporary, batches())
    write_ledger(
        output,
        started,
        process=process,
        seed=seed,
        events_asked=events,
        events=written,
        events_failed=sum(info.failed for info in infos),
        **simulator.inputs(),
        batches=[asdict(info) for info in infos],
    )


def simulate_lhe(
    process: str,
    lhe: str | Path,
    events: int | None,
    seed: int,
    output: str | Path,
    card: str | Path = DEFAULT_CARD,
    pileup: str | Path | None = None,
    first_batch: int = 0,
    events_per_batch: int = EVENTS_PER_BATCH,
    branches: Collection[str] | None = None,
) -> None:
    """Shower MadGraph's events and simulate the detector.

    Parameters
    ----------
    process
        The process that the events are meant to be.
    lhe
        `.lhe` or `.lhe.gz` file, all at one parameter point.
    events
        How many events of the file; None for all.
    seed, first_batch
        Dataset seed, 0 to 2^64 - 1, and the number of the first batch: no two files of a process
        may have batches of the same number.
    output, card, pileup, events_per_batch, branches
        As for `simulate`.

    Raises
    ------
    UserError
        When an argument or an event is wrong, before any shower; or when Pythia gives up more than
        one event in twenty.
    """
    started = time.perf_counter()
    description = load_process(process)
    file = check_lhe(lhe, description)
    check_ledger(lhe)
    events = file.events if events is None else events
    if not 0 < events <= file.events:
        raise UserError(f"{events} events asked for; {lhe} holds {file.events}")
    n_batches = -(-events // max(events_per_batch, 1))
    _check_numbers(seed, first_batch, n_batches, events_per_batch)
    infos: list[BatchInfo] = []
    with atomic_output(output) as temporary, uncompressed(file.path) as plain:
        simulator = Simulator(card, pileup, seed, events_per_batch, branches)
        generator = EventGenerator(description)
        keys = [batch_key(seed, process, first_batch + place) for place in range(n_batches)]
        showered = generator.shower(plain, file.point, keys, events, events_per_batch)

        def batches() -> Iterator[dict[str, Branch]]:
            for place, batch in progress(showered, n_batches, process):
                number, key = first_batch + place, keys[place]
                infos.append(_info(process, number, key, file.point, batch))
                yield _simulated(simulator.detector, batch, number * events_per_batch, key)

        written = write_delphes_file(temporary, batches())
        if written < (1 - LARGEST_LOSS) * events:
            raise UserError(f"{lhe}: Pythia gave up {events - written} of {events} events")
    write_ledger(
        output,
        started,
        process=process,
        lhe=file.path.name,
        lhe_sha256=sha256(lhe),
        seed=seed,
        events_asked=events,
        events=written,
        events_failed=events - written,
        **simulator.inputs(),
        batches=[asdict(info) for info in infos],
    )


def resimulate(
    events_file: str | Path,
    seed: int,
    output: str | Path,
    card: str | Path = DEFAULT_CARD,
    pileup: str | Path | None = None,
    branches: Collection[str] | None = None,
) -> None:
    """Run the detector on the generator record of an event file, real or embedded.

    Parameters
    ----------
    events_file
        Delphes event file.
    seed
        0 to 2^64 - 1; another seed is another pass through the detector.
    output
        ROOT file to write.
    card, pileup, branches
        Detector card, minimum-bias library, branches to write (None for all of the card).

    Raises
    ------
    UserError
        When an argument is wrong, or the file damaged or without a generator record.
    """
    started = time.perf_counter()
    resimulation_key(seed, 0)
    check_ledger(events_file)
    # The output may take the place of the file.
    source_sha256 = sha256(events_file)
    weights = read_weights(events_file)
    events = len(weights)
    with atomic_output(output) as temporary:
        simulator = Simulator(card, pileup, 0, branches=branches)
        records = read_generator_records(events_file, EVENTS_PER_BATCH)
        n_batches = -(-events // EVENTS_PER_BATCH)

        def batches() -> Iterator[dict[str, Branch]]:
            for index, record in enumerate(progress(records, n_batches, Path(events_file).name)):
                first = index * EVENTS_PER_BATCH
                own = {"Weight": weights[first : first + record.n_events]}
                event = event_branches(own, record.n_events, first)
                key = resimulation_key(seed, index)
                yield event | simulator.detector.simulate(record, key)

        written = write_delphes_file(temporary, batches())
    write_ledger(
        output,
        started,
        source=Path(events_file).name,
        source_sha256=source_sha256,
        seed=seed,
        events_asked=events,
        events=written,
        **simulator.inputs(),
    )


def _simulated(
    detector: Detector, generated: GeneratedBatch, first_number: int, key: int
) -> dict[str, Branch]:
    record = generated.record
    event = event_branches(generated.event, record.n_events, first_number)
    return event | detector.simulate(record, key)


def _check_numbers(seed: int, first_batch: int, n_batches: int, events_per_batch: int) -> None:
    """Say in one sentence what no batch or no event can be called."""
    batch_key(seed, "", first_batch)
    if (first_batch + n_batches) * events_per_batch > EVENT_NUMBERS:
        raise UserError(
            f"batch {first_batch + n_batches - 1} is out of range: with {events_per_batch} events "
            f"per batch, 0 to {EVENT_NUMBERS // events_per_batch - 1} are possible"
        )


def _info(process: str, batch: int, key: int, point: Point, generated: GeneratedBatch) -> BatchInfo:
    return BatchInfo(
        process=process,
        batch=batch,
        key=f"{key:0{2 * KEY_BYTES}x}",
        point=point,
        events=generated.record.n_events,
        failed=generated.failed,
        cross_section=generated.cross_section,
    )


def event_branches(
    properties: dict[str, NDArray], n_events: int, first_number: int
) -> dict[str, Branch]:
    """Return the branches `Event` and `Weight`, one entry per event.

    Times that Delphes measures while it runs are left 0, so that equal events are equal files.
    """
    columns = {leaf: np.zeros(n_events, kind) for leaf, kind in EVENT_LEAVES.items()}
    columns["Number"] = np.arange(first_number, first_number + n_events)
    columns["MPI"] = np.ones(n_events, np.int32)
    columns["Weight"] = np.ones(n_events, np.float32)
    columns |= properties
    offsets = np.arange(n_events + 1)
    weight = {name: columns[name] for name in ("fUniqueID", "fBits", "Weight")}
    return {
        "Event": Branch("HepMCEvent", offsets, columns),
        "Weight": Branch("Weight", offsets, weight),
    }
