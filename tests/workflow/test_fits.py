"""Trainings and studies become fits: complete configurations, checked before any job."""

import json
import shutil
from itertools import product

import pytest
import yaml

from provenance.errors import UserError
from training.config import load_config as load_training
from workflow.config_model import ROOT, load_config
from workflow.fits import Fit, resolve_fits


@pytest.fixture
def raw():
    """Return the quickstart with one training."""
    content = yaml.safe_load((ROOT / "config" / "quickstart.yaml").read_text())
    return content | {"training": {"sophon": content["training"]["sophon"]}}


def few_shot(raw, **changes):
    """Add a training that begins with Sophon, and a study of it."""
    raw["training"]["tuned"] = {
        "config": "training/configs/sophon-small.yaml",
        "dataset": "jets",
        "from": {"training": "sophon", "parts": ["encoder"]},
        "set": {"steps": 20},
    }
    raw["studies"] = {
        "few_shot": {
            "training": "tuned",
            "sizes": {"key": "data.train_rows", "values": [100, 1000]},
            "ways": {"scratch": {"from": None}, "tuned": {}, "frozen": {"frozen": True}},
            "seeds": [1, 2, 3],
            "metric": "accuracy",
            "baseline": "scratch",
        }
        | changes
    }
    return load_config(raw)


def test_a_study_is_a_grid_of_fits(raw):
    config = few_shot(raw)
    fits, points_of = resolve_fits(config)
    points = points_of["few_shot"]
    assert len(points) == 3 * 2 * 3
    assert set(fits) == {"sophon", "tuned", *(point.fit for point in points)}
    fit = fits["few_shot/frozen_100_2"]
    assert (fit.config.seed, fit.config.data.train_rows, fit.config.steps) == (2, 100, 20)
    assert (fit.start, fit.config.start.frozen) == ("sophon", True)
    assert fits["few_shot/scratch_100_2"].start is None


def test_a_way_can_share_the_networks_of_another_one(raw):
    ways = {"scratch": {"from": None}, "trees": {"of": "scratch", "metric": "accuracy_of_groups"}}
    config = few_shot(raw, ways=ways)
    fits, points_of = resolve_fits(config)
    points = points_of["few_shot"]
    shared = {(point.size, point.seed): point for point in points if point.way == "trees"}
    for point in points:
        assert point.fit == shared[point.size, point.seed].fit
        assert point.metric == ("accuracy_of_groups" if point.way == "trees" else "accuracy")
    assert len(fits) == 2 + len(shared)
    for wrong, why in (
        ({"of": "nothing", "metric": "auc"}, "nothing is no way with networks"),
        ({"of": "trees", "metric": "auc"}, "trees is no way with networks"),
        ({"of": "scratch"}, "with `of` goes `metric`"),
        ({"of": "scratch", "metric": "auc", "frozen": True}, "with `of` goes `metric`"),
    ):
        with pytest.raises(UserError, match=why):
            few_shot(raw, ways={**ways, "wrong": wrong})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"metric": "acuracy"}, "few_shot.metric is acuracy, .* task sophon .* name is accuracy$"),
        ({"metric": "spread"}, "few_shot.metric is spread, .*; it measures jets, loss, accuracy, "),
        (
            {"ways": {"a": {}, "b": {"of": "a", "metric": "aucs"}}, "baseline": None},
            "few_shot.ways.b.metric is aucs, .* the nearest name is auc$",
        ),
    ],
)
def test_a_metric_that_no_evaluation_holds_is_named(raw, changes, expected):
    with pytest.raises(UserError, match=expected):
        resolve_fits(few_shot(raw, **changes))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"ways": {"a": {"from": None, "frozen": True}}},
            r"ways\.a\.frozen: it begins with nothing",
        ),
        (
            {"ways": {"a": {"set": {"seed": 7}}}},
            r"ways\.a\.set\.seed: the seeds of the study set it",
        ),
        (
            {"ways": {"a": {"set": {"data.train_rows": 7}}}},
            r"ways\.a\.set\.data\.train_rows: the sizes of the study set it",
        ),
        ({"sizes": {"key": "seed", "values": [1, 2]}}, "several seeds under `seeds`"),
        (
            {"sizes": {"key": "from.steps", "values": [5]}, "ways": {"a": {"from": None}}},
            "from.steps: no way begins with another training",
        ),
    ],
)
def test_what_a_study_would_ignore_is_refused(raw, changes, expected):
    with pytest.raises(UserError, match=expected):
        resolve_fits(few_shot(raw, **changes, baseline=None))


def test_a_pretraining_can_be_repeated_with_several_seeds(raw):
    raw["training"]["sophon"]["seed"] = 3
    fits, _ = resolve_fits(few_shot(raw, sizes={"key": "from.seed", "values": [8, 9]}))
    assert {fits[f"few_shot/from_sophon_{seed}"].config.seed for seed in (8, 9)} == {8, 9}


def test_ways_compare_one_network_with_equal_steps(raw):
    fits, _ = resolve_fits(few_shot(raw))
    of_ways = [fits[f"few_shot/{way}_1000_1"].config for way in ("scratch", "tuned", "frozen")]
    assert len({config.model.model_dump_json() for config in of_ways}) == 1
    assert {config.steps for config in of_ways} == {20}


def test_sizes_of_what_it_begins_with(raw):
    config = few_shot(raw, sizes={"key": "from.data.train_rows", "values": [50, 500]})
    fits, _ = resolve_fits(config)
    point = fits["few_shot/tuned_500_3"]
    assert point.start == "few_shot/from_sophon_500"
    assert fits[point.start].config.data.train_rows == 500
    assert point.config.data.train_rows is None
    # A new network has no size of its own.
    assert fits["few_shot/scratch_50_3"].start is None
    assert "few_shot/scratch_500_3" not in fits


def test_points_that_ask_for_the_same_network_share_it(raw):
    """Those of one study, of two, and a training with its point of the same seed."""
    few_shot(raw)
    study = raw["studies"]["few_shot"] | {"ways": {"new": {"from": None}, "tuned": {}}}
    raw["studies"] = {
        "few_shot": study | {"sizes": {"key": "data.train_rows", "values": [100, 1000]}},
        "starts": study | {
            "ways": {"scratch": {"from": None, "set": {"data.train_rows": 100}}, "tuned": {}},
            "sizes": {"key": "from.data.train_rows", "values": [50, 500]},
        },
        "seeds": study | {"sizes": None},
    }  # fmt: skip
    raw["studies"] = {
        name: study | {"baseline": None, "metric": "accuracy"}
        for name, study in raw["studies"].items()
    }
    fits, points = resolve_fits(load_config(raw))
    of = {
        (name, point.way, point.size, point.seed): point.fit
        for name, study in points.items() for point in study
    }  # fmt: skip
    for size, seed in product((50, 500), (1, 2, 3)):
        assert of["starts", "scratch", size, seed] == f"few_shot/new_100_{seed}"
        assert of["starts", "tuned", size, seed] == f"starts/tuned_{size}_{seed}"
    # The training has seed 1.
    assert [of["seeds", "tuned", None, seed] for seed in (1, 2, 3)] == [
        "tuned", "seeds/tuned_-_2", "seeds/tuned_-_3"
    ]  # fmt: skip
    assert set(of.values()) | {"sophon", "starts/from_sophon_50", "starts/from_sophon_500"} == set(
        fits
    )
    texts = [(fit.dataset, fit.start, fit.config.model_dump_json()) for fit in fits.values()]
    assert len(set(texts)) == len(fits)


def test_configurations_of_a_folder_are_ways(raw, tmp_path):
    for name in ("sophon", "sophon-small"):
        shutil.copy(ROOT / "training" / "configs" / f"{name}.yaml", tmp_path)
    raw["studies"] = {
        "sizes": {
            "training": "sophon", "configs": str(tmp_path), "seeds": [2], "metric": "accuracy",
        }
    }  # fmt: skip
    fits, _ = resolve_fits(load_config(raw))
    assert fits["sizes/sophon-small_-_2"].config.model != fits["sizes/sophon_-_2"].config.model


def test_classes_keep_their_order(raw):
    raw["datasets"]["events"] = raw["datasets"]["jets"] | {
        "product": "events",
        "card": "delphes_cards/jetclass2_event.tcl",
        "parts": {"Events": {"processes": {"ttbar": 1, "2hdm": 1}, "shards": 6}},
    }
    raw["training"]["events"] = {
        "config": "training/configs/event-classification.yaml",
        "dataset": "events",
        "set": {"classes.top": ["ttbar"], "classes.higgs": ["2hdm"]},
    }
    text = resolve_fits(load_config(raw))[0]["events"].text
    assert list(json.loads(text)["classes"]) == ["top", "higgs"]


@pytest.mark.parametrize(
    "path", sorted((ROOT / "training" / "configs").glob("*.yaml")), ids=lambda path: path.stem
)
def test_the_text_of_a_fit_is_its_configuration(path):
    config = load_training(path)
    text = Fit("fit", "jets", config, None, False).text
    assert load_training(text) == config
    assert Fit("fit", "jets", load_training(text), None, False).text == text


def test_defaults_do_not_stand_in_the_text(raw):
    fit = resolve_fits(load_config(raw))[0]["sophon"]
    assert '"epochs":' in fit.text.replace(" ", "")
    assert "buffer" not in fit.text


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"set": {"epohcs": 3}}, r"training\.sophon: .*epohcs"),
        ({"set": {"epochs": "many"}}, r"training\.sophon: .*epochs"),
        ({"set": {"optimizer.learning_rate": -1}}, r"training\.sophon: .*learning_rate"),
        ({"config": "delphes_cards/jetclass2_fatjet.tcl"}, r"training\.sophon: .*fatjet\.tcl"),
        ({"config": "config/jetclass2.yaml"}, r"training\.sophon: .*jetclass2\.yaml"),
    ],
)
def test_wrong_overrides_are_named_before_any_job(raw, change, expected):
    raw["training"]["sophon"] |= change
    with pytest.raises(UserError, match=expected):
        resolve_fits(load_config(raw))


def test_not_a_number_is_refused(raw):
    raw["training"]["sophon"]["set"] = {"optimizer.learning_rate": float("nan")}
    with pytest.raises(UserError, match=r"optimizer\.learning_rate"):
        resolve_fits(load_config(raw))
