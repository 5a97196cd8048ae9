"""The help of every command: it fits a screen and shows an example that the command takes."""

import argparse
import importlib
import re
import shlex
import subprocess
import sys

import pytest

from commandline.parser import Commands, make_parser
from jetclass.cli import make_program

LINES, COLUMNS = 24, 80
# Of the program with all of them.
LINES_OF_ALL = 48
PACKAGES = ("generation", "generation.external", "ntuplizer", "training", "validation", "workflow")


def parser_of(package):
    if package == "jetclass":
        return make_program()
    parser = make_parser(f"python -m {package}", "It does something.")
    importlib.import_module(f"{package}.cli").add_commands(Commands(parser))
    return parser


def commands_of(parser):
    """Return the parsers of all commands by name."""
    (action,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return action.choices


ALL = [
    (package, name)
    for package in (*PACKAGES, "jetclass")
    for name in commands_of(parser_of(package))
]


@pytest.fixture(autouse=True)
def screen(monkeypatch):
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    monkeypatch.setenv("NO_COLOR", "1")


def fits_a_screen(text, most=LINES):
    lines = text.splitlines()
    return len(lines) <= most and max(map(len, lines)) <= COLUMNS


@pytest.mark.parametrize("package", [*PACKAGES, "jetclass"])
def test_a_package_lists_its_commands(package):
    parser = parser_of(package)
    text = parser.format_help()
    program = "jetclass" if package == "jetclass" else f"python -m {package}"
    assert text.startswith(f"usage: {program} COMMAND [OPTIONS]\n")
    assert fits_a_screen(text, LINES_OF_ALL if package == "jetclass" else LINES), text
    for name in commands_of(parser):
        assert re.search(rf"^  {name}\s+\w", text, re.M), name


@pytest.mark.parametrize(("package", "name"), ALL, ids=str)
def test_a_command_explains_itself(package, name):
    parser = parser_of(package)
    command = commands_of(parser)[name]
    text = command.format_help()
    assert fits_a_screen(text), text
    assert text.startswith(f"usage: {command.prog}")
    _, example = text.split("example:")
    program, _, arguments = example.replace("\\\n", "").strip().partition(f" {name}")
    assert command.prog == f"{program} {name}"
    # Parsed as the user would type it: a wrong option or a missing one ends the program.
    options = parser.parse_args([name, *shlex.split(arguments)])
    assert callable(options.run)


def test_the_words_of_a_shell_are_completed(tmp_path):
    answer = tmp_path / "words"
    line = "jetclass trai"
    environment = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
    }
    command = [sys.executable, "-m", "jetclass"]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert answer.read_text() == "train"


def test_help_imports_nothing_heavy():
    heavy = "('awkward', 'numba', 'pyarrow', 'pythia8mc', 'rich', 'torch', 'uproot')"
    code = (
        "import sys\nfrom jetclass.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
