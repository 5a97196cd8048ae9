"""What a card holds: values, files, a description."""

import io
import json
import subprocess
import sys

import pytest
from detector_events import CARDS

from generation.fastsim.card import describe, read_card, write_description


def test_numbers_are_numbers_and_lists_are_lists(card):
    module = card("""
        set ExecutionPath A
        set RandomSeed 42
        module M A {
          set Int 5
          set Float 800E-12
          set Text A/b
          set Formula {(pt > 1) * 2}
          set Flag true
          set Numbers {1 2.5 -3}
          add Pairs 0 {pt > 1} 5 {1 2}
          add One {0.0}
        }
    """).modules["A"]
    assert module.params == {
        "Int": 5,
        "Float": 8e-10,
        "Text": "A/b",
        "Formula": "(pt > 1) * 2",
        "Flag": "true",
        "Numbers": [1, 2.5, -3],
        "Pairs": [0, "pt > 1", 5, [1, 2]],
        "One": [0.0],
    }
    assert isinstance(module.params["Int"], int)
    assert module.number("Int", 0) == 5
    assert module.text("Float", "") == "800E-12"
    assert module.flag("Flag", False) is True
    assert module.array("Text") == ["A/b"]
    assert module.array("Absent", (1,)) == [1]
    assert module.texts("Pairs") == ["0", "pt > 1", "5", "1 2"]


def test_description_is_json(card):
    description = describe(
        card("""
            set ExecutionPath {A B}
            set MaxEvents 3
            set table(x) 1
            module Known A { set X 1 }
            module Unknown B
            module Unused C
        """),
        {"Known"},
    )
    stream = io.StringIO()
    write_description(description, stream)
    assert json.loads(stream.getvalue()) == description
    assert description["execution_path"] == ["A", "B"]
    assert description["modules"]["A"] == {"class": "Known", "parameters": {"X": 1}}
    assert description["not_implemented"] == ["Unknown"]
    assert description["settings"] == {"MaxEvents": 3, "table": {"x": 1}}


def test_the_digest_covers_sourced_files(card):
    text = "set ExecutionPath A\nmodule M A { source other.tcl }\n"
    first = card(text, other__tcl="set X 1\n")
    second = card(text, other__tcl="set X 2\n")
    assert first.sha256 != second.sha256


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ('source "x.tcl"', ["x.tcl"]),
        ("source {x.tcl}", ["x.tcl"]),
        ("set f x\nsource $f.tcl", ["x.tcl"]),
        ("source x.tcl ;# source y.tcl", ["x.tcl"]),
        ("# source y.tcl\nsource x.tcl; source y.tcl", ["x.tcl", "y.tcl"]),
        ("if {1 < 2} {source x.tcl} else {source y.tcl}", ["x.tcl"]),
        ("if {1 > 2} {\n  source x.tcl\n}", []),
        ("foreach f {y x y} {source $f.tcl}", ["y.tcl", "x.tcl"]),
        ("module N B {\n  source x.tcl\n}", ["x.tcl"]),
        ("source nested.tcl", ["nested.tcl", "y.tcl"]),
        ("proc read {name} {source [format %s.tcl $name]}\nread x", ["x.tcl"]),
        ("set text {source x.tcl}", []),
    ],
)
def test_the_files_of_a_card_are_those_that_tcl_reads(card, tmp_path, text, files):
    # A path with a dot comes from the function's keywords with an underscore.
    others = {"x__tcl": "set X 1\n", "y__tcl": "set Y 1\n", "nested__tcl": "source y.tcl\n"}
    read = card(f"set ExecutionPath A\nmodule M A {{}}\n{text}\n", **others)
    assert read.files == [tmp_path / "card.tcl", *(tmp_path / name for name in files)]


def test_the_files_of_the_projects_cards():
    for path in sorted(CARDS.glob("*.tcl")):
        read = read_card(path)
        assert read.files[0] == path
        assert set(read.files[1:]) <= set(CARDS.rglob("*.tcl"))
    assert CARDS / "jetclass2" / "tracks.tcl" in read_card(CARDS / "jetclass2_fatjet.tcl").files


def test_cards_and_processes_are_read_without_heavy_packages():
    code = (
        "import sys, time; start = time.perf_counter()\n"
        "from generation.fastsim.card import read_card\n"
        "card = time.perf_counter() - start\n"
        "from generation.process import process_files\n"
        "print(card, [m for m in ('numpy', 'numba', 'awkward', 'pythia8mc') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, heavy = run.stdout.split(maxsplit=1)
    assert heavy == "[]\n"
    # 0.03 s alone on a core.
    assert float(seconds) < 0.5


def test_windows_line_ends_and_other_encodings_are_read(tmp_path):
    path = tmp_path / "card.tcl"
    text = b"# caf\xe9\nset ExecutionPath {A \\\n B}\nmodule M A {\n set X 1\n}\n"
    path.write_bytes(text.replace(b"\n", b"\r\n"))
    assert read_card(path).execution_path == ["A", "B"]
    assert read_card(path).modules["A"].params == {"X": 1}
