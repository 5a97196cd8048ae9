"""Delphes with Pythia inside: `DelphesPythia8`, batch by batch, and its pile-up file."""

import os
import shutil
import struct
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import uproot

from generation.external.library import HardProcessLibrary
from generation.external.programs import DELPHES, MERGER, PILEUP_CONVERTER, run_program
from generation.fastsim.card import read_card
from generation.process import Point, Process, load_process, process_names
from generation.seeds import Stage, batch_key, external_seed, stream
from provenance.errors import UserError
from provenance.files import atomic_output, sha256
from provenance.ledger import write_ledger

TREE = "Delphes"
EVENTS = "events.root"
CARD = "batch.tcl"
# Of a batch's events: those that Pythia gives up, less than one in a thousand in practice.
MOST_LOST = 0.02
# Pythia stops after so many; Delphes hands it the default of 10.
ERRORS_ALLOWED = 1000
MINIMUM_BIAS = "minbias"
MINIMUM_BIAS_CARD = Path(__file__).parents[2] / "delphes_cards" / "minimum_bias.tcl"


@dataclass(frozen=True)
class DelphesJob:
    """Batches to simulate into one event file.

    Attributes
    ----------
    batches
        Process and number of each.
    seed, events_per_batch
        Dataset seed; events of a batch.
    card, pileup
        Detector card and Delphes' pile-up file.
    libraries
        Index of the hard-process library by process; Pythia makes the others.
    scratch
        Where to work: twice the size of the event file is needed.
    output
        The event file.
    """

    batches: Sequence[tuple[str, int]]
    seed: int
    events_per_batch: int
    card: Path
    pileup: Path
    libraries: Mapping[str, Path]
    scratch: Path
    output: Path


def simulate(job: DelphesJob) -> None:
    """Run Delphes for each batch at its own parameter point and join the event files.

    Raises
    ------
    UserError
        When a program fails or a batch has lost more events than Pythia may give up.
    """
    started = time.perf_counter()
    libraries = {name: HardProcessLibrary(path) for name, path in job.libraries.items()}
    processes = {name: load_process(name) for name, _ in job.batches}
    entries = []
    with tempfile.TemporaryDirectory(dir=job.scratch, prefix="delphes-") as work:
        folder = Path(work)
        # Delphes looks for what a card sources beside the first card, so that ours lies there too.
        shutil.copytree(job.card.parent, folder / "cards")
        parts = []
        for number, (name, batch) in enumerate(job.batches):
            hard = libraries[name].events(batch) if name in libraries else None
            entry = _simulate_batch(job, folder, processes[name], batch, hard)
            parts.append(folder / f"{number:05d}.root")
            (folder / EVENTS).rename(parts[-1])
            entries.append(entry)
            _report_progress(number + 1, len(job.batches), started)
        generated = sum(entry["events"] for entry in entries)
        run_program([MERGER, "-v", "0", EVENTS, *(part.name for part in parts)], folder)
        _check_count(folder / EVENTS, generated)
        with atomic_output(job.output) as temporary:
            shutil.copyfile(folder / EVENTS, temporary)
    write_ledger(
        job.output, started, events_asked=len(entries) * job.events_per_batch,
        events_generated=generated, card=job.card.name, card_sha256=sha256(job.card),
        pileup_sha256=sha256(job.pileup), batches=entries,
    )  # fmt: skip


def _simulate_batch(
    job: DelphesJob, folder: Path, process: Process, batch: int, hard: str | None
) -> dict:
    """Simulate one batch into `events.root`; return its entry in the ledger."""
    seed = external_seed(job.seed, process_names().index(process.name), batch)
    key = batch_key(job.seed, process.name, batch)
    point = process.draw_point(stream(Stage.PARAMETER_POINT, key))
    (folder / "cards" / CARD).write_text(batch_card(job.card, job.pileup, seed))
    settings = pythia_settings(process, point, seed, job.events_per_batch)
    if hard is None:
        settings += process.hard_process
    else:
        (folder / "hard.lhe").write_text(hard)
        settings += ["Beams:frameType = 4", "Beams:LHEF = hard.lhe", "SLHA:readFrom = 0"]
    (folder / "pythia.cmnd").write_text("\n".join(settings) + "\n")
    run_program([DELPHES, f"cards/{CARD}", "pythia.cmnd", EVENTS], folder)
    events = _count_events(folder / EVENTS)
    lost = job.events_per_batch - events
    if not 0 <= lost <= max(1, MOST_LOST * job.events_per_batch):
        raise UserError(
            f"{DELPHES} wrote {events} of {job.events_per_batch} events of batch {batch} of "
            f"{process.name}"
        )
    return {
        "process": process.name, "batch": batch, "seed": seed, "point": point, "events": events,
        "failed": lost,
    }  # fmt: skip


def batch_card(card: Path, pileup: Path, seed: int) -> str:
    """Return a card that sets the seed and the pile-up file of another in the same folder."""
    lines = [f"source {card.name}", f"set RandomSeed {seed}"]
    for name, module in read_card(card).modules.items():
        if module.type == "PileUpMerger":
            lines.append(f"set {name}::PileUpFile {{{pileup.resolve()}}}")
    return "\n".join(lines) + "\n"


def pythia_settings(process: Process, point: Point, seed: int, events: int) -> list[str]:
    """Return Pythia's commands for one batch, but for where its hard process comes from."""
    return [
        f"Main:numberOfEvents = {events}",
        f"Main:timesAllowErrors = {ERRORS_ALLOWED}",
        "Next:numberCount = 0",
        "Random:setSeed = on",
        f"Random:seed = {seed}",
        *process.pythia_settings(point),
    ]


def make_pileup(events: int, seed: int, scratch: Path, output: Path) -> None:
    """Simulate minimum-bias events and convert them to Delphes' pile-up file.

    Raises
    ------
    UserError
        When a program fails or the file holds too few events.
    """
    started = time.perf_counter()
    process = load_process(MINIMUM_BIAS)
    batch = external_seed(seed, process_names().index(process.name), 0)
    with tempfile.TemporaryDirectory(dir=scratch, prefix="pileup-") as work:
        folder = Path(work)
        shutil.copy(MINIMUM_BIAS_CARD, folder / CARD)
        settings = [*pythia_settings(process, {}, batch, events), *process.hard_process]
        (folder / "pythia.cmnd").write_text("\n".join(settings) + "\n")
        run_program([DELPHES, CARD, "pythia.cmnd", EVENTS], folder)
        found = _count_events(folder / EVENTS)
        if not (1 - MOST_LOST) * events <= found <= events:
            raise UserError(f"{DELPHES} wrote {found} of {events} minimum-bias events")
        run_program([PILEUP_CONVERTER, "minbias.pileup", EVENTS], folder)
        converted = pileup_events(folder / "minbias.pileup")
        if converted != found:
            raise UserError(f"{PILEUP_CONVERTER} converted {converted} of {found} events")
        with atomic_output(output) as temporary:
            shutil.copyfile(folder / "minbias.pileup", temporary)
    write_ledger(output, started, events_asked=events, events=found, seed=batch)


def pileup_events(path: Path) -> int:
    """Return how many events a pile-up file says it holds: its last 8 bytes (DelphesPileUpWriter).

    Raises
    ------
    UserError
        When the file is missing or too short.
    """
    if not path.is_file() or path.stat().st_size < 8:
        raise UserError(f"{path}: not a pile-up file of Delphes")
    with path.open("rb") as file:
        file.seek(-8, os.SEEK_END)
        return struct.unpack(">q", file.read())[0]


def _count_events(path: Path) -> int:
    try:
        with uproot.open(path) as file:
            return int(file[TREE].num_entries)
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{path.name}: not a whole Delphes event file ({error})") from None


def _check_count(path: Path, events: int) -> None:
    found = _count_events(path)
    if found != events:
        raise UserError(f"{MERGER} joined {found} of {events} events")


def _report_progress(done: int, batches: int, started: float) -> None:
    left = (time.perf_counter() - started) * (batches - done) / done
    print(f"{done}/{batches} batches, {left / 60:.1f} min left", flush=True)  # noqa: T201
