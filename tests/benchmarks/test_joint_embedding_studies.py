"""The studies of joint embedding: what is drawn, what is held out, how gains are resampled."""

import numpy as np
import pytest
from jet_dataset import write_jet_dataset
from sklearn.metrics import roc_auc_score

from benchmarks.joint_embedding import points, recipes, scoring
from benchmarks.joint_embedding import study as studies
from benchmarks.joint_embedding_page import interval, weighted_areas
from training.config import load_config
from training.data.shards import training_rows

RNG = np.random.default_rng(3)


def test_every_pass_has_each_jet_once():
    rows, batch = 37, 64
    drawn = np.concatenate(list(studies.draws(rows, batch, 7, np.random.default_rng(1))))
    assert len(drawn) == 7 * batch
    for begin in range(0, len(drawn) - rows, rows):
        assert np.array_equal(np.sort(drawn[begin : begin + rows]), np.arange(rows))


def test_tuning_never_learns_from_what_it_is_judged_by():
    for fold in range(5):
        learn, held = scoring.halves(500, fold)
        assert len(held) == 100
        assert np.array_equal(np.sort(np.concatenate((learn, held))), np.arange(500))


def test_a_prior_is_as_strong_as_the_labels_ask():
    x, noise = RNG.normal(size=(300, 8)), RNG.normal(size=300)
    told, untold = (x[:, 0] + 0.1 * noise > 0).astype(int), (noise > 0).astype(int)
    assert scoring.tuned_strength(x, told) > 0.1 > scoring.tuned_strength(x, untold)


def test_areas_of_resampled_jets():
    truth = RNG.integers(3, size=200)
    found = RNG.dirichlet(np.ones(3), 200) + np.eye(3)[truth]
    counts = np.vstack((np.ones(200, np.int64), RNG.multinomial(200, np.full(200, 1 / 200))))
    for area, weight in zip(weighted_areas(found, truth, counts), counts, strict=True):
        expected = [roc_auc_score(truth == i, found[:, i], sample_weight=weight) for i in range(3)]
        assert area == pytest.approx(np.mean(expected), abs=1e-9)


def test_an_interval_of_five_seeds():
    mean, low, high = interval(np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    # Student's 97.5 % quantile with four degrees of freedom, times the error of the mean.
    assert (mean, high - mean) == pytest.approx((3.0, 2.776 * np.sqrt(2.5 / 5)), rel=1e-3)
    assert mean - low == pytest.approx(high - mean)
    wide = interval(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), spread=2.0)
    assert wide[2] - 3.0 == pytest.approx(np.hypot(high - mean, 1.96 * 2.0))


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("recipe", [*recipes.RECIPES, recipes.SUPERVISED])
def test_a_recipe_has_the_encoder_that_studies_use(recipe, small):
    encoder = recipes.pretraining(recipe, small).model.encoder
    networks = recipes.SMALL if small else recipes.LARGE
    changes = recipes.encoder_settings(recipe, small)
    probe = load_config(recipes.CONFIGS / networks.probe, changes)
    assert encoder == probe.model.encoder


def test_every_way_is_measured_at_every_size():
    items = list(points.items())
    assert len(set(items)) == len(items)
    for way in (*points.CHEAP, *points.NETWORKS):
        sizes = {item.size for item in items if item.way == way}
        assert sizes >= ({points.ALL} if way == "shuffled labels" else {500, 2000, 5000, 20_000})


def test_ways_learn_from_the_jets_of_a_probe_of_this_size_and_seed(tmp_path):
    write_jet_dataset(tmp_path / "labelled", ("train", "train", "val", "test"), 60)
    study = studies.Study("groups", tmp_path, tmp_path, "whole", small=True)
    for size, seed in ((20, 1), (20, 2), (points.ALL, 1)):
        config = study.config(f"data.train_rows={size}", f"seed={seed}")
        rows = study.reader.read(training_rows(study.dataset, study.reader, config))
        chosen = study.reader.chosen(rows.scalars, len(rows))
        places = study.drawn(size, seed)
        expected = study.reader.collate(rows, chosen)
        for name, found in study.some(places).items():
            if name in ("jet_pt", "label"):
                assert np.array_equal(found, expected[name])
        pt = study.split("train")[1][places, 0]
        assert np.allclose(pt, expected["jet_pt"])
    assert len(study.drawn(20, 1)) == 20
    assert not np.array_equal(study.drawn(20, 1), study.drawn(20, 2))
    found, tuned = study.measure(points.Item("groups", 60, 2, "linear, shape of the jet"))
    assert found.shape == (len(study.truth("test")), 3)
    assert tuned in scoring.STRENGTHS
