"""Command line of the container backend: `python -m generation.external --help`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from commandline.parser import Commands, run_package


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and run one command.

    Raises
    ------
    UserError
        When an input is wrong or a program fails.
    """
    run_package(
        "generation.external",
        "Run MadGraph, Pythia and Delphes as programs; called by the rules.",
        add_commands,
        arguments,
    )


def add_commands(commands: Commands) -> None:
    """Add the commands of this package."""
    _add_fetch(commands)
    _add_process_directory(commands)
    _add_plan(commands)
    _add_hard_process(commands)
    _add_library(commands)
    _add_pileup(commands)
    _add_simulate(commands)


def _add_fetch(commands: Commands) -> None:
    parser = commands.add(
        "fetch",
        _run_fetch,
        "an archive from elsewhere, checked",
        "--url https://example.org/heft.tgz --sha256 0123… --output heft.tgz",
    )
    parser.add_argument("--url", required=True)
    parser.add_argument("--sha256", required=True)
    parser.add_argument("--output", type=Path, required=True)


def _run_fetch(options: argparse.Namespace) -> None:
    from generation.external.fetch import fetch

    fetch(options.url, options.sha256, options.output)


def _add_parton_densities(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--parton-densities", type=Path, metavar="ARCHIVE", help="LHAPDF's set; else what it has"
    )


def _add_process_directory(commands: Commands) -> None:
    parser = commands.add(
        "process-directory",
        _run_process_directory,
        "MadGraph's code of a process, compiled",
        "--process res2p --model heft=heft.tgz --scratch /tmp --output res2p.tar.gz",
    )
    parser.add_argument("--process", required=True)
    parser.add_argument(
        "--model", action="append", default=[], metavar="NAME=ARCHIVE", help="UFO model to use"
    )
    _add_parton_densities(parser)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)


def _run_process_directory(options: argparse.Namespace) -> None:
    from generation.external.madgraph import make_process_directory

    models = {
        name: Path(path).resolve() for name, _, path in (m.partition("=") for m in options.model)
    }
    make_process_directory(
        options.process, models, options.parton_densities, options.scratch, options.output
    )


def _add_place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--place", type=int, default=0, help="the process' place in its dataset, for its seeds (0)"
    )


def _add_plan(commands: Commands) -> None:
    parser = commands.add(
        "plan",
        _run_plan,
        "the hard-process events that each batch takes",
        "--process res2p --batches 60 --events-per-batch 100 --seed 1 --output plan.json",
    )
    parser.add_argument("--process", required=True)
    parser.add_argument("--first", type=int, default=0, help="first batch")
    parser.add_argument("--batches", type=int, required=True)
    parser.add_argument("--events-per-batch", metavar="N", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True, help="dataset seed")
    _add_place(parser)
    parser.add_argument("--output", type=Path, required=True)


def _run_plan(options: argparse.Namespace) -> None:
    from generation.external.points import PointPlan

    numbers = range(options.first, options.first + options.batches)
    plan = PointPlan.of_batches(
        options.process, options.place, options.seed, options.events_per_batch, numbers
    )
    plan.write(options.output)


def _add_hard_process(commands: Commands) -> None:
    parser = commands.add(
        "hard-process",
        _run_hard_process,
        "events at the points of one block",
        "--plan plan.json --directory res2p.tar.gz --block 0 --blocks 2 "
        "--scratch /tmp --output 0.tar",
    )
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--directory", type=Path, required=True, help="from process-directory")
    parser.add_argument("--block", type=int, required=True)
    parser.add_argument("--blocks", type=int, required=True)
    parser.add_argument("--events-per-run", type=int, default=50_000)
    parser.add_argument("--version", default="", help="MadGraph's version; any without it")
    _add_parton_densities(parser)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)


def _run_hard_process(options: argparse.Namespace) -> None:
    from generation.external.madgraph import make_hard_process
    from generation.external.points import PointPlan

    make_hard_process(
        PointPlan.open(options.plan), options.directory, options.block, options.blocks,
        options.events_per_run, options.version, options.parton_densities, options.scratch,
        options.output,
    )  # fmt: skip


def _add_library(commands: Commands) -> None:
    parser = commands.add(
        "library",
        _run_library,
        "check all blocks and write their index",
        "0.tar 1.tar --plan plan.json --directory res2p.tar.gz --output library.json",
    )
    parser.add_argument("archives", type=Path, nargs="+", help="from hard-process, in order")
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--directory", type=Path, required=True, help="from process-directory")
    parser.add_argument("--version", default="", help="MadGraph's version; any without it")
    parser.add_argument("--output", type=Path, required=True)


def _run_library(options: argparse.Namespace) -> None:
    from generation.external.library import write_library

    write_library(
        options.plan, options.directory, options.archives, options.version, options.output
    )


def _add_pileup(commands: Commands) -> None:
    parser = commands.add(
        "pileup",
        _run_pileup,
        "Delphes' pile-up file",
        "--events 5000 --seed 1 --scratch /tmp --output minbias.pileup",
    )
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True, help="dataset seed")
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)


def _run_pileup(options: argparse.Namespace) -> None:
    from generation.external.delphes import make_pileup

    make_pileup(options.events, options.seed, options.scratch, options.output)


def _add_simulate(commands: Commands) -> None:
    parser = commands.add(
        "simulate",
        _run_simulate,
        "one batch with Delphes",
        "--process qcd --batch 0 --events-per-batch 100 --seed 1 --card "
        "card.tcl --pileup minbias.pileup --scratch "
        "/tmp --output events.root",
    )
    parser.add_argument("--process", required=True)
    parser.add_argument("--batch", metavar="N", type=int, required=True)
    parser.add_argument("--events-per-batch", metavar="N", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True, help="dataset seed")
    _add_place(parser)
    parser.add_argument("--card", type=Path, required=True)
    parser.add_argument("--pileup", type=Path, required=True)
    parser.add_argument("--library", type=Path, help="where MadGraph makes the hard process")
    _add_parton_densities(parser)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)


def _run_simulate(options: argparse.Namespace) -> None:
    from generation.external.delphes import DelphesInputs, simulate_batch

    libraries = {} if options.library is None else {options.process: options.library}
    inputs = DelphesInputs(
        options.card, options.pileup, libraries, {options.process: options.place}, options.seed,
        options.events_per_batch, options.parton_densities,
    )  # fmt: skip
    simulate_batch(inputs, options.process, options.batch, options.scratch, options.output)
