"""The container backend around MadGraph and Delphes, which stand-ins replace on the PATH here.

The stand-ins (`stand_ins/`) read what the pipeline writes for the real programs and leave files
where those would; Pythia and the files of a real MadGraph are real.
"""

import copy
import json
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
import yaml

from generation.external.points import PointPlan
from provenance.errors import UserError
from provenance.files import sha256
from workflow.config_model import ROOT, load_config
from workflow.jobs.batches import shard_batches
from workflow.jobs.containers import plan_job, write_plan

STAND_INS = Path(__file__).parent / "stand_ins"
PYTHON = Path(sys.executable).parent
CONFIG = {
    "name": "tiny",
    "generation": {
        "backend": "containers",
        "events_per_batch": 10,
        "pileup_events": 100,
        "containers": {"hard_process_jobs": 2},
    },
    "datasets": {
        "jets": {
            "card": "delphes_cards/jetclass2_fatjet.tcl",
            "rows_per_shard": 3,
            "parts": {
                "Res2P": {
                    "processes": {"res2p": 4, "res2p_charged": 3}, "shards": 6,
                    "events_per_shard": 20,
                },
                "QCD": {
                    "processes": {"qcd": 1}, "shards": 6, "options": {"qcd_labels": True},
                    "events_per_shard": 20,
                },
            },
        }
    },
}  # fmt: skip


def changed(**parts: dict) -> dict:
    """Return the configuration with other or more parts."""
    config = copy.deepcopy(CONFIG)
    config["datasets"]["jets"]["parts"] |= parts
    return config


@pytest.fixture
def stand_ins(monkeypatch):
    monkeypatch.setenv("PATH", os.pathsep.join([str(PYTHON), str(STAND_INS), *os.get_exec_path()]))


def snakemake(folder: Path, *arguments: str, config: dict = CONFIG) -> subprocess.CompletedProcess:
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    return subprocess.run(
        [PYTHON / "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", folder,
         "--workflow-profile", ROOT / "profiles" / "default", *arguments, "--configfile", file],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


# --- the workflow


def test_missing_programs_are_named_before_any_job(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    result = snakemake(tmp_path, "--cores", "1")
    assert result.returncode != 0
    assert "not on the PATH: DelphesPythia8, root2pileup, mg5_aMC" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "results").exists()
    plan = snakemake(tmp_path, "--dry-run", "--quiet", "rules")
    assert plan.returncode == 0, plan.stderr


def test_a_part_without_a_number_of_events_is_named():
    config = changed(More={"processes": {"res34p": 1}, "shards": 6})
    with pytest.raises(UserError, match=r"parts\.More\.events_per_shard is needed"):
        load_config(config)


def test_growth_has_a_plan_of_its_own_and_leaves_the_first_alone():
    grown = changed(Res2P=CONFIG["datasets"]["jets"]["parts"]["Res2P"] | {"shards": [6, 12]})
    before, after = (load_config(config) for config in (CONFIG, grown))
    first = plan_job(before, "jets", "res2p", 0)
    assert plan_job(after, "jets", "res2p", 0) == first
    second = json.loads(plan_job(after, "jets", "res2p", 1))
    assert second["shards"] == [6, 18]
    assert second["first_run"] > json.loads(first)["first_run"]


def test_a_plan_holds_the_batches_of_its_shards(tmp_path):
    job = plan_job(load_config(CONFIG), "jets", "res2p", 0)
    write_plan(job, tmp_path / "plan.npz")
    plan = PointPlan.open(tmp_path / "plan.npz")
    expected = {
        number
        for index in range(6)
        for name, number in islice(shard_batches(index, {"res2p": 4, "res2p_charged": 3}), 2)
        if name == "res2p"
    }
    assert set(plan.batch.tolist()) == expected


def test_a_fetched_model_must_have_its_checksum(tmp_path):
    archive = tmp_path / "model.tar.gz"
    archive.write_bytes(b"a model")
    target = "results/tiny/archives/2HDM.tar.gz"
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


@pytest.mark.slow
def test_shards_come_out_of_the_whole_chain(tmp_path, stand_ins):
    shards = [f"results/tiny/datasets/jets/{name}.parquet" for name in ("Res2P_0001", "QCD_0004")]
    result = snakemake(tmp_path, "--cores", "1", *shards)
    assert result.returncode == 0, result.stderr
    digests = [sha256(tmp_path / shard) for shard in shards]
    assert not list(tmp_path.glob("results/tiny/**/*.root"))
    (tmp_path / shards[0]).unlink()
    result = snakemake(tmp_path, "--cores", "1", *shards)
    assert result.returncode == 0, result.stderr
    assert "hard_process:" not in result.stderr
    assert [sha256(tmp_path / shard) for shard in shards] == digests


@pytest.mark.slow
def test_a_simulation_that_ends_early_is_not_accepted(tmp_path, stand_ins, monkeypatch):
    shard = "results/tiny/datasets/jets/QCD_0000.parquet"
    result = snakemake(tmp_path, "--cores", "1", "results/tiny/pileup/minbias.pileup")
    assert result.returncode == 0, result.stderr
    monkeypatch.setenv("STAND_IN_EVENTS_LOST", "5")
    result = snakemake(tmp_path, "--cores", "1", shard)
    assert result.returncode != 0
    assert "wrote 5 of 10 events" in result.stderr
    assert not (tmp_path / shard).exists()
