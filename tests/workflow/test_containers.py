"""The container backend around MadGraph and Delphes, which stand-ins replace on the PATH here.

The stand-ins (`stand_ins/`) read what the pipeline writes for the real programs and leave files
where those would; Pythia and the files of a real MadGraph are real.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from provenance.errors import UserError
from provenance.files import sha256
from workflow.config_model import ROOT, load_config

STAND_INS = Path(__file__).parent / "stand_ins"
PYTHON = Path(sys.executable).parent
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
    monkeypatch.setenv("STAND_IN_EVENTS_LOST", "5")
    result = snakemake(tmp_path, "--cores", "1", shard)
    assert result.returncode != 0
    assert "wrote 5 of 10 events" in result.stderr
    assert not (tmp_path / shard).exists()
