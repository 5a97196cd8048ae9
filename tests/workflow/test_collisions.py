"""Collisions as a dataset of the workflow: files of CMS in, shards out, each event once."""

import json
import os
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from ntuplizer.collisions import xrootd
from ntuplizer.collisions.era import FOLDER
from ntuplizer.collisions.files import adler32
from ntuplizer.verify import verify
from provenance.errors import UserError
from tests.ntuplizer.collisions.web_server import serve
from tests.ntuplizer.collisions.xrootd_server import PROGRAM, serve_xrootd
from workflow.config_model import ROOT, load_config
from workflow.jobs.collisions import CollisionJobs
from workflow.planning import make_plan

SNAKEMAKE = Path(sys.executable).parent / "snakemake"
NANO = "cms/nano_dimuon.root"
LOOSE = {"b_jets_min": 0, "light_jets_min": 0}

needs_xrootd = pytest.mark.skipif(
    PROGRAM is None
    or not xrootd.is_installed()
    or find_spec("snakemake_storage_plugin_xrootd") is None,
    reason="needs the program xrootd (in Debian's xrootd-server) and pip install '.[xrootd]'",
)


def configured(**changes) -> dict:
    collisions = {"era": "2018", "files": ["nano.root"], "all_runs": True, **changes}
    return {
        "name": "cms",
        "generation": {"pileup_events": 100},
        "collisions": {"muons": collisions},
    }


def make(folder: Path, config: dict, *arguments: str) -> subprocess.CompletedProcess:
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    command = [SNAKEMAKE, "--snakefile", ROOT / "Snakefile", "--directory", folder, "--cores", "1",
               "--workflow-profile", ROOT / "profiles" / "default",
               "--configfile", folder / "config.yaml", *arguments, "--", "datasets"]  # fmt: skip
    return subprocess.run(
        command, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip


@pytest.fixture
def era(reference, tmp_path):
    """Return an era with triggers of the sample and its file as two data sets, behind a server."""
    content = yaml.safe_load((FOLDER / "2018.yaml").read_text())
    content["triggers"] = ["L2Mu23NoVtx_2Cha", "Mu17_TrkIsoVVL_Mu8_TrkIsoVVL_DZ_Mass3p8"]
    (tmp_path / "nano.root").write_bytes(reference(NANO).read_bytes())
    with serve(tmp_path) as (address, asked):
        known = {
            "address": f"{address}/nano.root",
            "size": (tmp_path / "nano.root").stat().st_size,
            "adler32": adler32(tmp_path / "nano.root"),
        }
        content["datasets"] = {
            "First": {"files": [known]},
            "Copies": {"files": [{"address": str(tmp_path / "nano.root")}]},
            "Other": {"files": [{**known, "adler32": "12345678"}]},
        }
        path = tmp_path / "era.yaml"
        path.write_text(yaml.safe_dump(content))
        yield path, asked


@pytest.mark.slow
def test_files_become_a_dataset_with_each_event_once(era, tmp_path):
    path, asked = era
    shared = {"era": str(path), "files": [], "options": LOOSE}
    result = make(tmp_path, configured(**shared, samples=["First", "Copies"]))
    assert result.returncode == 0, result.stderr
    folder = tmp_path / "results" / "cms"
    rows = [
        pq.read_table(file) for file in sorted((folder / "collisions" / "muons").glob("*.pa*t"))
    ]
    assert len(rows) == 2
    assert rows[0]["event"].equals(rows[1]["event"])
    dataset = folder / "datasets" / "muons"
    assert verify(dataset) == []
    manifest = json.loads((dataset / "manifest.json").read_text())
    assert [file["split"] for file in manifest["files"]] == ["train"] * 4 + ["val", "test"]
    events = [pq.read_table(dataset / file["path"])["event"] for file in manifest["files"]]
    found = [event for shard in events for event in shard.to_pylist()]
    assert sorted(found) == sorted(rows[0]["event"].to_pylist())
    assert asked
    assert (
        "Nothing to be done"
        in make(tmp_path, configured(**shared, samples=["First", "Copies"])).stderr
    )

    result = make(tmp_path, configured(**shared, samples=["Other"]), "--retries", "0")
    assert result.returncode != 0
    assert "its adler32 checksum is" in result.stderr + result.stdout
    assert "Traceback" not in result.stderr + result.stdout


@pytest.mark.slow
@needs_xrootd
def test_files_behind_xrootd_make_the_rows_of_files_here(era, tmp_path):
    path, _ = era
    rows = {}
    with serve_xrootd() as server:
        folder = server.folder / "open data"
        folder.mkdir()
        (folder / "nano.root").write_bytes((tmp_path / "nano.root").read_bytes())
        address = server.url("open data/nano.root?user=me&again=$(exit)")
        for name, file, fetch in (
            ("here", str(tmp_path / "nano.root"), False),
            ("read", address, False),
            ("copied", address, True),
        ):
            (tmp_path / name).mkdir()
            config = configured(era=str(path), files=[file], options=LOOSE, fetch=fetch)
            result = make(tmp_path / name, config)
            assert result.returncode == 0, result.stderr
            made = tmp_path / name / "results" / "cms" / "collisions" / "muons" / "00000.parquet"
            rows[name] = made.read_bytes()
        assert rows["here"] == rows["read"] == rows["copied"]

        config = configured(era=str(path), files=[server.url("missing.root")])
        (tmp_path / "failed").mkdir()
        result = make(tmp_path / "failed", config, "--retries", "0")
    assert result.returncode != 0
    said = result.stderr + result.stdout
    assert "missing.root: cannot be read" in said
    assert "Traceback" not in said
    assert not list((tmp_path / "failed" / "results").rglob("*.parquet"))


def test_what_is_asked_of_a_file(era):
    path, _ = era
    config = load_config(configured(era=str(path), files=[], samples=["First", "Copies"]))
    jobs = CollisionJobs(config, "muons")
    assert jobs.splits == ["train"] * 4 + ["val", "test"]
    assert jobs.local(0) is None
    assert jobs.local(1) == str(path.parent / "nano.root")
    assert f"--adler32 {adler32(path.parent / 'nano.root')}" in jobs.options(0)
    assert "--all-runs" in jobs.options(1)
    other = CollisionJobs(load_config(configured(era=str(path), working_point="loose")), "muons")
    assert other.fingerprint != jobs.fingerprint
    assert other.local(0) == str(ROOT / "nano.root")


def test_files_that_were_read_are_not_read_again_for_another_number_of_shards():
    few, many, *others = (
        CollisionJobs(load_config(configured(**changes)), "muons")
        for changes in (
            {}, {"shards": 12, "files": ["nano.root", "more.root"]},
            {"era": "2017"}, {"working_point": "tight"}, {"options": {"met_min": 30}},
        )
    )  # fmt: skip
    before = few.rows_fingerprint(0)
    assert many.rows_fingerprint(0) == before
    assert few.fingerprint != many.fingerprint
    assert all(jobs.rows_fingerprint(0) != before for jobs in others)


def test_where_the_project_lies_changes_no_shard(monkeypatch, tmp_path):
    here = CollisionJobs(load_config(configured()), "muons")
    monkeypatch.setattr("workflow.jobs.collisions.ROOT", tmp_path)
    there = CollisionJobs(load_config(configured()), "muons")
    assert there.local(0) != here.local(0)
    assert there.fingerprint == here.fingerprint


def test_words_of_a_configuration_stay_words_of_the_command():
    config = configured(options={"met_min": "1; exit"}, files=["a b.root"])
    words = shlex.split(CollisionJobs(load_config(config), "muons").options(0, "copies/a $b.root"))
    assert words[-4:] == ["--copy", "copies/a $b.root", "--option", "met_min=1; exit"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"samples": ["SingleMuon_G"]}, "either files or samples"),
        ({"files": [], "samples": ["Zero"]}, "no data set 'Zero'"),
        ({"era": "1999"}, "1999: neither an era"),
        ({"era": None}, "an era is needed"),
        ({"certified": "none.json"}, "collisions.muons.certified .*no such file"),
        ({"shards": 5}, "collisions.muons.shards"),
        ({"format": "root"}, "collisions.muons.format"),
        ({"files": ["gsiftp://host/a.root"]}, "gsiftp://host/a.root: a path or an https://"),
        ({"files": ["https://me:secret@host/a.root"]}, "https://…@host: an address with a pass"),
    ],
)
def test_mistakes_are_one_sentence(changes, words):
    with pytest.raises(UserError, match=words):
        make_plan(configured(**changes))


@pytest.mark.skipif(xrootd.is_installed(), reason="fsspec-xrootd is installed")
def test_a_missing_package_is_said_before_any_job():
    config = load_config(configured(files=["root://host//a.root"]))
    with pytest.raises(UserError, match="needs the Python package fsspec-xrootd"):
        CollisionJobs(config, "muons")


@needs_xrootd
def test_files_of_one_path_are_not_copied_to_one_place():
    files = ["root://here//eos/a.root", "xrootd://here//eos/a.root", "root://there//eos/a.root"]
    CollisionJobs(load_config(configured(files=files[:2], fetch=True)), "muons")
    with pytest.raises(UserError, match=r"here//eos/a\.root and .* have one path"):
        CollisionJobs(load_config(configured(files=files, fetch=True)), "muons")


def test_a_name_is_of_one_dataset():
    config = configured()
    with pytest.raises(UserError, match="no dataset is named"):
        load_config(config | {"collisions": {}})
    simulated = {
        "product": "events",
        "card": "delphes_cards/jetclass2_event.tcl",
        "rows_per_shard": 10,
        "parts": {"Top": {"processes": {"ttbar": 1}, "shards": 6}},
    }
    with pytest.raises(UserError, match="muons is the name of a simulated dataset and"):
        load_config(config | {"datasets": {"muons": simulated}})
