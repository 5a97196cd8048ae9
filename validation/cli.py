"""Command line of the comparison with Delphes: `python -m validation --help`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from commandline.parser import Commands, run_package

CARD = Path(__file__).parents[1] / "delphes_cards" / "jetclass2_fatjet.tcl"


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and run one command.

    Raises
    ------
    UserError
        When an input or an option is wrong.
    """
    run_package("validation", "Compare fastsim with Delphes.", add_commands, arguments)


def add_commands(commands: Commands) -> None:
    """Add the commands of this package."""
    _add_compare(commands)


def _add_compare(commands: Commands) -> None:
    parser = commands.add(
        "compare",
        _run_compare,
        "compare fastsim with real Delphes files",
        "real.root --pileup minbias.arrow --output comparison",
    )
    parser.add_argument("real", type=Path, nargs="+", help="event files that Delphes wrote")
    parser.add_argument(
        "--reruns", type=Path, nargs="*", default=[], help="jet files of Delphes run again on them"
    )
    parser.add_argument("--card", type=Path, default=CARD, help="Delphes card (%(default)s)")
    parser.add_argument("--pileup", type=Path, required=True, help="minimum-bias library")
    parser.add_argument("--repeats", type=int, default=4, help="passes through fastsim (4)")
    parser.add_argument("--jet-radius", type=float, default=0.8)
    parser.add_argument("--output", type=Path, required=True, help="folder for page and figures")


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
