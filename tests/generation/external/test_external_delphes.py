"""Delphes around its real inputs: cards, command files, and what becomes of batches that fail."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import pythia8mc
import uproot

from generation.external.delphes import (
    TRIES,
    DelphesInputs,
    DelphesSimulator,
    batch_card,
    make_pileup,
    pileup_events,
    pythia_settings,
    simulate_batch,
)
from generation.external.lhe import LheFile
from generation.external.seeds import program_seed
from generation.fastsim.card import read_card
from generation.process import load_process
from provenance.errors import UserError
from provenance.files import sha256

CARD = Path(__file__).parents[3] / "delphes_cards" / "jetclass2_fatjet.tcl"
# Ends with a file of so many events, or badly, as the lines of `plan` say: one for each start.
PROGRAM = """#!/bin/sh
cd "$(dirname "$3")"
[ -e "$3" ] && exit 7
now=$(head -n 1 "$PLAN/plan")
sed -i 1d "$PLAN/plan"
echo $(sed -n 's/Random:seed = //p' "$2") $(sed -n 's/set RandomSeed //p' "$1") >> "$PLAN/seeds"
case $now in
    crash) echo Segmentation violation in SimpleCalorimeter; kill -SEGV $$;;
    damage) echo root > "$3";;
    *) echo ' |      2   Error in Pythia::check: unknown particle code    |'
       cp "$PLAN/$now.root" "$3";;
esac
"""


@pytest.fixture
def delphes(tmp_path, program, monkeypatch):
    """Return a simulator whose Delphes ends as told, and the seeds that it was started with."""
    program("DelphesPythia8", PROGRAM)
    (tmp_path / "minbias.pileup").write_bytes(b"x" * 100 + (100).to_bytes(8, "big"))
    monkeypatch.setenv("PLAN", str(tmp_path))

    def prepare(*ends: str) -> tuple[DelphesSimulator, Path]:
        (tmp_path / "plan").write_text("\n".join(ends))
        for events in map(int, filter(str.isdigit, ends)):
            with uproot.recreate(tmp_path / f"{events}.root") as file:
                tree = file.mktree("Delphes", {"Event.Number": "i8"})
                tree.extend({"Event.Number": np.arange(events)})
        (tmp_path / "seeds").unlink(missing_ok=True)
        inputs = DelphesInputs(CARD, tmp_path / "minbias.pileup", {}, {"qcd": 0}, 5, 100)
        return DelphesSimulator(inputs, tmp_path), tmp_path / "seeds"

    return prepare


def seeds(*uses):
    return [f"{seed} {seed}" for seed in (program_seed(5, 0, 3, use) for use in uses)]


def test_a_batch_is_named_by_its_ledger(delphes):
    simulator, used = delphes("100")
    with simulator:
        path, entry = simulator.batch("qcd", 3)
        ledger = json.loads(path.with_name(f"{path.name}.json").read_text())
        assert ledger["batches"] == [entry]
        assert ledger["sha256"] == sha256(path)
    assert not path.exists()
    assert (entry["process"], entry["batch"], entry["events"], entry["failed"]) == (
        "qcd",
        3,
        100,
        0,
    )
    assert not {"tries", "errors", "planned"} & entry.keys()
    assert used.read_text().split("\n")[:-1] == seeds(TRIES[0])


def test_events_that_chance_may_lose_are_counted_with_the_reason(delphes):
    simulator, _ = delphes("97")
    with simulator:
        _, entry = simulator.batch("qcd", 3)
    assert (entry["events"], entry["failed"]) == (97, 3)
    assert entry["errors"] == {"Error in Pythia::check: unknown particle code": 2}


def test_a_batch_that_dies_is_started_again_with_its_seed_then_with_another(delphes):
    simulator, used = delphes("crash", "damage", "80", "crash", "99")
    with simulator:
        path, entry = simulator.batch("qcd", 3)
        assert path.is_file()
    assert used.read_text().split("\n")[:-1] == seeds(*TRIES)
    assert len(set(seeds(*TRIES))) == 3
    assert entry["seed"] == int(seeds(TRIES[-1])[0].split()[0])
    problems = [one["problem"] for one in entry["tries"]]
    assert problems[0] == problems[3] == "was ended by signal 11"
    assert problems[1].startswith("left no whole event file")
    assert problems[2].startswith("wrote 80 of 100 events: Error in Pythia::check")
    assert (entry["events"], entry["failed"]) == (99, 1)


def test_a_batch_that_cannot_be_made_leaves_the_others_alone(delphes):
    crash = ["crash"] * len(TRIES)
    simulator, _ = delphes("100", *crash, "100", *crash)
    with simulator:
        assert simulator.batch("qcd", 0)[1]["events"] == 100
        path, entry = simulator.batch("qcd", 1)
        assert path is None
        assert (entry["events"], entry["failed"], len(entry["tries"])) == (0, 100, len(TRIES))
        assert simulator.batch("qcd", 2)[1]["events"] == 100
        with pytest.raises(UserError, match="batch 4 of qcd in 5 tries, nor 1 others of 4: was"):
            simulator.batch("qcd", 4)


def test_one_batch_alone_must_be_made(delphes, tmp_path):
    with delphes(*["crash"] * len(TRIES))[0]:
        inputs = DelphesInputs(CARD, tmp_path / "minbias.pileup", {}, {"qcd": 0}, 5, 100)
    with pytest.raises(UserError, match="could not make batch 3 of qcd in 5 tries"):
        simulate_batch(inputs, "qcd", 3, tmp_path, tmp_path / "events.root")
    assert not (tmp_path / "events.root").exists()


def test_pileup_is_started_again_too(delphes, program, tmp_path):
    delphes("crash", "1000")
    program(
        "root2pileup",
        "#!/usr/bin/env python\nimport sys\n"
        "open(sys.argv[1], 'wb').write(b'x' * 100 + (1000).to_bytes(8, 'big'))\n",
    )
    make_pileup(1000, 5, tmp_path, tmp_path / "new.pileup")
    ledger = json.loads((tmp_path / "new.pileup.json").read_text())
    assert (ledger["events"], len(ledger["tries"])) == (1000, 1)
    assert pileup_events(tmp_path / "new.pileup") == 1000


def test_the_card_of_a_batch_sets_pileup_and_seed(tmp_path):
    shutil.copytree(CARD.parent, tmp_path / "cards")
    wrapper = tmp_path / "cards" / "batch.tcl"
    wrapper.write_text(batch_card(CARD, tmp_path / "with space" / "a.pileup", 12345))
    assert "set RandomSeed 12345" in wrapper.read_text().splitlines()
    modules = read_card(wrapper).modules
    assert modules["PileUpMerger"].params["PileUpFile"] == str(tmp_path / "with space" / "a.pileup")
    original = read_card(CARD)
    assert read_card(wrapper).execution_path == original.execution_path
    assert modules["ECal"].params == original.modules["ECal"].params


def test_the_count_of_a_pileup_file(tmp_path):
    path = tmp_path / "minbias.pileup"
    path.write_bytes(b"x" * 100 + (5000).to_bytes(8, "big"))
    assert pileup_events(path) == 5000
    path.write_bytes(b"")
    with pytest.raises(UserError, match="not a pile-up file"):
        pileup_events(path)


@pytest.mark.parametrize(
    ("name", "file", "code"),
    [("res2p", "heft_pp_hh_m150", 25), ("res2p_charged", "2hdm_pp_hphm_m200", 37)],
)
def test_pythia_showers_a_slice_with_our_commands(
    name, file, code, reference, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("hard.lhe").write_text(LheFile.read(reference(f"madgraph/{file}.lhe.gz")).slice(40, 5))
    process = load_process(name)
    point = {"m_X": 150.0 if code == 25 else 200.0, "pt_min_X": 100.0}
    commands = pythia_settings(process, point, 5, 5)
    commands += ["Beams:frameType = 4", "Beams:LHEF = hard.lhe", "SLHA:readFrom = 0"]
    Path("pythia.cmnd").write_text("\n".join(commands))
    pythia = pythia8mc.Pythia("", False)
    pythia.readString("Print:quiet = on")
    assert pythia.readFile("pythia.cmnd")
    assert pythia.init()
    for _ in range(5):
        assert pythia.next()
        pairs = [p for p in pythia.event if abs(p.id()) == code and p.status() == -62]
        assert len(pairs) == 2
        allowed = {tuple(sorted(map(abs, c.products))) for c in process.decays[code]}
        for particle in pairs:
            daughters = [abs(pythia.event[i].id()) for i in particle.daughterList()]
            assert tuple(sorted(daughters)) in allowed
    assert not pythia.next()
