"""Commands with help that fits a screen and ends with an example."""

import argparse
import copy
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from provenance.files import refuse_replacing

# Columns of a help text, on a wider terminal too.
WIDTH = 100
CALL_WIDTH = 70
SEVERAL = ("+", "*")

AddCommands = Callable[["Commands"], None]


class FileOrText(str):
    """An argument that may name a file, and may be something else: an address, JSON, a name."""

    __slots__ = ()


class _Help(argparse.RawDescriptionHelpFormatter):
    """Short options beside their meaning, the example as it was written."""

    def __init__(self, prog: str):
        columns = shutil.get_terminal_size().columns - 2
        super().__init__(prog, max_help_position=26, width=min(columns, WIDTH))

    def _format_action(self, action: argparse.Action) -> str:
        """List commands without a line that only says that they are commands."""
        if isinstance(action, argparse._SubParsersAction):
            return "".join(map(self._format_action, action._get_subactions()))
        return super()._format_action(action)

    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        """Write `FILE ...` where several may be given, not `FILE [FILE ...]`."""
        if action.nargs in SEVERAL and not isinstance(action.metavar, tuple):
            return f"{action.metavar or default_metavar} ..."
        return super()._format_args(action, default_metavar)


class _Parser(argparse.ArgumentParser):
    """A parser whose help has one list of arguments and does not explain --help."""

    def __init__(self, **options: Any):
        super().__init__(**options, add_help=False, formatter_class=_Help)
        self._optionals.title = "arguments"
        self._positionals = self._optionals
        self.add_argument("-h", "--help", action="help", help=argparse.SUPPRESS)


class _CommandParser(_Parser):
    """The parser of one command; its usage names what must be given."""

    def format_usage(self) -> str:
        """Return the usage alone, as mistakes show it."""
        self.usage = usage_of(self)
        return super().format_usage()

    def format_help(self) -> str:
        """Return the whole help."""
        self.usage = usage_of(self)
        return super().format_help()


class Commands:
    """The commands of a parser, to which a package adds its own.

    Parameters
    ----------
    parser
        What the commands belong to.
    """

    def __init__(self, parser: argparse.ArgumentParser):
        self.program = parser.prog
        self._names: Callable[[str], str | None] = str
        self._commands: argparse._SubParsersAction[_CommandParser] = parser.add_subparsers(
            prog=self.program,
            required=True,
            metavar="COMMAND",
            title="commands",
            parser_class=_CommandParser,
        )

    def named(self, names: Callable[[str], str | None]) -> "Commands":
        """Return the same, for a package whose commands get other names, or None: are left out."""
        other = copy.copy(self)
        other._names = names
        return other

    @property
    def parsers(self) -> dict[str, argparse.ArgumentParser]:
        """The parsers of the commands, by name."""
        return dict(self._commands.choices)

    def add(
        self,
        name: str,
        run: Callable[[argparse.Namespace], None],
        summary: str,
        example: str,
    ) -> argparse.ArgumentParser:
        """Add a command and return its parser, for its arguments.

        Parameters
        ----------
        name
            What it is called.
        run
            What it does with the arguments, as `parse_args` returns them.
        summary
            What it does, in a few words.
        example
            Arguments of a call that makes sense, shown at the end of the help.
        """
        shown = self._names(name)
        if shown is None:
            # For arguments that nobody parses: this program lacks the command.
            return argparse.ArgumentParser()
        program = f"{self.program} {shown}"
        parser = self._commands.add_parser(
            shown,
            help=summary.replace("%", "%%"),
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=_shown(_lines(f"{program} {example}")),
        )
        parser.set_defaults(run=run)
        return parser


def usage_of(parser: argparse.ArgumentParser) -> str:
    """Return how a command is called: what must be given, on as many lines as fit a terminal."""
    groups = [group for group in parser._mutually_exclusive_groups if group.required]
    alternatives = [action for group in groups for action in group._group_actions]
    needed = [
        _named(action)
        for action in parser._actions
        if action not in alternatives and (action.required or not action.option_strings)
    ]
    either = [f"({' | '.join(map(_named, group._group_actions))})" for group in groups]
    # More than --help and these.
    more = ["[options]"] * (len(parser._actions) > 1 + len(needed) + len(alternatives))
    return "\n      ".join(_lines(" ".join([parser.prog, *either, *needed, *more])))


def _named(action: argparse.Action) -> str:
    """Return an argument as a usage shows it."""
    value = action.metavar or (action.dest.upper() if action.option_strings else action.dest)
    several = " ..." if action.nargs in SEVERAL else ""
    return " ".join([*action.option_strings[:1], f"{value}{several}"])


def _shown(example: list[str]) -> str:
    """Return the example at the end of a help, on its line if it is short."""
    if len(example) == 1 and len(example[0]) <= CALL_WIDTH:
        return f"example: {example[0]}"
    return "example:\n  " + " \\\n      ".join(example)


def _lines(call: str) -> list[str]:
    """Return a call on as many lines as fit a terminal; options keep their value."""
    lines = [""]
    for words in call.replace(" --", "\n--").replace(" [", "\n[").split("\n"):
        if lines[-1] and len(lines[-1]) + len(words) > CALL_WIDTH:
            lines.append("")
        lines[-1] = f"{lines[-1]} {words}".lstrip()
    return lines


def make_parser(program: str, description: str, more: str = "") -> argparse.ArgumentParser:
    """Return the parser of a program that has commands.

    Parameters
    ----------
    program
        How it is called: `python -m generation`.
    description
        What its commands are for, one sentence.
    more
        Said below the commands.
    """
    return _Parser(
        prog=program,
        usage=f"{program} COMMAND [OPTIONS]",
        description=description,
        epilog=f"{more}`{program} COMMAND --help` shows one, with an example.",
    )


def run_command(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> None:
    """Parse the arguments and run the command that they name.

    A shell that completes a command line asks for the possible words here.

    Raises
    ------
    UserError
        When the output of the command is one of its inputs, or the command itself refuses.
    """
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)
    options = parser.parse_args(arguments)
    if hasattr(options, "output"):
        refuse_replacing([options.output], _inputs(options))
    options.run(options)


def _inputs(options: argparse.Namespace) -> Iterator[str | Path]:
    """Yield all arguments that can name files, but the output."""
    for name, given in vars(options).items():
        for value in given if isinstance(given, list) else [given]:
            if name != "output" and isinstance(value, Path | FileOrText):
                yield value


def run_package(
    name: str, description: str, add_commands: AddCommands, arguments: Sequence[str] | None
) -> None:
    """Run one command of a package: what `python -m <name>` does.

    Raises
    ------
    UserError
        When an input or an option is wrong.
    """
    parser = make_parser(f"python -m {name}", description)
    add_commands(Commands(parser))
    run_command(parser, arguments)
