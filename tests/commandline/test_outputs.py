"""No command writes over what it reads."""

import argparse
import importlib
from pathlib import Path

import pytest

from commandline.parser import Commands, FileOrText, make_parser, run_command
from provenance.errors import UserError
from provenance.files import refuse_replacing

PACKAGES = ("generation", "generation.external", "ntuplizer", "training", "validation", "workflow")
READS = (Path, FileOrText)


def program_of(package: str) -> tuple[argparse.ArgumentParser, Commands]:
    program = make_parser(f"python -m {package}", "It does something.")
    commands = Commands(program)
    importlib.import_module(f"{package}.cli").add_commands(commands)
    return program, commands


def value_of(action: argparse.Action) -> str:
    if action.choices:
        return str(next(iter(action.choices)))
    return "1" if action.type is int else "elsewhere"


def calls(name: str, parser: argparse.ArgumentParser):
    """Yield a call for each argument that can name a file: that is `x`, the output a link to it."""
    for read in parser._actions:
        if read.type not in READS or read.dest == "output":
            continue
        call = [name]
        for action in parser._actions:
            if action is read or action.required or action.dest == "output":
                value = {"output": "link"}.get(action.dest, value_of(action))
                call += [*action.option_strings[:1], "x" if action is read else value]
        yield call


CALLS = [
    (package, call)
    for package in PACKAGES
    for name, parser in program_of(package)[1].parsers.items()
    if any(action.dest == "output" for action in parser._actions)
    for call in calls(name, parser)
]


@pytest.mark.parametrize(("package", "call"), CALLS, ids=str)
def test_an_output_that_is_an_input_is_refused(package, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("x").write_text("precious")
    Path("link").symlink_to("x")
    with pytest.raises(UserError, match=r"^link: is an input \(as x\), and would be replaced"):
        run_command(program_of(package)[0], call)
    assert Path("x").read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "x"]


def test_all_names_of_a_file_are_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("x", "y"):
        Path(name).write_text(name)
    Path("hard").hardlink_to("x")
    for name in ("x", "../" + tmp_path.name + "/x", str(tmp_path / "x"), "hard"):
        with pytest.raises(UserError, match="is an input"):
            refuse_replacing(["new", name], ["y", "x"])
    # Neither folders, nor what is not there, nor what no file can be called.
    refuse_replacing(["x", "new", "."], ["y", "new", ".", "{" * 5000, "https://x/x", "\0"])
