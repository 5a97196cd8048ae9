"""From process to event file: the same events whatever ran before, with a true ledger."""

import json

import awkward as ak
import numpy as np
import pytest
import uproot

from generation import default_library
from generation.delphes_file import write_delphes_file
from generation.pileup import PileupLibrary
from generation.simulate import DEFAULT_CARD, Simulator, event_branches, resimulate, simulate
from provenance.errors import UserError
from provenance.files import read_json, sha256


def contents(path):
    """Return the leaves of a file of this project, which are branches of their own."""
    with uproot.open(path) as file:
        return {branch.name: branch.array() for branch in file["Delphes"].branches}


def equal(first, second):
    return first.keys() == second.keys() and all(
        ak.array_equal(first[name], second[name], equal_nan=True) for name in first
    )


def columns(branches):
    return {
        f"{name}.{leaf}": values
        for name, branch in branches.items()
        for leaf, values in branch.columns.items()
    }


def test_file_and_ledger(tmp_path, generator_card):
    output = tmp_path / "events.root"
    simulate("res2p", 7, 3, output, card=generator_card, first_batch=5, events_per_batch=4)
    ledger = json.loads((tmp_path / "events.root.json").read_text())
    assert ledger["sha256"] == sha256(output)
    assert (ledger["events_asked"], ledger["events"], ledger["events_failed"]) == (7, 7, 0)
    assert [batch["batch"] for batch in ledger["batches"]] == [5, 6]
    assert [batch["events"] for batch in ledger["batches"]] == [4, 3]
    assert ledger["card_sha256"]
    assert ledger["pileup"] is None
    found = contents(output)
    assert ak.flatten(found["Event.Number"]).to_list() == list(range(20, 27))
    assert np.all(ak.num(found["Particle.PID"]) > 100)
    masses = found["Particle.Mass"][
        (found["Particle.PID"] == 25) & (found["Particle.Status"] == 22)
    ]
    points = [batch["point"]["m_X"] for batch in ledger["batches"] for _ in range(batch["events"])]
    assert np.allclose(masses, np.array(points)[:, None])


def test_batches_do_not_depend_on_the_job(pileup_library):
    whole = Simulator(DEFAULT_CARD, pileup_library, seed=2, events_per_batch=3)
    first = [whole.batch("res34p", number, 3) for number in (8, 9)]
    alone = Simulator(DEFAULT_CARD, pileup_library, seed=2, events_per_batch=3)
    alone.batch("qcd", 0, 1)
    again = alone.batch("res34p", 9, 3)
    assert again[1] == first[1][1]
    wanted, found = columns(first[1][0]), columns(again[0])
    assert wanted.keys() == found.keys()
    for name, values in wanted.items():
        assert np.array_equal(values, found[name], equal_nan=values.dtype.kind == "f"), name
    other = columns(first[0][0])
    assert not np.array_equal(other["Particle.PT"], wanted["Particle.PT"])


def test_a_batch_in_memory_is_what_its_file_gives_back(tmp_path, pileup_library):
    simulator = Simulator(DEFAULT_CARD, pileup_library, seed=3, events_per_batch=4)
    branches, _ = simulator.batch("res34p", 2, 4)
    write_delphes_file(tmp_path / "events.root", [branches])
    read = contents(tmp_path / "events.root")
    assert len(read) == sum(1 + len(branch.columns) for branch in branches.values())
    for name, branch in branches.items():
        assert read[f"{name}_size"].to_list() == np.diff(branch.offsets).tolist()
        for leaf, values in branch.columns.items():
            layout = ak.to_packed(read[f"{name}.{leaf.partition('[')[0]}"]).layout
            found = ak.to_numpy(layout.content)
            assert np.array_equal(layout.offsets, branch.offsets), (name, leaf)
            assert found.dtype == values.dtype, (name, leaf)
            assert found.shape == values.shape, (name, leaf)
            assert found.tobytes() == values.tobytes(), (name, leaf)


def test_batches_iterates_over_numbers(generator_card):
    simulator = Simulator(generator_card, None, seed=2, events_per_batch=2)
    infos = [info for _, info in simulator.batches("qcd", 4, 2)]
    assert [info.batch for info in infos] == [4, 5]
    assert [info.events for info in infos] == [2, 2]
    assert infos[0].cross_section > 0


def test_files_in_parts_are_the_file_in_one(tmp_path, generator_card):
    simulate("qcd", 4, 1, tmp_path / "one.root", card=generator_card, events_per_batch=2)
    for part in (0, 1):
        simulate(
            "qcd", 2, 1, tmp_path / f"{part}.root", card=generator_card,
            first_batch=part, events_per_batch=2,
        )  # fmt: skip
    parts = [contents(tmp_path / f"{part}.root") for part in (0, 1)]
    joined = {name: ak.concatenate([part[name] for part in parts]) for name in parts[0]}
    assert equal(contents(tmp_path / "one.root"), joined)


def test_resimulation_keeps_the_generators_events(tmp_path, generator_card):
    source, output = tmp_path / "source.root", tmp_path / "again.root"
    simulate("res34p", 5, 1, source, card=generator_card, events_per_batch=5)
    resimulate(source, 0, output, card=generator_card)
    first, second = contents(source), contents(output)
    for leaf in ("PID", "Status", "M1", "D1", "PT", "Eta", "X", "Z"):
        wanted, found = first[f"Particle.{leaf}"], second[f"Particle.{leaf}"]
        assert ak.all(ak.isclose(wanted, found, rtol=1e-5, atol=1e-5))
    assert ak.array_equal(first["GenJetAK8_size"], second["GenJetAK8_size"])
    ledger = json.loads((tmp_path / "again.root.json").read_text())
    digest = sha256(source)
    assert ledger["source_sha256"] == digest
    assert ledger["events"] == 5
    resimulate(source, 0, source, card=generator_card)
    assert json.loads((tmp_path / "source.root.json").read_text())["source_sha256"] == digest
    source.write_bytes(source.read_bytes() + b"\0")
    with pytest.raises(UserError, match="changed since its ledger"):
        resimulate(source, 0, output, card=generator_card)


def test_resimulation_of_a_real_file(tmp_path, reference, pileup_library):
    source = reference("published/events_delphes_higgs2p_example.root")
    for seed, name in ((0, "a.root"), (0, "b.root"), (1, "c.root")):
        resimulate(source, seed, tmp_path / name, pileup=pileup_library)
    first, same, other = (contents(tmp_path / name) for name in ("a.root", "b.root", "c.root"))
    assert equal(first, same)
    assert not ak.array_equal(
        first["ParticleFlowCandidate.PT"], other["ParticleFlowCandidate.PT"], equal_nan=True
    )
    # The same hard events: GEN-jets agree with those of real Delphes, pile-up or not.
    with uproot.open(source) as file:
        real = file["Delphes"]["GenJetAK8.PT"].array()
        weight = file["Delphes"]["Event.Weight"].array()
    assert ak.num(first["GenJetAK8.PT"]).to_list() == ak.num(real).to_list()
    assert ak.all(ak.isclose(first["GenJetAK8.PT"], real, rtol=1e-4))
    assert ak.array_equal(first["Event.Weight"], weight)


def test_event_branches_hold_what_delphes_holds(reference):
    with uproot.open(reference("delphes/res2p_1.root")) as file:
        leaves = {branch.name: branch for branch in file["Delphes"]["Event"].branches}
    event = event_branches({}, 3, 100)["Event"]
    assert [f"Event.{leaf}" for leaf in event.columns] == list(leaves)
    for leaf, values in event.columns.items():
        content = leaves[f"Event.{leaf}"].interpretation.content
        assert values.dtype == content.to_dtype.newbyteorder("="), leaf


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"events": 0}, "^0 events asked for; at least 1"),
        ({"events": -3}, "^-3 events asked for; at least 1"),
        ({"process": "zprime"}, "no process 'zprime'; known are"),
        ({"seed": 2**64}, "^seed 18446744073709551616 is out of range"),
        ({"seed": -1}, "^seed -1 is out of range"),
        ({"first_batch": -1}, "^batch -1 is out of range"),
        (
            {"first_batch": 2**63 // 100},
            "^batch 92233720368547758 is out of range: with",
        ),
        ({"events_per_batch": 0}, "^0 events per batch"),
        ({"card": "nowhere.tcl"}, "nowhere.tcl"),
        ({"pileup": "nowhere.arrow"}, "^nowhere.arrow: no such file"),
        ({"output": "/proc/nowhere/events.root"}, "/proc/nowhere"),
    ],
)
def test_mistakes_end_in_a_sentence_and_no_file(tmp_path, generator_card, change, complaint):
    arguments = {
        "process": "res2p",
        "events": 10,
        "seed": 0,
        "output": tmp_path / "out" / "events.root",
        "card": generator_card,
    }
    with pytest.raises(UserError, match=complaint):
        simulate(**(arguments | change))
    assert not list(tmp_path.glob("out/*"))


def test_a_library_is_made_once_for_those_who_give_none(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(default_library, "EVENTS", 100)
    simulate("res2p", 2, 0, tmp_path / "a.root")
    # A card without interactions needs none.
    assert Simulator(DEFAULT_CARD.with_name("jetclass2_fatjet_pu0.tcl"), None, 0).pileup is None
    (library,) = (tmp_path / "cache" / "jetclass-pipeline").glob("*.arrow")
    assert PileupLibrary.open(library).n_events == 100
    made = library.stat().st_mtime_ns
    simulate("res2p", 2, 0, tmp_path / "b.root")
    assert library.stat().st_mtime_ns == made
    ledgers = [read_json(tmp_path / f"{name}.root.json") for name in "ab"]
    assert ledgers[0]["pileup_sha256"] == ledgers[1]["pileup_sha256"] == sha256(library)


def test_resimulation_of_nothing(tmp_path, generator_card):
    with pytest.raises(UserError, match="no such file"):
        resimulate("nowhere.root", 0, tmp_path / "x.root", card=generator_card)
    with pytest.raises(UserError, match=r"^seed -1 is out of range"):
        resimulate("nowhere.root", -1, tmp_path / "x.root", card=generator_card)
