"""Command line of all packages together: `jetclass --help`."""

import argparse
from collections.abc import Callable, Sequence
from importlib import import_module

from commandline.parser import Commands, make_parser, run_command

# In the order of the data; of two commands with one name the second is called `<package>-<name>`.
# The rules alone call those of `workflow` and `generation.external`.
PACKAGES = ("generation", "ntuplizer", "training", "validation")
RENAMED = {("training", "fit"): "train", ("ntuplizer", "card"): "dataset-card"}
COMPLETION = 'Completion: eval "$(register-python-argcomplete jetclass)"\n'


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and run one command of any package.

    Raises
    ------
    UserError
        When an input or an option is wrong.
    """
    run_command(make_program(), arguments)


def make_program() -> argparse.ArgumentParser:
    """Return the parser with the commands of all packages."""
    parser = make_parser(
        "jetclass",
        "Simulate jets, make datasets of them, train networks on these.",
        COMPLETION,
    )
    commands = Commands(parser)
    taken: set[str] = set()
    for package in PACKAGES:
        import_module(f"{package}.cli").add_commands(commands.named(_names(package, taken)))
    return parser


def _names(package: str, taken: set[str]) -> Callable[[str], str]:
    """Return how the commands of a package are called here, where no two have the same name."""

    def name(command: str) -> str:
        shown = RENAMED.get((package, command), command)
        if shown in taken:
            shown = f"{package}-{shown}"
        taken.add(shown)
        return shown

    return name
