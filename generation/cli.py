"""Command line of the events: `python -m generation --help`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from commandline.parser import Commands, run_package
from provenance.errors import UserError

if TYPE_CHECKING:
    from generation.fastsim.card import Card

CARDS = Path(__file__).parents[1] / "delphes_cards"


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and run one command.

    Raises
    ------
    UserError
        When an input or an option is wrong.
    """
    run_package("generation", "Simulate collisions and the detector.", add_commands, arguments)


def add_commands(commands: Commands) -> None:
    """Add the commands of this package."""
    _add_simulate(commands)
    _add_resimulate(commands)
    _add_pileup(commands)
    _add_card(commands)
    _add_processes(commands)


def _add_simulate(commands: Commands) -> None:
    parser = commands.add(
        "simulate",
        _run_simulate,
        "generate events and simulate the detector",
        "--process res2p --events 200 --seed 7 --output events.root",
    )
    parser.add_argument("--process", required=True, help="see the command processes")
    parser.add_argument("--events", type=int, help="how many; all of the file with --lhe")
    parser.add_argument("--lhe", type=Path, help="shower the events of this MadGraph file instead")
    parser.add_argument("--first-batch", type=int, default=0, help="number of the first batch (0)")
    parser.add_argument(
        "--events-per-batch", type=int, default=100, help="events at each parameter point (100)"
    )
    parser.add_argument("--seed", type=int, required=True, help="dataset seed, 0 to 2^64 - 1")
    _add_detector(parser)


def _add_resimulate(commands: Commands) -> None:
    parser = commands.add(
        "resimulate",
        _run_resimulate,
        "simulate the detector again, of the events of a file",
        "events.root --seed 1 --card delphes_cards/jetclass2_full.tcl --output again.root",
    )
    parser.add_argument("events", type=Path, help="Delphes event file, real or embedded")
    parser.add_argument("--seed", type=int, required=True, help="another seed is another pass")
    _add_detector(parser)


def _add_detector(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, required=True, help="ROOT file to write")
    parser.add_argument(
        "--card",
        type=Path,
        default=CARDS / "jetclass2_fatjet.tcl",
        help="Delphes card (%(default)s)",
    )
    parser.add_argument(
        "--pileup", type=Path, help="minimum-bias library (a default one, made once)"
    )
    parser.add_argument(
        "--branches",
        type=lambda text: text.split(","),
        metavar="A,B,...",
        help="simulate only what these branches of the card need (all of them)",
    )


def _add_pileup(commands: Commands) -> None:
    parser = commands.add(
        "pileup",
        _run_pileup,
        "generate a library of minimum-bias events",
        "--events 5000 --seed 1 --output minbias.arrow",
    )
    origin = parser.add_mutually_exclusive_group(required=True)
    origin.add_argument("--events", type=int, help="how many")
    origin.add_argument(
        "--delphes-file", type=Path, help="take the events of a pile-up file of Delphes instead"
    )
    parser.add_argument("--seed", type=int, help="dataset seed, 0 to 2^64 - 1")
    parser.add_argument("--output", type=Path, required=True, help="Arrow file to write")


def _add_card(commands: Commands) -> None:
    parser = commands.add(
        "card", _run_card, "show what a Delphes card says", "delphes_cards/jetclass2_fatjet.tcl"
    )
    parser.add_argument(
        "card", type=Path, nargs="+", help="Tcl file; of several, only what is not implemented"
    )
    parser.add_argument("--json", action="store_true", help="all parameters of one, as JSON")


def _add_processes(commands: Commands) -> None:
    commands.add("processes", _run_processes, "list what can be generated", "")


def _run_simulate(options: argparse.Namespace) -> None:
    from generation.simulate import simulate, simulate_lhe

    shared = {
        "process": options.process,
        "events": options.events,
        "seed": options.seed,
        "output": options.output,
        "card": options.card,
        "pileup": options.pileup,
        "first_batch": options.first_batch,
        "events_per_batch": options.events_per_batch,
        "branches": options.branches,
    }
    if options.lhe is not None:
        simulate_lhe(lhe=options.lhe, **shared)
    elif options.events is None:
        raise UserError("say how many events with --events, or give a file of them with --lhe")
    else:
        simulate(**shared)


def _run_resimulate(options: argparse.Namespace) -> None:
    from generation.simulate import resimulate

    resimulate(
        options.events,
        options.seed,
        options.output,
        options.card,
        options.pileup,
        options.branches,
    )


def _run_pileup(options: argparse.Namespace) -> None:
    if options.delphes_file is not None:
        from generation.delphes_pileup import import_library

        import_library(options.output, options.delphes_file)
        return
    if options.seed is None:
        raise UserError("give a seed for the events with --seed")
    from generation.pileup import build_library

    build_library(options.output, options.events, options.seed)


def _run_card(options: argparse.Namespace) -> None:
    if options.json:
        _describe_card(options.card)
    elif len(options.card) > 1:
        _compare_cards(options.card)
    else:
        _show_card(options.card[0])


def _describe_card(paths: list[Path]) -> None:
    from generation.fastsim.card import describe, read_card, write_description
    from generation.fastsim.modules import MODULE_FILES

    if len(paths) > 1:
        raise UserError("--json describes one card, not several")
    write_description(describe(read_card(paths[0]), MODULE_FILES), sys.stdout)


def _compare_cards(paths: list[Path]) -> None:
    from generation.fastsim.card import read_card

    width = max(len(str(path)) for path in paths)
    for path in paths:
        try:
            lacking = _lacking(read_card(path))
        except UserError as error:
            # A folder of cards holds the files that they source, too.
            lacking = f"cannot be used: {str(error).removeprefix(f'{path}: ')}"
        print(f"{path!s:{width}s}  {lacking}")


def _show_card(path: Path) -> None:
    from generation.fastsim.card import read_card

    card = read_card(path)
    for name in card.execution_path:
        kind = card.modules[name].type if name in card.modules else "(not configured)"
        print(f"{name:32s} {kind}")
    print(f"not implemented: {_lacking(card)}")


def _lacking(card: "Card") -> str:
    from generation.fastsim.engine import not_implemented

    return ", ".join(not_implemented(card)) or "none"


def _run_processes(_: argparse.Namespace) -> None:
    from generation.process import load_process, process_names

    for name in process_names():
        print(f"{name:16s} {load_process(name).description}")
