"""Command line: `python -m validation compare`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

CARD = Path(__file__).parents[1] / "delphes_cards" / "jetclass2_fatjet.tcl"


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and run one command.

    Raises
    ------
    UserError
        When an input or an option is wrong.
    """
    parser = argparse.ArgumentParser(prog="python -m validation", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_compare(commands)
    options = parser.parse_args(arguments)
    options.run(options)


def _add_compare(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("compare", help="compare fastsim with real Delphes files")
    parser.add_argument("real", type=Path, nargs="+", help="event files that Delphes wrote")
    parser.add_argument(
        "--reruns", type=Path, nargs="*", default=[], help="jet files of Delphes run again on them"
    )
    parser.add_argument("--card", type=Path, default=CARD, help="Delphes card (%(default)s)")
    parser.add_argument("--pileup", type=Path, required=True, help="minimum-bias library")
    parser.add_argument("--repeats", type=int, default=4, help="passes through fastsim (4)")
    parser.add_argument("--jet-radius", type=float, default=0.8)
    parser.add_argument("--output", type=Path, required=True, help="folder for page and figures")
    parser.set_defaults(run=_run_compare)


def _run_compare(options: argparse.Namespace) -> None:
    from validation.page import write_comparison

    write_comparison(
        options.real,
        options.reruns,
        options.card,
        options.pileup,
        options.repeats,
        options.jet_radius,
        options.output,
    )
