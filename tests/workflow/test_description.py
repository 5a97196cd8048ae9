"""What a shard's job says: all that shapes it, nothing that does not."""

import copy
import dataclasses
import shutil

import pytest
import yaml
from pydantic import Field, create_model

from generation import process
from ntuplizer.products import jets
from provenance.errors import UserError
from workflow import fingerprint
from workflow.config_model import ROOT, detector_card, load_config
from workflow.jobs.description import ShardJob, ShardJobs, dataset_seed


@pytest.fixture
def raw():
    return yaml.safe_load((ROOT / "config" / "quickstart.yaml").read_text())


def job(raw, part="QCD", index=0) -> ShardJob:
    return ShardJobs(load_config(raw)).job("jets", part, index)


@pytest.fixture
def processes(tmp_path, monkeypatch):
    """Copy the processes, so that a test can edit one."""
    folder = tmp_path / "processes"
    shutil.copytree(process.FOLDER, folder)
    monkeypatch.setattr(process, "FOLDER", folder)
    fingerprint.process_digest.cache_clear()
    yield folder
    fingerprint.process_digest.cache_clear()


def test_a_job_survives_its_text(raw):
    one = job(raw, "Res2P", 4)
    assert ShardJob.read(one.text) == one
    assert (one.split, one.processes) == ("val", {"res2p": 4, "res2p_charged": 3})


@pytest.mark.parametrize("text", ["", "{}", '{"part": 3}', "[]", '{"x": 1}'])
def test_a_wrong_job_is_one_sentence(text):
    with pytest.raises(UserError, match="--job"):
        ShardJob.read(text)


@pytest.mark.parametrize("name", ["minbias/process.yaml", "common.yaml", "qcd/process.yaml"])
def test_edited_physics_simulates_again(raw, processes, name):
    before, pileup = job(raw), fingerprint.pileup_inputs(load_config(raw))
    (processes / name).write_text((processes / name).read_text() + "# changed\n")
    fingerprint.process_digest.cache_clear()
    assert job(raw).fingerprint != before.fingerprint
    library_changes = fingerprint.pileup_inputs(load_config(raw)) != pileup
    assert library_changes == (name != "qcd/process.yaml")


def test_another_process_leaves_a_part_alone(raw, processes):
    before = job(raw, "QCD")
    file = processes / "res34p" / "process.yaml"
    file.write_text(file.read_text() + "# changed\n")
    fingerprint.process_digest.cache_clear()
    assert job(raw, "QCD") == before


@pytest.mark.parametrize(
    "line",
    ['source "part.tcl"', "source {part.tcl}", "set f part.tcl; source $f",
     "source part.tcl ;# why", "if {1} { source part.tcl }"],
)  # fmt: skip
def test_what_a_card_sources_counts_however_it_is_written(raw, tmp_path, line):
    cards = tmp_path / "cards"
    cards.mkdir()
    branches = "add Branch a/b Particle X; add Branch c/d ParticleFlowCandidate Y"
    writer = f"module TreeWriter W {{{branches}}}"
    (cards / "card.tcl").write_text(f"{line}\n{writer}\nset ExecutionPath W\n")
    (cards / "part.tcl").write_text("set RandomSeed 1\n")
    raw["datasets"]["jets"]["card"] = str(cards / "card.tcl")
    before = job(raw).fingerprint
    (cards / "part.tcl").write_text("set RandomSeed 2\n")
    detector_card.cache_clear()
    assert job(raw).fingerprint != before


def test_a_new_key_with_its_default_simulates_nothing_again(raw, monkeypatch):
    before = job(raw).text
    wider = create_model("Options", __base__=jets.JetOptions, novelty=(int, Field(3)))
    monkeypatch.setattr(jets, "PRODUCT", dataclasses.replace(jets.PRODUCT, Options=wider))
    assert job(raw).text == before
    raw["datasets"]["jets"]["options"] = {"novelty": 4}
    assert job(raw).text != before


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["seed"], 5),
        (["generation", "events_per_batch"], 21),
        (["generation", "pileup_events"], 2001),
        (["datasets", "jets", "rows_per_shard"], 401),
        (["datasets", "jets", "options"], {"jet_radius": 1.5}),
        (["datasets", "jets", "seed"], 7),
    ],
)
def test_what_shapes_rows_is_in_the_fingerprint(raw, path, value):
    changed = copy.deepcopy(raw)
    section = changed
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value
    assert job(changed).fingerprint != job(raw).fingerprint


def test_growth_and_trainings_leave_shards_alone(raw):
    before = [job(raw, "QCD", index) for index in range(6)]
    changed = copy.deepcopy(raw)
    changed["datasets"]["jets"]["parts"]["QCD"]["shards"] = [6, 12]
    changed["training"]["sophon"]["seed"] = 9
    assert [job(changed, "QCD", index) for index in range(6)] == before
    one, other = (ShardJobs(load_config(c)).dataset_fingerprint("jets") for c in (raw, changed))
    assert one != other


def test_programs_count_for_the_container_backend(raw):
    raw["generation"]["backend"] = "containers"
    for dataset in raw["datasets"].values():
        for part in dataset["parts"].values():
            part["events_per_shard"] = 400
    before = job(raw, "Res34P").fingerprint
    for change in ({"image": "other.sif"}, {"madgraph": "3.6.0"}, {"events_per_run": 1000}):
        raw["generation"]["containers"] = change
        assert job(raw, "Res34P").fingerprint != before
    # How the work is divided shapes nothing, nor does a plan where MadGraph makes nothing.
    raw["generation"]["containers"] = {"hard_process_jobs": 3}
    assert job(raw, "Res34P").fingerprint == before
    without_madgraph = job(raw, "QCD").fingerprint
    for part in raw["datasets"]["jets"]["parts"].values():
        part["events_per_shard"] = 500
    assert job(raw, "Res34P").fingerprint != before
    assert job(raw, "QCD").fingerprint == without_madgraph


def test_datasets_of_a_run_share_no_event_unless_told(raw):
    raw["datasets"]["again"] = copy.deepcopy(raw["datasets"]["jets"])
    config = load_config(raw)
    assert dataset_seed(config, "jets") != dataset_seed(config, "again")
    for dataset in raw["datasets"].values():
        dataset["seed"] = 3
    assert dataset_seed(load_config(raw), "again") == 3
