"""The studies of joint embedding: what is drawn, what is held out, how gains are resampled."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks import joint_embedding as studies
from benchmarks.joint_embedding_page import interval, weighted_areas

RNG = np.random.default_rng(3)


def test_every_pass_has_each_jet_once():
    rows = studies.BATCH // 2 + 5
    drawn = np.concatenate(list(studies.draws(rows, 7, np.random.default_rng(1))))
    assert len(drawn) == 7 * studies.BATCH
    for begin in range(0, len(drawn) - rows, rows):
        assert np.array_equal(np.sort(drawn[begin : begin + rows]), np.arange(rows))


def test_tuning_never_learns_from_what_it_is_judged_by():
    learn, held = studies.halves(500)
    assert len(held) == 100
    assert np.array_equal(np.sort(np.concatenate((learn, held))), np.arange(500))


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


@pytest.mark.parametrize("recipe", [*studies.RECIPES, studies.SUPERVISED])
def test_a_recipe_has_the_encoder_that_studies_use(recipe):
    encoder = studies.pretraining(recipe, toy=False).model.encoder.model_dump(mode="json")
    assert encoder.items() >= studies.encoder_settings(recipe, toy=False).items()
