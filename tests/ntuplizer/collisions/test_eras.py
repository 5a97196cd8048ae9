"""Eras as data; certified runs; each event once."""

import json

import numpy as np
import pytest
import yaml

from ntuplizer.collisions.certified import read_certified
from ntuplizer.collisions.era import FOLDER, dataset_files, era_names, load_era
from ntuplizer.collisions.files import RemoteFile
from ntuplizer.collisions.unique import SeenEvents, run_and_section, section_key
from provenance.errors import UserError


def test_eras_of_the_package():
    assert era_names() == ["2016postVFP", "2016preVFP", "2017", "2018"]
    eras = {name: load_era(name) for name in era_names()}
    # The two halves of 2016 are swapped in some public codes: the looser cuts are the later half's.
    assert eras["2016postVFP"].b_tag.loose < eras["2016preVFP"].b_tag.loose
    assert {name: era.jets.pileup_identification.bit for name, era in eras.items()} == {
        "2016postVFP": 1, "2016preVFP": 1, "2017": 4, "2018": 4
    }  # fmt: skip
    assert sum(d.n_files for d in eras["2016postVFP"].datasets.values()) == 303


@pytest.fixture
def own_era(tmp_path):
    """Return a function that writes a changed era and gives its path."""
    content = yaml.safe_load((FOLDER / "2016postVFP.yaml").read_text())

    def write(**changes):
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump(content | changes))
        return path

    return write


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trigger": ["IsoMu24"]}, "trigger: Extra inputs"),
        ({"triggers": []}, "triggers"),
        (
            {"muons": {"identification": "looseId", "isolation_max": -1, "eta_max": 2.4}},
            "isolation",
        ),
        ({"b_tag": {"discriminator": "b", "loose": 0.5, "medium": 0.4, "tight": 0.6}}, "loose <"),
        ({"datasets": {"A": {"files": [{"address": "a", "adler32": "xyz"}]}}}, "adler32"),
        ({"datasets": {"A": {"files": [{"address": "a"}], "index": "b"}}}, "either index or files"),
    ],
)
def test_mistakes_in_an_era_are_named(own_era, changes, words):
    path = own_era(**changes)
    with pytest.raises(UserError, match=words) as caught:
        load_era(path)
    assert str(path) in str(caught.value)


def test_unknown_eras_and_data_sets_are_named(own_era, tmp_path):
    with pytest.raises(UserError, match="2015: neither an era"):
        load_era("2015")
    era = load_era("2016postVFP")
    with pytest.raises(UserError, match="it has SingleMuon_G"):
        dataset_files(era, "2016postVFP", "Muon")
    with pytest.raises(UserError, match="record 30530"):
        dataset_files(era, "2016postVFP", "SingleMuon_G")


def test_files_of_a_data_set_by_hand_or_index(own_era, tmp_path):
    entry = {"uri": "root://server//file.root", "size": 12, "checksum": "adler32:1a2b3c4d"}
    (tmp_path / "index.json").write_text(json.dumps([entry]))
    file = {"address": "root://server//file.root", "size": 12, "adler32": "1a2b3c4d"}
    path = own_era(datasets={"A": {"index": "index.json"}, "B": {"files": [file]}})
    era = load_era(path)
    expected = [RemoteFile("root://server//file.root", 12, "1a2b3c4d")]
    assert dataset_files(era, path, "A") == dataset_files(era, path, "B") == expected


def test_certified_sections_are_those_of_a_search(tmp_path):
    rng = np.random.default_rng(1)
    content = {}
    for run in rng.choice(np.arange(315_000, 325_000), 60, replace=False):
        starts = rng.integers(1, 2000, 5)
        content[str(run)] = [[int(a), int(a + rng.integers(0, 300))] for a in starts]
    path = tmp_path / "certified.json"
    path.write_text(json.dumps(content))
    run = np.array([int(r) for r in rng.choice(list(content), 5000)], np.uint32)
    run[::7] += 1
    section = rng.integers(0, 2400, 5000).astype(np.uint32)
    expected = [
        any(low <= s <= high for low, high in content.get(str(r), []))
        for r, s in zip(run.tolist(), section.tolist(), strict=True)
    ]
    assert 0.1 < np.mean(expected) < 0.9
    np.testing.assert_array_equal(read_certified(path).mask(run, section), expected)
    path.write_text("{}")
    assert not read_certified(path).mask(run, section).any()


@pytest.mark.parametrize(
    "text",
    [
        "[1]", "{", '{"a": [[1, 2]]}', '{"1": [[2, 1]]}', '{"1": [3]}',
        '{"-1": [[1, 2]]}', '{"4294967297": [[1, 2]]}', '{"1": [[1, 4294967296]]}',
    ],
)  # fmt: skip
def test_other_files_are_no_certified_runs(tmp_path, text):
    path = tmp_path / "certified.json"
    path.write_text(text)
    with pytest.raises(UserError, match=str(path)):
        read_certified(path)


def test_first_copies_are_those_of_a_set():
    """Exact, whatever the order of processes and sections, across and within calls."""
    rng = np.random.default_rng(2)
    seen, known = SeenEvents(), set()
    for _ in range(20):
        run, section = rng.integers(1, 4, 500), rng.integers(1, 5, 500)
        # Of simulation, where each has its own numbers.
        process = rng.choice(["ttbar", "dy"], 500)
        # Numbers beyond 2³² and close to each other: neither hashing nor float64 would do.
        event = rng.integers(0, 400, 500) + (1 << 53)
        expected = []
        for key in zip(process, run.tolist(), section.tolist(), event.tolist(), strict=True):
            expected.append(key not in known)
            known.add(key)
        key = section_key(run.astype(np.uint32), section.astype(np.uint32))
        got = seen.first(event.astype(np.uint64), process, key)
        np.testing.assert_array_equal(got, expected)
    assert len(seen) == len(known)
    assert not seen.first(np.zeros(0, np.int64), np.zeros(0, np.int64)).size


def test_section_keys_are_reversible():
    run, section = np.array([1, 315267, 400_000]), np.array([1, 205, 9000])
    got = run_and_section(section_key(run.astype(np.uint32), section.astype(np.uint32)))
    np.testing.assert_array_equal(got, (run, section))
