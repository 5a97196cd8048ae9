"""Command line of the container backend: `python -m generation.external --help`."""

import argparse
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and run one command.

    Raises
    ------
    UserError
        When an input is wrong or a program fails.
    """
    parser = argparse.ArgumentParser(prog="python -m generation.external", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_fetch(commands)
    _add_process_directory(commands)
    _add_plan(commands)
    _add_hard_process(commands)
    _add_library(commands)
    _add_pileup(commands)
    _add_simulate(commands)
    options = parser.parse_args(arguments)
    options.run(options)


def _add_fetch(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("fetch", help="an archive from elsewhere, checked")
    parser.add_argument("--url", required=True)
    parser.add_argument("--sha256", required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.set_defaults(run=_run_fetch)


def _run_fetch(options: argparse.Namespace) -> None:
    from generation.external.fetch import fetch

    fetch(options.url, options.sha256, options.output)


def _add_parton_densities(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--parton-densities", type=Path, metavar="ARCHIVE", help="LHAPDF's set; else what it has"
    )


def _add_process_directory(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("process-directory", help="MadGraph's code of a process, compiled")
    parser.add_argument("--process", required=True)
    parser.add_argument(
        "--model", action="append", default=[], metavar="NAME=ARCHIVE", help="UFO model to use"
    )
    _add_parton_densities(parser)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.set_defaults(run=_run_process_directory)


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


def _add_plan(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("plan", help="the hard-process events that each batch takes")
    parser.add_argument("--process", required=True)
    parser.add_argument("--first", type=int, default=0, help="first batch")
    parser.add_argument("--batches", type=int, required=True)
    parser.add_argument("--events-per-batch", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True, help="dataset seed")
    _add_place(parser)
    parser.add_argument("--output", type=Path, required=True)
    parser.set_defaults(run=_run_plan)


def _run_plan(options: argparse.Namespace) -> None:
    from generation.external.points import PointPlan

    numbers = range(options.first, options.first + options.batches)
    plan = PointPlan.of_batches(
        options.process, options.place, options.seed, options.events_per_batch, numbers
    )
    plan.write(options.output)


def _add_hard_process(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("hard-process", help="events at the points of one block")
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--directory", type=Path, required=True, help="from process-directory")
    parser.add_argument("--block", type=int, required=True)
    parser.add_argument("--blocks", type=int, required=True)
    parser.add_argument("--events-per-run", type=int, default=50_000)
    parser.add_argument("--version", default="", help="MadGraph's version; any without it")
    _add_parton_densities(parser)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.set_defaults(run=_run_hard_process)


def _run_hard_process(options: argparse.Namespace) -> None:
    from generation.external.madgraph import make_hard_process
    from generation.external.points import PointPlan

    make_hard_process(
        PointPlan.open(options.plan), options.directory, options.block, options.blocks,
        options.events_per_run, options.version, options.parton_densities, options.scratch,
        options.output,
    )  # fmt: skip


def _add_library(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("library", help="check all blocks and write their index")
    parser.add_argument("archives", type=Path, nargs="+", help="from hard-process, in order")
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--directory", type=Path, required=True, help="from process-directory")
    parser.add_argument("--version", default="", help="MadGraph's version; any without it")
    parser.add_argument("--output", type=Path, required=True)
    parser.set_defaults(run=_run_library)


def _run_library(options: argparse.Namespace) -> None:
    from generation.external.library import write_library

    write_library(
        options.plan, options.directory, options.archives, options.version, options.output
    )


def _add_pileup(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("pileup", help="Delphes' pile-up file")
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True, help="dataset seed")
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.set_defaults(run=_run_pileup)


def _run_pileup(options: argparse.Namespace) -> None:
    from generation.external.delphes import make_pileup

    make_pileup(options.events, options.seed, options.scratch, options.output)


def _add_simulate(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("simulate", help="one batch with Delphes")
    parser.add_argument("--process", required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--events-per-batch", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True, help="dataset seed")
    _add_place(parser)
    parser.add_argument("--card", type=Path, required=True)
    parser.add_argument("--pileup", type=Path, required=True)
    parser.add_argument("--library", type=Path, help="where MadGraph makes the hard process")
    _add_parton_densities(parser)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.set_defaults(run=_run_simulate)


def _run_simulate(options: argparse.Namespace) -> None:
    from generation.external.delphes import DelphesInputs, simulate_batch

    libraries = {} if options.library is None else {options.process: options.library}
    inputs = DelphesInputs(
        options.card, options.pileup, libraries, {options.process: options.place}, options.seed,
        options.events_per_batch, options.parton_densities,
    )  # fmt: skip
    simulate_batch(inputs, options.process, options.batch, options.scratch, options.output)
