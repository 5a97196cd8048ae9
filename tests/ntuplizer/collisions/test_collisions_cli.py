"""The commands: files in, rows with what made them out, or one sentence and nothing."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from ntuplizer.cli import main
from ntuplizer.collisions.era import FOLDER
from ntuplizer.collisions.files import adler32
from ntuplizer.shards import read_metadata
from provenance.errors import UserError
from provenance.ledger import ledger_path

COLLISIONS, PFNANO = "cms/nano_dimuon.root", "cms/pfnano.root"
SIMULATION = "cms/nano_dy.root"


@pytest.fixture
def era(tmp_path):
    """Return an era with triggers that the sample's events fired."""
    content = yaml.safe_load((FOLDER / "2018.yaml").read_text())
    content["triggers"] = ["L2Mu23NoVtx_2Cha", "Mu17_TrkIsoVVL_Mu8_TrkIsoVVL_DZ_Mass3p8"]
    path = tmp_path / "dimuon.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def certified(tmp_path):
    path = tmp_path / "certified.json"
    path.write_text(json.dumps({"315267": [[200, 210]]}))
    return path


LOOSE = ("--option", "b_jets_min=0", "--option", "light-jets-min=0")


def test_nanoaod_makes_event_objects_once(reference, era, certified, tmp_path):
    first, second = tmp_path / "first.parquet", tmp_path / "second.parquet"
    shared = ["nanoaod", str(reference(COLLISIONS)), "--era", str(era), *LOOSE,
              "--certified", str(certified)]  # fmt: skip
    main([*shared, "--output", str(first)])
    main([*shared, "--output", str(second), "--after", str(first)])
    rows = pq.read_table(first)
    assert rows.num_rows > 3
    assert set(rows["process"].to_pylist()) == {"dimuon"}
    assert set(rows["lepton_type"].to_pylist()) == {1}
    assert set(rows["bjet1_type"].to_pylist()) == {0, 2}
    assert pq.read_table(second).num_rows == 0
    assert read_metadata(second)["counts"]["rows"] == 0
    metadata = read_metadata(first)
    assert metadata["product"] == "events"
    assert metadata["inputs"] == ["nano_dimuon.root"]
    assert metadata["counts"]["steps"]["certified"] == 40
    ledger = json.loads(ledger_path(first).read_text())
    assert ledger["counts"] == metadata["counts"]


def test_events_of_two_simulated_processes_are_no_copies(reference, tmp_path):
    """Each numbers its events anew."""
    output, names = tmp_path / "rows.parquet", []
    for name in ("dy", "ttbar", "copy/dy"):
        path = tmp_path / f"{name}.root"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(reference(SIMULATION).read_bytes())
        names.append(str(path))
    main(["nanoaod", *names, "--era", "2018", *LOOSE, "--option", "leptons_min=0",
          "--output", str(output)])  # fmt: skip
    process = pq.read_table(output)["process"].to_pylist()
    assert process.count("dy") == process.count("ttbar") == len(process) / 2 > 0


def test_more_shards_than_rows_are_refused(reference, era, certified, tmp_path):
    rows, shards = tmp_path / "rows.parquet", tmp_path / "shards"
    main(["nanoaod", str(reference(COLLISIONS)), "--era", str(era), *LOOSE,
          "--certified", str(certified), "--output", str(rows)])  # fmt: skip
    with pytest.raises(UserError, match="rows passed the selection, too few for 60 shards"):
        main(["divide", str(rows), "--dataset", "muons", "--splits", *["train"] * 60,
              "--seed", "1", "--output", str(shards)])  # fmt: skip
    assert not shards.exists()
    # Shards are called after their part.
    rows = rows.rename(tmp_path / "Collisions_0000.parquet")
    with pytest.raises(UserError, match=r"0000\.parquet: is an input, and would be replaced"):
        main(["divide", str(rows), "--dataset", "muons", "--splits", "train",
              "--seed", "1", "--output", str(tmp_path)])  # fmt: skip


def test_pfnano_makes_rows_of_a_jet_file(reference, tmp_path):
    output = tmp_path / "jets.parquet"
    main(["pfnano", str(reference(PFNANO)), "--output", str(output), "--option", "pt_min=300"])
    rows = pq.read_table(output)
    assert rows.num_rows == 20
    assert np.min(rows["jet_pt"].to_numpy()) >= 300
    assert len(rows.schema.names) == 54
    metadata = read_metadata(output)
    assert metadata["product"] == "jets"
    assert metadata["options"]["jet_radius"] == 0.8
    assert len(metadata["labels"]) == 188


@pytest.mark.parametrize("wrong", ["checksum", "size", "truncated", "missing"])
def test_a_file_that_is_not_the_one_listed_leaves_no_output(
    reference, era, certified, tmp_path, wrong
):
    copy = tmp_path / "copy.root"
    content = reference(COLLISIONS).read_bytes()
    copy.write_bytes(content)
    entry = {"uri": str(copy), "size": len(content), "checksum": f"adler32:{adler32(copy)}"}
    if wrong == "checksum":
        entry["checksum"] = "adler32:1"
    elif wrong == "size":
        entry["size"] += 1
    elif wrong == "truncated":
        copy.write_bytes(content[:-5000])
    else:
        copy.unlink()
    (tmp_path / "index.json").write_text(json.dumps([entry]))
    listed = yaml.safe_load(era.read_text()) | {"datasets": {"DoubleMuon": {"index": "index.json"}}}
    era.write_text(yaml.safe_dump(listed))
    output = tmp_path / "out" / "events.parquet"
    with pytest.raises(UserError, match=str(copy)):
        main(["nanoaod", "--era", str(era), "--dataset", "DoubleMuon", "--certified",
              str(certified), "--output", str(output)])  # fmt: skip
    assert not list(output.parent.glob("*"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nanoaod", "--era", "2018"], "either files or a --dataset"),
        (["nanoaod", "a.root", "--era", "2018", "--dataset", "A"], "either files or a --dataset"),
        (["nanoaod", "a.root", "--era", "2018", "--all-runs"], "a.root: no such file"),
        (["nanoaod", "a.root", "--era", "2018", "--option", "b_jets"], "NAME=VALUE"),
        (
            ["nanoaod", "a.root", "--era", "2018", "--option", "jets=2"],
            "option jets: it is none of",
        ),
        (["nanoaod", "a.root", "--era", "2018", "--after", "b.parquet"], "b.parquet"),
        (["pfnano", "a.root", "--option", "pt=2"], "option pt"),
        (["pfnano", "--dataset", "A"], "the --era that has it"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=words):
        main([*arguments, "--output", "out.parquet"])
    assert not list(tmp_path.iterdir())


def test_collisions_without_certified_runs_are_refused(reference, tmp_path):
    with pytest.raises(UserError, match="Cert_314472-325175_13TeV_Legacy2018"):
        main(["nanoaod", str(reference(COLLISIONS)), "--era", "2018",
              "--output", str(tmp_path / "events.parquet")])  # fmt: skip
    assert not list(tmp_path.iterdir())
