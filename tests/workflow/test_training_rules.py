"""From events to the report at toy size, with everything that a run can train, through Snakemake.

The task `multiplicity` lives in one folder of the tests (`tests/training/toy_tasks`): that it is
trained, studied and reported here is the proof that a new task is one folder.
"""

import json
import re
import zipfile
from pathlib import Path

import pytest
import yaml
from mini_dataset import build, write_config

from provenance.files import read_json, write_json
from workflow.config_model import ROOT

TOY_TASKS = ROOT / "tests" / "training" / "toy_tasks"
TOY = {
    "task": "multiplicity",
    "steps": 4,
    "data": {"batch_size": 8, "workers": 0},
    "run": {"accelerator": "cpu", "threads": 1},
}
SOPHON = {
    "epochs": 1,
    "data.batch_size": 8,
    "data.selection.jet_sdmass": [0.0, 600.0],
    "model.embedding": [16, 16],
    "model.head": [8],
    "model.blocks": 1,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return the folder of a run in which every rule of training ran, and its configuration."""
    folder = tmp_path_factory.mktemp("run")
    toy = folder / "toy.yaml"
    toy.write_text(yaml.safe_dump(TOY))
    training = {
        "sophon": {
            "config": "training/configs/sophon-small.yaml", "dataset": "jets",
            "flat_sampling": True, "set": SOPHON,
        },
        "toy": {"config": str(toy), "dataset": "jets"},
    }  # fmt: skip
    studies = {
        "learning_curve": {
            "training": "toy", "sizes": {"key": "data.train_rows", "values": [8, 24]},
            "ways": {"narrow": {"set": {"width": 2}}, "wide": {"set": {"width": 32}}},
            "seeds": [1, 2], "metric": "spread", "baseline": "narrow",
        }
    }  # fmt: skip
    # Made by hand, and named so.
    comparison = folder / "results" / "mini" / "comparison" / "two cards" / "comparison.json"
    write_json(comparison, {"text": [], "tables": [], "figures": {}})
    config = write_config(folder, {"training": training, "studies": studies})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRAINING_TASKS", str(TOY_TASKS))
        result = build(folder, config)
        assert result.returncode == 0, result.stderr[-5000:]
        again = build(folder, config, "--dry-run")
    assert "Nothing to be done" in again.stdout + again.stderr
    return folder / "results" / "mini"


def test_every_training_is_evaluated(run):
    manifest = read_json(run / "datasets" / "jets" / "manifest.json")
    for name, number in (("sophon", "accuracy"), ("toy", "spread")):
        metrics = read_json(run / "evaluation" / name / "metrics.json")
        assert number in metrics["summary"]
        assert metrics["dataset_sha256"] == manifest["dataset_sha256"]
        assert (run / "training" / name / "history.csv").read_text().count("\n") > 1


def test_sampling_weights_are_the_trainings_own(run):
    weights = read_json(run / "training" / "sophon" / "weights.json")
    assert "0 < jet_sdmass < 600" in weights["drawn_from"]["selection"]
    assert not (run / "training" / "toy" / "weights.json").exists()


def test_a_study_compares_equal_steps(run):
    study = read_json(run / "studies" / "learning_curve" / "study.json")
    assert len(study["points"]) == 8
    for point in study["points"]:
        summary = read_json(run / "training" / point["fit"] / "summary.json")
        assert summary["steps"] == 4
    rows = {(row["way"], row["size"]): row for row in study["results"]}
    assert rows["narrow", 8]["error"] > 0
    assert "gain" in rows["wide", 24]


def test_the_report_shows_it_all(run):
    page = (run / "report.html").read_text()
    for heading in (
        "Dataset jets", "Network sophon", "Network toy", "Study learning_curve",
        "Comparison two cards",
    ):  # fmt: skip
        assert heading in page


def test_snakemakes_own_report_has_categories_and_captions(run, monkeypatch):
    monkeypatch.setenv("TRAINING_TASKS", str(TOY_TASKS))
    folder = run.parents[1]
    result = build(folder, folder / "mini.yaml", "--report", str(folder / "all.zip"))
    assert result.returncode == 0, result.stderr[-5000:]
    with zipfile.ZipFile(folder / "all.zip") as archive:
        page = archive.read("all/report.html").decode()
        files = {Path(name).name for name in archive.namelist()}
    assert {"study.png", "history.csv", "metrics.json", "manifest.json", "labels.pdf"} <= files
    categories = json.loads(re.search(r"var categories = (\{.*?\});?\n", page).group(1))
    assert set(categories) == {"Report", "Datasets", "Networks", "Studies"}
    assert set(categories["Networks"]) >= {"sophon", "toy"}
    # Names may hold what is markup elsewhere.
    assert "ERROR" not in result.stdout + result.stderr
    text = re.sub(r"<[^>]+>", "", page)
    for caption in ("The study learning_curve: mean", "Every shard of the dataset jets with"):
        assert caption in text
