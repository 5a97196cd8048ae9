"""Studies: means, standard errors, differences paired by seed."""

import json
import math
from dataclasses import asdict

import pytest

from provenance.errors import UserError
from provenance.files import read_json, write_json
from workflow.config_model import Study
from workflow.figures import plot_study
from workflow.fits import Point
from workflow.jobs.study import gather_study, study_job, summarise

STUDY = Study.model_validate(
    {
        "training": "tuned",
        "sizes": {"key": "data.train_rows", "values": [10, 100]},
        "ways": {"scratch": {"from": None}, "tuned": {}},
        "seeds": [1, 2, 3],
        "metric": "auc",
        "baseline": "scratch",
    }
)
GRID = [
    Point(way, size, seed, f"few/{way}_{size}_{seed}", "auc")
    for way in ("scratch", "tuned") for size in (10, 100) for seed in (1, 2, 3)
]  # fmt: skip
# Seeds differ more than the ways do: only pairing shows the gain.
VALUES = {1: 0.5, 2: 0.7, 3: 0.9}
GAIN = {1: 0.01, 2: 0.02, 3: 0.03}


def points():
    return [
        {
            "way": way, "size": size, "seed": seed,
            "value": VALUES[seed] + (GAIN[seed] if way == "tuned" else 0),
        }
        for way in ("scratch", "tuned") for size in (10, 100) for seed in VALUES
    ]  # fmt: skip


def test_gains_are_paired_by_seed():
    scratch, _, tuned, _ = summarise(points(), "scratch")
    assert scratch["mean"] == pytest.approx(0.7)
    assert scratch["error"] == pytest.approx(0.2 / math.sqrt(3))
    assert "gain" not in scratch
    assert tuned["gain"] == pytest.approx(0.02)
    assert tuned["gain_error"] == pytest.approx(0.01 / math.sqrt(3))


def test_one_seed_has_no_error():
    (row,) = summarise([{"way": "a", "size": None, "seed": 1, "value": 0.5}], None)
    assert (row["mean"], row["error"]) == (0.5, None)


def test_a_study_is_gathered_into_numbers_and_a_figure(tmp_path):
    for point in points():
        folder = tmp_path / "evaluation" / "few" / f"{point['way']}_{point['size']}_{point['seed']}"
        write_json(folder / "metrics.json", {"summary": {"auc": point["value"]}})
    output = tmp_path / "studies" / "few" / "study.json"
    gather_study(study_job("few", STUDY, GRID), tmp_path / "evaluation", output)
    results = read_json(output)["results"]
    assert [(row["way"], row["size"]) for row in results] == [
        ("scratch", 10), ("scratch", 100), ("tuned", 10), ("tuned", 100)
    ]  # fmt: skip
    assert results[3]["gain"] == pytest.approx(0.02)
    first = output.with_suffix(".png").read_bytes()
    gather_study(study_job("few", STUDY, GRID), tmp_path / "evaluation", output)
    assert output.with_suffix(".png").read_bytes() == first


def test_a_metric_that_was_not_measured_is_named(tmp_path):
    for point in points():
        folder = tmp_path / "few" / f"{point['way']}_{point['size']}_{point['seed']}"
        write_json(folder / "metrics.json", {"summary": {"accuracy": 1.0}})
    with pytest.raises(UserError, match="measured no auc; its summary has accuracy"):
        gather_study(study_job("few", STUDY, GRID), tmp_path, tmp_path / "study.json")
    assert not (tmp_path / "study.json").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"points": 3}, "points: Input should be a valid array"),
        ({"points": []}, "points: List should have at least 1 item"),
        ({"points": [{"fit": 1}]}, "points.0.way: Field required"),
        ({"points": [asdict(GRID[0]) | {"seed": []}]}, "points.0.seed: Input should be"),
        ({"metric": None}, "metric: Input should be a valid string"),
        ({"points": [asdict(GRID[-1])]}, "the baseline scratch has none of the size 100 and"),
    ],
)
def test_a_malformed_job_is_one_sentence(change, sentence, tmp_path):
    job = json.dumps(json.loads(study_job("few", STUDY, GRID)) | change)
    with pytest.raises(UserError, match=f"^--job: .*{sentence}"):
        gather_study(job, tmp_path, tmp_path / "study.json")


def test_a_size_of_zero_is_drawn():
    sizes = (0, 1, 8)
    results = [
        {"way": "a", "size": size, "mean": 0.5, "error": None, "seeds": [1]} for size in sizes
    ]
    study = {"baseline": None, "metric": "auc", "size_key": "model.registers", "note": None}
    (axes,) = plot_study(results, study).axes
    places = axes.transAxes.inverted().transform(
        axes.transData.transform([(s, 0.5) for s in sizes])
    )
    assert list(places[:, 0]) == sorted(places[:, 0])
    assert places[0, 0] > 0
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1", "8"]
