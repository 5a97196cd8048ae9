"""The container backend around MadGraph and Delphes, which stand-ins replace on the PATH here.

The stand-ins (`stand_ins/`) read what the pipeline writes for the real programs and leave files
where those would; Pythia and the files of a real MadGraph are real.
"""

import gzip
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pylhe
import pytest
import pythia8mc
import yaml

from generation.external.delphes import batch_card, pileup_events, pythia_settings
from generation.external.lhe import LheFile
from generation.external.library import HardProcessLibrary, write_library
from generation.external.madgraph import make_hard_process, make_process_directory
from generation.external.points import PointPlan, has_hard_process, point_grid, run_card, run_seed
from generation.fastsim.card import read_card
from generation.process import load_process
from generation.seeds import EXTERNAL_SEEDS, Stage, batch_key, stream
from provenance.errors import UserError
from provenance.files import sha256
from workflow.config_model import ROOT, load_config

STAND_INS = Path(__file__).parent / "stand_ins"
PYTHON = Path(sys.executable).parent
HARD = ("res2p", "res2p_charged", "res34p")
CONFIG = {
    "name": "tiny",
    "generation": {
        "backend": "containers",
        "card": "delphes_cards/jetclass2_fatjet.tcl",
        "events_per_batch": 10,
        "pileup_events": 100,
        "containers": {
            "hard_process_jobs": 2,
            "jobs_per_shard": 2,
            "events_per_shard": {"Res2P": 40, "QCD": 40},
        },
    },
    "dataset": {
        "jets_per_shard": 3,
        "max_events_per_shard": 400,
        "parts": {
            "Res2P": {"processes": {"res2p": 4, "res2p_charged": 3}, "shards": 6},
            "QCD": {"processes": {"qcd": 1}, "shards": 6, "qcd_labels": True},
        },
    },
}


@pytest.fixture
def stand_ins(monkeypatch):
    monkeypatch.setenv("PATH", os.pathsep.join([str(PYTHON), str(STAND_INS), *os.get_exec_path()]))


@pytest.fixture
def plan():
    return PointPlan.of_batches("res34p", 3, 5, range(30))


def snakemake(folder: Path, *arguments: str, config: dict = CONFIG) -> subprocess.CompletedProcess:
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    return subprocess.run(
        [PYTHON / "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", folder,
         "--workflow-profile", ROOT / "profiles" / "default", *arguments, "--configfile", file],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


# --- which events a batch takes


@pytest.mark.parametrize("name", HARD)
def test_the_grid_is_the_published_one(name):
    grid = point_grid(name)
    assert len(grid) == 98 * 50
    assert grid[0] == {"m_X": 15, "pt_min_X": 100}
    assert grid[-1] == {"m_X": 500, "pt_min_X": 2499}


@pytest.mark.parametrize("dataset", [0, 1, 2**64 - 1])
def test_seeds_of_all_runs_are_distinct(dataset):
    seeds = np.array(
        [
            run_seed(process, dataset, point, run)
            for process in map(load_process, HARD)
            for point in range(0, 4900, 7)
            for run in (0, 1, 458)
        ]
    )
    assert len(np.unique(seeds)) == len(seeds)
    assert seeds.min() >= 1
    assert seeds.max() <= EXTERNAL_SEEDS
    with pytest.raises(UserError, match="run 459"):
        run_seed(load_process("res2p"), 0, 0, 459)


def test_no_two_batches_share_events():
    plan = PointPlan.of_batches("res2p", 1, 100, range(3000))
    assert len({*zip(plan.point.tolist(), plan.rank.tolist(), strict=True)}) == 3000
    assert plan.demand.sum() == 3000
    assert all(
        sorted(plan.rank[plan.point == point]) == list(range(plan.demand[point]))
        for point in np.unique(plan.point)
    )


def test_batches_have_the_point_that_either_backend_draws(plan):
    process = load_process("res34p")
    for batch in (0, 7, 29):
        drawn = process.draw_point(stream(Stage.PARAMETER_POINT, batch_key(3, "res34p", batch)))
        point, _ = plan.slice_of(batch)
        assert point_grid("res34p")[point].items() <= drawn.items()


def test_more_shards_leave_the_slices_of_others_alone(plan):
    larger = PointPlan.of_batches("res34p", 3, 5, range(60))
    assert [larger.slice_of(b) for b in range(30)] == [plan.slice_of(b) for b in range(30)]


def test_a_plan_survives_its_file(plan, tmp_path):
    for name in ("a.npz", "b.npz"):
        plan.write(tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert PointPlan.open(tmp_path / "a.npz").slice_of(11) == plan.slice_of(11)
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(UserError, match="not a plan"):
        PointPlan.open(tmp_path / "a.npz")
    with pytest.raises(UserError, match="batch 99 of res34p is not in the plan"):
        plan.slice_of(99)


def test_run_cards_set_what_the_published_ones_set():
    card = run_card(load_process("res2p_charged"), {"m_X": 80.0, "pt_min_X": 106.0}, 500, 7)
    for line in ("nevents 500", "iseed 7", "lhaid 315000", "pt_min_pdg 37:106", "mass 37 80"):
        assert line in card
    assert "$" not in card
    assert not has_hard_process("qcd")


# --- events of a real MadGraph


@pytest.mark.parametrize("name", ["heft_pp_hh_m150", "2hdm_pp_h1h1_m200", "2hdm_pp_hphm_m200"])
def test_slices_of_real_events_are_whole_files(name, reference, tmp_path):
    lhe = LheFile.read(reference(f"madgraph/{name}.lhe.gz"))
    assert (len(lhe.events), lhe.madgraph_version) == (100, "2.6.0")
    parts = []
    for first in range(0, 100, 30):
        path = tmp_path / f"{first}.lhe"
        path.write_text(lhe.slice(first, 30))
        parts += LheFile.read(path).events
        assert len(list(pylhe.LHEFile.fromfile(path).events)) == min(30, 100 - first)
    assert parts == lhe.events


def test_a_truncated_file_is_refused(reference, tmp_path):
    text = gzip.decompress(reference("madgraph/heft_pp_hh_m150.lhe.gz").read_bytes())
    path = tmp_path / "events.lhe"
    path.write_bytes(text[: len(text) * 2 // 3])
    with pytest.raises(UserError, match="truncated"):
        LheFile.read(path)


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


# --- MadGraph's stand-in


def test_hard_process_events_by_batch(plan, tmp_path, stand_ins):
    make_process_directory("res34p", {}, tmp_path, tmp_path / "process.tar.gz")
    plan.write(tmp_path / "plan.npz")
    archives = [tmp_path / f"events_{block}.zip" for block in range(2)]
    for block, path in enumerate(archives):
        make_hard_process(plan, tmp_path / "process.tar.gz", block, 2, 5, "3.5.7", tmp_path, path)
    write_library(tmp_path / "plan.npz", archives, tmp_path / "library.json")
    library = HardProcessLibrary(tmp_path / "library.json")
    events = []
    for batch in range(30):
        path = tmp_path / "batch.lhe"
        path.write_text(library.events(batch))
        file = LheFile.read(path)
        assert len(file.events) == 5
        events += file.events
        mass = point_grid("res34p")[plan.slice_of(batch)[0]]["m_X"]
        particles = next(iter(pylhe.LHEFile.fromfile(path).events)).particles
        assert [p.m for p in particles if p.status == 1] == [mass, mass]
    assert len(set(events)) == 150
    again = tmp_path / "again.zip"
    make_hard_process(plan, tmp_path / "process.tar.gz", 0, 2, 5, "3.5.7", tmp_path, again)
    assert sha256(again) == sha256(archives[0])
    with zipfile.ZipFile(archives[1], "a") as archive:
        archive.writestr("more", "")
    with pytest.raises(UserError, match=r"events_1\.zip: is not the file"):
        write_library(tmp_path / "plan.npz", archives, tmp_path / "library.json")
    with pytest.raises(UserError, match=r"events_0\.zip: is not block 0 of 1"):
        write_library(tmp_path / "plan.npz", archives[:1], tmp_path / "library.json")
    with pytest.raises(UserError, match=r"version 3\.5\.7, but the configuration's.* is 2\.9\.18"):
        make_hard_process(
            plan, tmp_path / "process.tar.gz", 0, 2, 5, "2.9.18", tmp_path, tmp_path / "x.zip"
        )
    assert not (tmp_path / "x.zip").exists()


def test_a_program_that_fails_is_named(plan, tmp_path, monkeypatch, capsys):
    program = tmp_path / "bin" / "mg5_aMC"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho no such model; exit 0\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    with pytest.raises(UserError, match="mg5_aMC wrote no process directory for res34p"):
        make_process_directory("res34p", {}, tmp_path, tmp_path / "process.tar.gz")
    assert "mg5_aMC: no such model" in capsys.readouterr().out
    program.unlink()
    with pytest.raises(UserError, match="mg5_aMC is not on the PATH"):
        make_process_directory("res34p", {}, tmp_path, tmp_path / "process.tar.gz")


# --- Delphes


def test_the_card_of_a_batch_sets_pileup_and_seed(tmp_path):
    card = ROOT / "delphes_cards" / "jetclass2_fatjet.tcl"
    shutil.copytree(card.parent, tmp_path / "cards")
    wrapper = tmp_path / "cards" / "batch.tcl"
    wrapper.write_text(batch_card(card, tmp_path / "with space" / "a.pileup", 12345))
    assert "set RandomSeed 12345" in wrapper.read_text().splitlines()
    modules = read_card(wrapper).modules
    assert modules["PileUpMerger"].params["PileUpFile"] == str(tmp_path / "with space" / "a.pileup")
    original = read_card(card)
    assert read_card(wrapper).execution_path == original.execution_path
    assert modules["ECal"].params == original.modules["ECal"].params


def test_the_count_of_a_pileup_file(tmp_path):
    path = tmp_path / "minbias.pileup"
    path.write_bytes(b"x" * 100 + (5000).to_bytes(8, "big"))
    assert pileup_events(path) == 5000
    path.write_bytes(b"")
    with pytest.raises(UserError, match="not a pile-up file"):
        pileup_events(path)


# --- the workflow


def test_missing_programs_are_named_before_any_job(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    result = snakemake(tmp_path, "--cores", "1")
    assert result.returncode != 0
    assert "not on the PATH: DelphesPythia8, root2pileup, hadd, mg5_aMC" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "results").exists()
    plan = snakemake(tmp_path, "--dry-run", "--quiet", "rules")
    assert plan.returncode == 0, plan.stderr


def test_a_part_without_a_number_of_events_is_named():
    config = CONFIG | {"dataset": CONFIG["dataset"] | {"parts": CONFIG["dataset"]["parts"] | {
        "More": {"processes": {"res34p": 1}, "shards": 6}}}}  # fmt: skip
    with pytest.raises(UserError, match=r"events_per_shard needs the parts Res2P, QCD, More"):
        load_config(config)


def test_a_process_belongs_to_one_part():
    parts = CONFIG["dataset"]["parts"] | {"More": {"processes": {"qcd": 1}, "shards": 6}}
    config = CONFIG | {"dataset": CONFIG["dataset"] | {"parts": parts}}
    with pytest.raises(UserError, match="parts QCD and More both hold qcd"):
        load_config(config)


def test_a_fetched_model_must_have_its_checksum(tmp_path):
    archive = tmp_path / "model.tar.gz"
    archive.write_bytes(b"a model")
    target = "results/tiny/models/2HDM.tar.gz"
    for digest, code in (("0" * 64, 1), (sha256(archive), 0)):
        config = yaml.safe_load(yaml.safe_dump(CONFIG))
        config["generation"]["containers"]["models"] = {
            "2HDM": {"url": archive.as_uri(), "sha256": digest}
        }
        # Programs are not needed to fetch a model, but the check of the PATH comes first.
        result = snakemake(
            tmp_path, target, "--cores", "1", "--sdm", "env-modules",
            config=config,
        )  # fmt: skip
        assert result.returncode == code, result.stderr
        assert (f"not {digest} as configured" in result.stderr) == (code == 1)
        assert (tmp_path / target).exists() == (code == 0)


def test_the_image_is_made_of_the_environment():
    environment = yaml.safe_load((ROOT / "workflow/envs/generation.yaml").read_text())
    pinned = dict(entry.split("=", 1) for entry in environment["dependencies"][:4])
    assert pinned["mg5amcnlo"] == load_config(CONFIG).generation.containers.madgraph
    assert pinned["delphes"] == "3.5.1"
    for name in ("Dockerfile", "generation.def"):
        recipe = (ROOT / "workflow" / "containers" / name).read_text()
        assert "workflow/envs/generation.yaml /tmp/generation.yaml" in recipe
        assert "micromamba install --yes --name base --file /tmp/generation.yaml" in recipe


@pytest.mark.slow
def test_shards_come_out_of_the_whole_chain(tmp_path, stand_ins):
    shards = [f"results/tiny/dataset/{name}.parquet" for name in ("Res2P_0001", "QCD_0004")]
    result = snakemake(tmp_path, "--cores", "1", *shards)
    assert result.returncode == 0, result.stderr
    digests = [sha256(tmp_path / shard) for shard in shards]
    # Event files are gone as soon as their jets are made.
    assert not list((tmp_path / "results/tiny/events").glob("*"))
    (tmp_path / shards[0]).unlink()
    result = snakemake(tmp_path, "--cores", "1", *shards)
    assert result.returncode == 0, result.stderr
    assert "hard_process:" not in result.stderr
    assert [sha256(tmp_path / shard) for shard in shards] == digests


@pytest.mark.slow
def test_a_simulation_that_ends_early_is_not_accepted(tmp_path, stand_ins, monkeypatch):
    shard = "results/tiny/dataset/QCD_0000.parquet"
    result = snakemake(tmp_path, "--cores", "1", "results/tiny/pileup/minbias.pileup")
    assert result.returncode == 0, result.stderr
    monkeypatch.setenv("STAND_IN_EVENTS_LOST", "2")
    result = snakemake(tmp_path, "--cores", "1", shard)
    assert result.returncode != 0
    assert "DelphesPythia8 wrote 8 of 10 events of batch 0 of qcd" in result.stderr
    assert not (tmp_path / shard).exists()
