"""MadGraph's events: every way of being wrong is named before a shower starts."""

import gzip
import json
import re

import numpy as np
import pytest
import uproot

from generation import simulate as simulate_module
from generation.lhe_check import check_lhe
from generation.process import load_process
from generation.simulate import simulate_lhe
from provenance.errors import UserError

FILES = {
    "heft_pp_hh_m150": ("res2p", {"m_X": 150.0}),
    "2hdm_pp_hphm_m200": ("res2p_charged", {"m_X": 200.0}),
    "2hdm_pp_h1h1_m200": ("res34p", {"m_X": 200.0, "m_Y": 326.6321, "width_Y": 7.088459}),
}


@pytest.fixture
def heft(reference):
    """Return the text of a file of MadGraph."""
    with gzip.open(reference("madgraph/heft_pp_hh_m150.lhe.gz"), "rt") as stream:
        return stream.read()


@pytest.fixture
def check(tmp_path):
    """Return a function that checks a text as a file of the process res2p."""

    def of_text(text, process="res2p"):
        path = tmp_path / "events.lhe"
        path.write_text(text)
        return check_lhe(path, load_process(process))

    return of_text


@pytest.mark.parametrize("name", FILES)
def test_files_of_madgraph_are_accepted(reference, name):
    process, point = FILES[name]
    file = check_lhe(reference(f"madgraph/{name}.lhe.gz"), load_process(process))
    assert file.events == 100
    assert {key: file.point[key] for key in point} == point
    assert 0 < file.point["pt_min_X"] < 100
    assert file.point.keys() == load_process(process).lhe.point.keys()


@pytest.mark.parametrize("name", FILES)
def test_files_of_madgraph_are_showered(reference, tmp_path, generator_card, name):
    process, point = FILES[name]
    output = tmp_path / "events.root"
    path = reference(f"madgraph/{name}.lhe.gz")
    simulate_lhe(process, path, None, 3, output, card=generator_card, events_per_batch=40)
    ledger = json.loads((tmp_path / "events.root.json").read_text())
    assert ledger["events"] == ledger["events_asked"] - ledger["events_failed"] >= 95
    assert sum(batch["events"] for batch in ledger["batches"]) == ledger["events"]
    with uproot.open(output) as file:
        arrays = file["Delphes"].arrays(["Particle.PID", "Particle.Status", "Particle.Mass"])
    codes = np.abs(load_process(process).lhe.final_state)
    produced = (np.abs(arrays["Particle.PID"]) == codes[0]) & (arrays["Particle.Status"] == 22)
    masses = arrays["Particle.Mass"][produced]
    on_shell = np.isclose(masses, point["m_X"], rtol=1e-3)
    assert np.all(np.sum(on_shell, axis=1) == 2)


def test_first_events_only_and_by_first_batch(reference, tmp_path, generator_card):
    path = reference("madgraph/heft_pp_hh_m150.lhe.gz")
    momenta = []
    for number, first_batch in enumerate((0, 0, 1)):
        output = tmp_path / f"{number}.root"
        simulate_lhe("res2p", path, 5, 0, output, card=generator_card, first_batch=first_batch)
        with uproot.open(output) as file:
            momenta.append(file["Delphes"]["Particle.PT"].array())
            weight = file["Delphes"]["Event.Weight"].array()
        # In pb, as MadGraph writes it.
        np.testing.assert_allclose(np.ravel(weight), 2.1345174e-3, rtol=1e-6)
    assert len(momenta[0]) == 5
    assert momenta[0].to_list() == momenta[1].to_list()
    assert momenta[0].to_list() != momenta[2].to_list()


@pytest.mark.parametrize("events", [0, -1, 101])
def test_number_of_events(reference, tmp_path, generator_card, events):
    path = reference("madgraph/heft_pp_hh_m150.lhe.gz")
    with pytest.raises(UserError, match=rf"^{events} events asked for; .*holds 100"):
        simulate_lhe("res2p", path, events, 0, tmp_path / "x.root", card=generator_card)


def test_process_that_takes_no_events(check, heft):
    with pytest.raises(UserError, match="process qcd takes no MadGraph events"):
        check(heft, "qcd")


def test_events_of_another_process(check, heft):
    with pytest.raises(UserError, match=r"event 1 has the final state \[25, 25\] instead of \[37"):
        check(heft, "res2p_charged")


def test_missing_file():
    with pytest.raises(UserError, match=r"^nowhere\.lhe: no such file"):
        check_lhe("nowhere.lhe", load_process("res2p"))


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_truncated_text(check, heft, kept):
    with pytest.raises(UserError, match=r"events.lhe: not a whole Les Houches event file"):
        check(heft[: int(kept * len(heft))])


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9, 0.999])
def test_truncated_archive(heft, tmp_path, kept):
    content = gzip.compress(heft.encode())
    path = tmp_path / "events.lhe.gz"
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(UserError, match=r"events.lhe.gz: not a whole Les Houches event file"):
        check_lhe(path, load_process("res2p"))


@pytest.mark.parametrize("content", [b"\x00\x01\x02" * 100, b"hello", b"<html>404</html>"])
def test_file_of_another_kind(tmp_path, content):
    path = tmp_path / "events.lhe"
    path.write_bytes(content)
    with pytest.raises(UserError, match="not a whole Les Houches event file"):
        check_lhe(path, load_process("res2p"))


def test_fewer_events_than_promised(check, heft):
    start, end = heft.index("<event>"), heft.index("</event>") + len("</event>\n")
    with pytest.raises(UserError, match="holds 99 events where its header says 100"):
        check(heft[:start] + heft[end:])


def test_no_events(check, heft):
    header = re.sub(r"Number of Events +: +100", "Number of Events : 0", heft)
    empty = header[: header.index("<event>")] + "</LesHouchesEvents>\n"
    with pytest.raises(UserError, match="holds no events"):
        check(empty)


def test_other_beams(check, heft):
    with pytest.raises(UserError, match="beams of 7000 and 7000 GeV instead of 6500 each"):
        check(heft.replace("6.500000e+03 6.500000e+03", "7.000000e+03 7.000000e+03"))


def change_last(heft, change):
    """Change the momentum columns of the last particle of the last event."""
    lines = heft.splitlines()
    index = len(lines) - 1 - lines[::-1].index("</event>") - 1
    while lines[index].split()[0] != "25":
        index -= 1
    words = lines[index].split()
    change(words)
    lines[index] = " ".join(words)
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("column", "value", "complaint"),
    [
        (6, "500.0", "event 100 does not conserve energy and momentum"),
        (9, "5000.0", "event 100 does not conserve energy and momentum"),
        (10, "90.0", "event 100 holds an outgoing particle off its mass shell"),
        (9, "nan", "event 100 holds a momentum that is not a number"),
        (9, "inf", "event 100 holds a momentum that is not a number"),
        (0, "36", r"event 100 has the final state \[25, 36\] instead of \[25, 25\]"),
        (9, "abc", "not a whole Les Houches event file"),
    ],
)
def test_wrong_particle(check, heft, column, value, complaint):
    def change(words):
        words[column] = value

    with pytest.raises(UserError, match=complaint):
        check(change_last(heft, change))


def test_missing_parameter_card(check, heft):
    without = re.sub(r"<slha>.*?</slha>", "", heft, flags=re.DOTALL)
    with pytest.raises(UserError, match="gives no mass of 25"):
        check(without)


@pytest.mark.parametrize("number", ["1.5.0e2", "--", "nan", "much"])
def test_number_of_the_parameter_card(check, heft, number):
    mass = re.compile(r"^(\s*25\s+)1\.5\d*e\+02", re.MULTILINE)
    assert check(mass.sub(r"\g<1>1.5D+02", heft)).point["m_X"] == 150.0
    with pytest.raises(UserError, match=f"gives {number} as the mass of 25, which is no number"):
        check(mass.sub(rf"\g<1>{number}", heft))


def test_mistake_leaves_no_file(heft, tmp_path, generator_card):
    path = tmp_path / "events.lhe"
    path.write_text(heft[: len(heft) // 2])
    with pytest.raises(UserError):
        simulate_lhe("res2p", path, None, 0, tmp_path / "out" / "x.root", card=generator_card)
    assert not (tmp_path / "out").exists()


def test_shower_that_loses_events_is_refused(reference, tmp_path, generator_card, monkeypatch):
    process = load_process("res2p")
    settings = [*process.settings, "Check:epTolErr = 1e-17", "Check:epTolWarn = 1e-18"]
    strict = process.model_copy(update={"settings": settings})
    monkeypatch.setattr(simulate_module, "load_process", lambda _: strict)
    path = reference("madgraph/heft_pp_hh_m150.lhe.gz")
    with pytest.raises(UserError, match="Pythia gave up 4 of 4 events"):
        simulate_lhe("res2p", path, 4, 0, tmp_path / "x.root", card=generator_card)
    assert not (tmp_path / "x.root").exists()
