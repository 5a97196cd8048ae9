"""Delphes with Pythia inside: `DelphesPythia8`, batch by batch, and its pile-up file."""

import os
import shutil
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uproot

from generation.external.library import HardProcessLibrary
from generation.external.losses import most_lost, pythia_errors
from generation.external.programs import (
    DELPHES,
    PILEUP_CONVERTER,
    ProgramError,
    log_file,
    program_error,
    run_program,
)
from generation.external.seeds import MINIMUM_BIAS_PLACE, Use, point_stream, program_seed
from generation.fastsim.card import read_card
from generation.process import Point, Process, load_process
from provenance.errors import UserError
from provenance.files import atomic_output, sha256
from provenance.ledger import write_ledger
from provenance.scratch import Scratch

TREE = "Delphes"
EVENTS = "events.root"
CARD = "batch.tcl"
# Pythia stops after so many; Delphes hands it the default of 10.
ERRORS_ALLOWED = 1000
# Delphes is started with each of these until it ends well: a crash may be chance, then it passes
# with the same seed, or the event's, then it needs another one.
TRIES = (Use.BATCH, Use.BATCH, Use.BATCH, Use.BATCH_AGAIN, Use.BATCH_ONCE_MORE)
# Of the batches asked for, beside one: that no try could make.
MOST_GIVEN_UP = 0.01
MINIMUM_BIAS = "minbias"
MINIMUM_BIAS_CARD = Path(__file__).parents[2] / "delphes_cards" / "minimum_bias.tcl"


@dataclass(frozen=True)
class DelphesInputs:
    """What Delphes simulates with.

    Attributes
    ----------
    card, pileup
        Detector card and Delphes' pile-up file.
    libraries
        Index of the hard-process library by process; Pythia makes the others.
    places
        Place of each process among those of the dataset, for its seeds.
    seed, events_per_batch
        Dataset seed; events of a batch.
    parton_densities
        Archive of MadGraph's set, for batches beyond the plan; None when LHAPDF has it.
    """

    card: Path
    pileup: Path
    libraries: Mapping[str, Path]
    places: Mapping[str, int]
    seed: int
    events_per_batch: int
    parton_densities: Path | None = None


class DelphesSimulator:
    """Simulates batches, each in a call of Delphes of its own and at its own parameter point.

    A context manager: its folder in scratch, and the event file of the last batch, go at the end.

    Parameters
    ----------
    inputs
        What to simulate with.
    scratch
        Where to work: twice the size of a batch's event file is needed.

    Raises
    ------
    UserError
        When an input is missing or was made for another seed or number of events.
    """

    def __init__(self, inputs: DelphesInputs, scratch: Path):
        self._inputs = inputs
        # Fails before any work is done when the card or the pile-up file is wrong.
        self._card = read_card(inputs.card)
        pileup_events(inputs.pileup)
        self._scratch = Scratch("delphes", scratch)
        self._folder = Path(self._scratch.name)
        self._libraries = {
            name: HardProcessLibrary(index, self._folder, inputs.parton_densities)
            for name, index in inputs.libraries.items()
        }
        for name, library in self._libraries.items():
            made_for = (library.plan.seed, library.plan.events_per_batch)
            if made_for != (inputs.seed, inputs.events_per_batch):
                raise UserError(
                    f"{inputs.libraries[name]}: made for seed {made_for[0]} and batches of "
                    f"{made_for[1]} events, not for {inputs.seed} and {inputs.events_per_batch}"
                )
        # Delphes looks for what a card sources beside the first card, so that ours lies there too.
        shutil.copytree(inputs.card.parent, self._folder / "cards")
        self._asked = self._given_up = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._scratch.cleanup()

    def inputs(self) -> dict[str, Any]:
        """Return what a ledger says of card and pile-up."""
        return {
            "card": self._inputs.card.name,
            "card_sha256": self._card.sha256,
            "pileup_sha256": sha256(self._inputs.pileup),
        }

    def batch(self, name: str, number: int) -> tuple[Path | None, dict[str, Any]]:
        """Simulate one batch.

        Parameters
        ----------
        name, number
            Its process and its number.

        Returns
        -------
        tuple
            The event file, which the next batch replaces, with a ledger beside it that names the
            batch; None when no try could make it. And how it was made, for the caller's ledger:
            `process`, `batch`, `point`, `seed` of Pythia and Delphes, `events` and `failed` (events
            missing), `errors` (of Pythia, by message) when there are some missing, `tries` (the
            problem of each that failed) when the first one did, `planned` (whether the hard process
            is from the library) when MadGraph makes it.

        Raises
        ------
        UserError
            When more batches had to be given up than may be chance, or a file is wrong.
        """
        started = time.perf_counter()
        process = load_process(name)
        entry: dict[str, Any] = {"process": name, "batch": number}
        entry["point"] = process.draw_point(point_stream(self._inputs.seed, process, number))
        if name in self._libraries:
            hard, entry["planned"] = self._libraries[name].events(number)
            (self._folder / "hard.lhe").write_text(hard, encoding="utf-8")
        self._asked += 1
        problems: list[dict[str, Any]] = []
        for use in TRIES:
            seed = program_seed(self._inputs.seed, self._inputs.places[name], number, use)
            try:
                made = self._simulate(process, entry["point"], seed)
            except ProgramError as error:
                problems.append({"seed": seed, "problem": error.problem})
                continue
            entry |= {"seed": seed, **made}
            break
        if problems:
            entry["tries"] = problems
        if len(problems) == len(TRIES):
            entry |= {"seed": None, "events": 0, "failed": self._inputs.events_per_batch}
            self._give_up(entry)
            return None, entry
        path = self._folder / EVENTS
        write_ledger(path, started, batches=[entry])
        return path, entry

    def _simulate(self, process: Process, point: Point, seed: int) -> dict[str, Any]:
        """Run Delphes once; return how many events there are and are missing, and why."""
        folder, wanted = self._folder, self._inputs.events_per_batch
        (folder / EVENTS).unlink(missing_ok=True)
        card = batch_card(self._inputs.card, self._inputs.pileup, seed)
        (folder / "cards" / CARD).write_text(card, encoding="utf-8")
        settings = pythia_settings(process, point, seed, wanted)
        if process.name in self._libraries:
            settings += ["Beams:frameType = 4", "Beams:LHEF = hard.lhe", "SLHA:readFrom = 0"]
        else:
            settings += process.hard_process
        (folder / "pythia.cmnd").write_text("\n".join(settings) + "\n")
        run_program([DELPHES, f"cards/{CARD}", "pythia.cmnd", EVENTS], folder)
        return _check_losses(folder, wanted)

    def _give_up(self, entry: dict[str, Any]) -> None:
        self._given_up += 1
        if self._given_up > 1 + MOST_GIVEN_UP * self._asked:
            raise UserError(
                f"{DELPHES} could not make batch {entry['batch']} of {entry['process']} in "
                f"{len(TRIES)} tries, nor {self._given_up - 1} others of {self._asked}: "
                f"{entry['tries'][-1]['problem']}"
            )


def _check_losses(folder: Path, wanted: int) -> dict[str, Any]:
    """Count the events of a file.

    Raises
    ------
    ProgramError
        When the file is damaged, or more events are missing than chance explains.
    """
    events = _count_events(folder / EVENTS)
    lost = wanted - events
    log = log_file(DELPHES, folder)
    errors = pythia_errors(log.read_text(errors="replace")) if lost else {}
    if not 0 <= lost <= most_lost(wanted):
        reason = "; ".join(f"{message} ({times})" for message, times in errors.items())
        problem = f"wrote {events} of {wanted} events{reason and ': ' + reason}"
        raise program_error(DELPHES, folder, problem)
    return {"events": events, "failed": lost} | ({"errors": errors} if lost else {})


def simulate_batch(
    inputs: DelphesInputs, process: str, number: int, scratch: Path, output: Path
) -> None:
    """Simulate one batch into an event file of its own, with its ledger.

    Raises
    ------
    UserError
        When an input is wrong or no try could make the batch.
    """
    started = time.perf_counter()
    with DelphesSimulator(inputs, scratch) as simulator:
        path, entry = simulator.batch(process, number)
        if path is None:
            raise UserError(
                f"{DELPHES} could not make batch {number} of {process} in {len(TRIES)} tries: "
                f"{entry['tries'][-1]['problem']}"
            )
        with atomic_output(output) as temporary:
            shutil.copyfile(path, temporary)
        about = simulator.inputs()
    write_ledger(output, started, **about, batches=[entry])


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
        When no event is asked for, a program fails in every try, or the file holds too few events.
    """
    started = time.perf_counter()
    if events < 1:
        raise UserError(f"{events} events asked for; a library needs at least one")
    process = load_process(MINIMUM_BIAS)
    problems: list[dict[str, Any]] = []
    with Scratch("pileup", scratch) as work:
        folder = Path(work)
        shutil.copy(MINIMUM_BIAS_CARD, folder / CARD)
        for use in TRIES:
            own = program_seed(seed, MINIMUM_BIAS_PLACE, 0, use)
            settings = [*pythia_settings(process, {}, own, events), *process.hard_process]
            (folder / "pythia.cmnd").write_text("\n".join(settings) + "\n")
            (folder / EVENTS).unlink(missing_ok=True)
            try:
                run_program([DELPHES, CARD, "pythia.cmnd", EVENTS], folder)
                made = _check_losses(folder, events)
                break
            except ProgramError as error:
                problems.append({"seed": own, "problem": error.problem})
                if len(problems) == len(TRIES):
                    raise
        run_program([PILEUP_CONVERTER, "minbias.pileup", EVENTS], folder)
        converted = pileup_events(folder / "minbias.pileup")
        if converted != made["events"]:
            raise UserError(f"{PILEUP_CONVERTER} converted {converted} of {made['events']} events")
        with atomic_output(output) as temporary:
            shutil.copyfile(folder / "minbias.pileup", temporary)
    tries = {"tries": problems} if problems else {}
    write_ledger(output, started, events_asked=events, seed=own, **made, **tries)


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
        problem = f"left no whole event file ({error})"
        raise program_error(DELPHES, path.parent, problem) from None
