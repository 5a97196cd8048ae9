"""The reference page of the commands, made of their parsers."""

import argparse
from collections.abc import Iterable
from pathlib import Path

from commandline.parser import AddCommands, Commands, make_parser, usage_of

ROOT = Path(__file__).parents[1]


def commands_page(packages: Iterable[tuple[str, AddCommands]]) -> str:
    """Return the page in Markdown.

    Parameters
    ----------
    packages
        Name of each package and what adds its commands.
    """
    return "\n".join(part for name, add in packages for part in _package(name, add))


def _package(name: str, add_commands: AddCommands) -> list[str]:
    commands = Commands(make_parser(f"python -m {name}", ""))
    add_commands(commands)
    parts = [f"## python -m {name}\n"]
    for command, parser in commands.parsers.items():
        parts += [f"### {name} {command}\n", f"{parser.description}\n"]
        parts += [f"```text\n{usage_of(parser)}\n```\n"]
        rows = [_row(action) for action in parser._actions if action.help != argparse.SUPPRESS]
        if rows:
            parts += ["| argument | meaning |\n|---|---|", *rows, ""]
        parts += [f"```text\n{parser.epilog}\n```\n"]
    return parts


def _row(action: argparse.Action) -> str:
    value = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    if not action.option_strings:
        shown = action.dest
    elif action.nargs == 0:
        shown = ", ".join(action.option_strings)
    else:
        shown = f"{action.option_strings[-1]} {value}"
    default = action.default
    if isinstance(default, Path) and default.is_relative_to(ROOT):
        default = default.relative_to(ROOT)
    meaning = (action.help or "").replace("%(default)s", str(default)).replace("%%", "%")
    shown, meaning = (text.replace("|", "\\|") for text in (shown, meaning))
    return f"| `{shown}` | {meaning}{' (required)' if action.required else ''} |"
