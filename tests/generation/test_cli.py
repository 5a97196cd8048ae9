"""The command line: what it offers, and one sentence for every mistake."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import uproot

from generation.cli import CARDS, main
from generation.pileup import PileupLibrary
from generation.process import FOLDER
from provenance.errors import run


def fails(arguments, capsys):
    """Run a command that must fail; return what it says."""
    with pytest.raises(SystemExit) as raised:
        run(lambda: main([str(argument) for argument in arguments]))
    assert raised.value.code not in (0, None)
    return capsys.readouterr().err


def simulate(to, on, **options):
    values = {"process": "res2p", "events": 3, "seed": 7, "card": on, "output": to} | options
    return ["simulate", *(f"--{name.replace('_', '-')}={value}" for name, value in values.items())]


def test_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit) as raised:
        main(["--help"])
    assert raised.value.code == 0
    text = capsys.readouterr().out
    for command in ("simulate", "resimulate", "pileup", "card", "processes"):
        assert command in text


def python(*arguments):
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def test_help_is_quick_and_works_as_a_module():
    heavy = "[m for m in ('pythia8mc', 'numba') if m in sys.modules]"
    assert python("-c", f"import sys, generation.cli; print({heavy})").stdout == "[]\n"
    assert "res34p" in python("-m", "generation", "processes").stdout


def test_simulate(tmp_path, generator_card, capsys):
    output = tmp_path / "events.root"
    main(simulate(output, generator_card))
    with uproot.open(output) as file:
        assert file["Delphes"].num_entries == 3
    assert json.loads(Path(f"{output}.json").read_text())["process"] == "res2p"
    assert "res2p" in capsys.readouterr().err


def test_simulate_prints_nothing_on_standard_output(tmp_path, generator_card):
    command = simulate(tmp_path / "events.root", generator_card)
    done = python("-m", "generation", *command)
    assert "PYTHIA" not in done.stdout + done.stderr


def test_resimulate(tmp_path, generator_card):
    source, output = tmp_path / "events.root", tmp_path / "again.root"
    main(simulate(source, generator_card))
    main(["resimulate", str(source), "--seed=1", f"--card={generator_card}", f"--output={output}"])
    with uproot.open(output) as file:
        assert file["Delphes"].num_entries == 3


def test_simulate_lhe(tmp_path, generator_card, reference):
    output = tmp_path / "events.root"
    path = reference("madgraph/2hdm_pp_hphm_m200.lhe.gz")
    main(simulate(output, generator_card, process="res2p_charged", lhe=path, events=4))
    assert json.loads(Path(f"{output}.json").read_text())["lhe"] == path.name


@pytest.mark.slow
def test_pileup(tmp_path):
    output = tmp_path / "minbias.arrow"
    main(["pileup", "--events=12", "--seed=0", f"--output={output}"])
    assert PileupLibrary.open(output).n_events == 12


def test_card_as_json(capsys):
    main(["card", str(CARDS / "jetclass2_fatjet.tcl"), "--json"])
    card = json.loads(capsys.readouterr().out)
    assert card["execution_path"][0] == "PileUpMerger"
    assert card["modules"]["PileUpMerger"]["class"] == "PileUpMerger"
    assert card["not_implemented"] == []


def test_card_as_text(capsys):
    main(["card", str(CARDS / "jetclass2_fatjet.tcl")])
    text = capsys.readouterr().out
    assert text.splitlines()[0].split() == ["PileUpMerger", "PileUpMerger"]
    assert text.splitlines()[-1] == "not implemented: none"


def test_cards_compared(tmp_path, capsys):
    body = "set ExecutionPath {J X}\nmodule FastJetFinder J {set JetAlgorithm %d}\n"
    texts = {
        "valencia": body % 99 + "module Unknown X {}",
        "kt": body % 4 + "module Merger X {add InputArray J/jets}",
        "part": "set EfficiencyFormula {1.0}",
        "incomplete": "set ExecutionPath Absent",
    }
    paths = [str(tmp_path / f"{name}.tcl") for name in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        Path(path).write_text(text)
    main(["card", *paths])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == paths
    assert [line.split(maxsplit=1)[1] for line in lines] == [
        "FastJetFinder (JetAlgorithm), Unknown",
        "none",
        "cannot be used: sets no ExecutionPath",
        "cannot be used: ExecutionPath names 'Absent', which no module command configures",
    ]
    main(["card", paths[0]])
    assert capsys.readouterr().out.splitlines()[-1] == (
        "not implemented: FastJetFinder (JetAlgorithm), Unknown"
    )
    assert "one card" in fails(["card", *paths[:2], "--json"], capsys)


def test_processes(capsys):
    main(["processes"])
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert names == sorted(folder.parent.name for folder in FOLDER.glob("*/process.yaml"))
    assert {"2hdm", "minbias", "qcd", "res2p", "res2p_charged", "res34p", "ttbar"} < set(names)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"process": "res5p"}, "there is no process 'res5p'; known are"),
        ({"events": -1}, "-1 events asked for; at least 1 is needed"),
        ({"events": "many"}, "invalid int value: 'many'"),
        ({"seed": 2**64}, "seed 18446744073709551616 is out of range: 0 to 18446744073709551615"),
        ({"seed": "one"}, "invalid int value: 'one'"),
        ({"card": "nowhere.tcl"}, "nowhere.tcl"),
        ({"pileup": "nowhere.arrow"}, "nowhere.arrow: no such file"),
        ({"lhe": "nowhere.lhe"}, "nowhere.lhe: no such file"),
        ({"output": "/proc/out/events.root"}, "cannot make the output folder /proc/out"),
    ],
)
def test_mistakes(tmp_path, generator_card, capsys, options, complaint):
    output = tmp_path / "out" / "events.root"
    said = fails(simulate(output, generator_card, **options), capsys)
    assert complaint in said
    assert "Traceback" not in said
    assert not list(tmp_path.glob("out/*"))


def test_mistake_is_one_sentence(tmp_path, generator_card, capsys):
    said = fails(simulate(tmp_path / "events.root", generator_card, events=0), capsys)
    assert said == "error: 0 events asked for; at least 1 is needed\n"


def test_events_or_a_file_of_them(tmp_path, generator_card, capsys):
    command = simulate(tmp_path / "events.root", generator_card)
    command.remove("--events=3")
    assert "--events" in fails(command, capsys)


@pytest.mark.parametrize("content", [b"", b"no root file"])
def test_resimulate_a_damaged_file(tmp_path, generator_card, capsys, content):
    source = tmp_path / "events.root"
    source.write_bytes(content)
    output = tmp_path / "again.root"
    command = ["resimulate", source, "--seed=1", f"--card={generator_card}", f"--output={output}"]
    assert "events.root: not a whole ROOT file" in fails(command, capsys)
    assert not output.exists()


def test_card_that_does_not_exist(capsys):
    assert "nowhere.tcl" in fails(["card", "nowhere.tcl"], capsys)
