"""The resolved graph of each shipped configuration, without running it."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from generation.fastsim.card import read_card
from workflow.config_model import ROOT, load_config
from workflow.jobs.description import ShardJobs

SNAKEMAKE = Path(sys.executable).parent / "snakemake"


def dry_run(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Plan in a folder of its own, so that results of the checkout do not count."""
    return subprocess.run(
        [SNAKEMAKE, "--snakefile", ROOT / "Snakefile", "--directory", folder,
         "--workflow-profile", ROOT / "profiles" / "default", "--quiet", "rules", "--dry-run",
         *arguments],
        capture_output=True, text=True, check=False, env=os.environ | {"COLUMNS": "200"},
    )  # fmt: skip


def job_counts(result: subprocess.CompletedProcess) -> dict[str, int]:
    assert result.returncode == 0, result.stderr
    return {
        name: int(count)
        for name, count in re.findall(r"^(\w+)\s+(\d+)$", result.stdout + result.stderr, re.M)
    }


def test_quickstart_plans_every_stage(tmp_path):
    assert job_counts(dry_run(tmp_path)) == {
        "pileup_library": 1, "shard": 36, "manifest": 3, "train": 7, "evaluate": 7, "report": 1,
        "all": 1, "total": 56,
    }  # fmt: skip


def test_published_dataset_plans_all_shards(tmp_path):
    result = dry_run(tmp_path, "--configfile", str(ROOT / "config" / "jetclass2.yaml"))
    assert job_counts(result)["shard"] == 2010


def test_quickstart_with_programs_plans_what_madgraph_does_once(tmp_path):
    config = ROOT / "config" / "quickstart-containers.yaml"
    assert job_counts(dry_run(tmp_path, "--configfile", str(config))) == {
        "process_directory": 3, "hard_process_plan": 3, "hard_process": 6,
        "hard_process_library": 3, "pileup_delphes": 1, "shard": 18, "manifest": 1, "report": 1,
        "all": 1, "total": 37,
    }  # fmt: skip


def test_one_shard_can_be_asked_for_alone(tmp_path):
    counts = job_counts(dry_run(tmp_path, "results/quickstart/datasets/jets/Res34P_0004.parquet"))
    assert counts == {"pileup_library": 1, "shard": 1, "total": 2}


# Of a dataset: mean pile-up, R.
VARIANTS = [(0, 0.8), (50, 0.8), (140, 0.8), (200, 0.8), (50, 0.4), (50, 1.5)]


def variant_card(pileup):
    return f"delphes_cards/jetclass2_fatjet{'' if pileup == 50 else f'_pu{pileup}'}.tcl"


@pytest.fixture(scope="module")
def planned_variants(tmp_path_factory):
    """Return the jobs of the shards that are planned for all variants of the detector, by name."""
    folder = tmp_path_factory.mktemp("variants")
    parts = {"QCD": {"processes": {"qcd": 1}, "shards": 6, "options": {"qcd_labels": True}}}
    datasets = {
        f"pu{pileup}_r{round(10 * radius)}": {
            "product": "jets", "card": variant_card(pileup), "rows_per_shard": 100,
            "options": {"jet_radius": radius}, "parts": parts,
        }
        for pileup, radius in VARIANTS
    }  # fmt: skip
    generation = {"pileup_events": 2000, "events_per_batch": 100}
    config = {"name": "variants", "seed": 1, "generation": generation, "datasets": datasets}
    (folder / "variants.json").write_text(json.dumps(config))
    result = dry_run(folder, "datasets", "--configfile", str(folder / "variants.json"))
    assert job_counts(result)["shard"] == 6 * len(VARIANTS)
    jobs = ShardJobs(load_config(config))
    return {
        dataset: [jobs.job(dataset, "QCD", index) for index in range(6)] for dataset in datasets
    }


@pytest.mark.parametrize(("pileup", "radius"), VARIANTS)
def test_a_variant_of_the_detector_is_a_line_of_the_configuration(planned_variants, pileup, radius):
    jobs = planned_variants[f"pu{pileup}_r{round(10 * radius)}"]
    assert {(job.card, job.options.get("jet_radius", 0.8)) for job in jobs} == {
        (variant_card(pileup), radius)
    }
    merger = read_card(ROOT / jobs[0].card).modules["PileUpMerger"]
    assert merger.params["MeanPileUp"] == pileup


STUDIES = """
training:
  tuned:
    config: training/configs/sophon-small.yaml
    dataset: jets
    from: {training: sophon, parts: [encoder]}
    flat_sampling: true
    # Numbers of YAML 1.2, text for Snakemake.
    set: {optimizer.betas: [9e-1, 9.9e-1]}
studies:
  few_shot:
    training: tuned
    sizes: {key: data.train_rows, values: [100, 1000]}
    ways: {scratch: {from: null}, tuned: {}}
    seeds: [1, 2, 3]
    metric: accuracy
    baseline: scratch
"""


def test_a_study_plans_a_job_for_each_point(tmp_path):
    (tmp_path / "studies.yaml").write_text(STUDIES)
    configs = [ROOT / "config" / "quickstart.yaml", tmp_path / "studies.yaml"]
    counts = job_counts(dry_run(tmp_path, "--configfile", *map(str, configs)))
    assert (counts["train"], counts["evaluate"]) == (8 + 12, 8 + 12)
    # Weights belong to a training: each of those that draw with them has its own.
    assert counts["sampling_weights"] == 1 + 12
    assert counts["study"] == 1


def stand_in(folder, *files):
    """Make empty files, all of one time."""
    for file in (folder / path for path in files):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        os.utime(file, (1e9, 1e9))


def test_what_is_lost_is_made_again_though_later_jobs_have_used_it(tmp_path):
    config = yaml.safe_load((ROOT / "config" / "quickstart.yaml").read_text())
    shards = [
        f"datasets/{dataset}/{part}_{index:04d}.parquet"
        for dataset, content in config["datasets"].items()
        for part in content["parts"] for index in range(6)
    ]  # fmt: skip
    run = tmp_path / "results" / "quickstart"
    stand_in(run, "pileup/minbias.arrow", *shards)
    stand_in(run, *(f"datasets/{name}/manifest.json" for name in config["datasets"]))
    for name in config["training"]:
        made = ("checkpoint.ckpt", "checkpoint.ckpt.json", "history.csv")
        stand_in(run, *(f"training/{name}/{file}" for file in made))
        stand_in(run, f"evaluation/{name}/metrics.json")
    stand_in(run, "report.html", "report/jets/labels.pdf")
    (run / "datasets" / "energy" / "QCD_0003.parquet").unlink()
    (run / "training" / "probe" / "checkpoint.ckpt").unlink()
    assert job_counts(dry_run(tmp_path)) == {
        "shard": 1, "manifest": 1, "train": 3, "evaluate": 3, "report": 1, "all": 1, "total": 10,
    }  # fmt: skip


def test_another_file_in_the_place_of_a_foreign_checkpoint_trains_anew(tmp_path):
    foreign = tmp_path / "foreign.ckpt"
    with zipfile.ZipFile(foreign, "w"):
        pass
    tuned = {"config": "training/configs/sophon-small.yaml", "dataset": "jets",
             "from": {"checkpoint": str(foreign)}}  # fmt: skip
    target = "results/quickstart/training/tuned/checkpoint.ckpt"
    stand_in(
        tmp_path, "results/quickstart/datasets/jets/manifest.json", target, f"{target}.json",
        "results/quickstart/training/tuned/history.csv",
    )  # fmt: skip
    counts = job_counts(dry_run(tmp_path, target, "--config", f"training={{tuned: {tuned}}}"))
    assert counts == {"train": 1, "total": 1}


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("sede=3", "sede is unknown; known here"),
        ("seed=-1", "seed = -1"),
        ("datasets={jets: {card: nowhere.tcl}}", "jets.card = 'nowhere.tcl': no such file"),
        ("training={sophon: {set: {epohcs: 3}}}", "epohcs"),
    ],
)
def test_wrong_config_stops_before_any_job(tmp_path, setting, expected):
    result = dry_run(tmp_path, "--config", setting)
    assert result.returncode != 0
    assert expected in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr
