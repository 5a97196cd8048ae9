"""Evaluation of corrections: quantiles, errors, definitions, controls, figures."""

import json

import numpy as np
import pytest
from matplotlib.figure import Figure
from threadpoolctl import threadpool_limits

from training.jec.controls import PRIOR_INPUTS, fit_prior_network, fit_trees, predict_trees
from training.jec.figures import response_figures
from training.jec.response import (
    FEWEST_JETS,
    PAIRS,
    PT_EDGES,
    SINGLE_FLAVOURS,
    EventBootstrap,
    ResponseJets,
    evaluate_response,
)


def test_quantiles_are_those_of_numpy_on_the_drawn_events():
    rng = np.random.default_rng(1)
    event, values = rng.integers(0, 40, 300), rng.normal(size=300)
    bootstrap = EventBootstrap.of(event, 5, seed=2)
    chosen = np.flatnonzero(rng.random(300) < 0.4)
    levels = (0.25, 0.5, 0.9)
    result = bootstrap.quantiles(values, chosen, levels)
    for replica, weights in enumerate(bootstrap.weights):
        drawn = np.repeat(values[chosen], weights[bootstrap.event[chosen]])
        np.testing.assert_allclose(result[replica], np.quantile(drawn, levels), rtol=1e-12)
    np.testing.assert_allclose(result[0], np.quantile(values[chosen], levels), rtol=1e-12)
    assert np.isnan(bootstrap.quantiles(values, chosen[:0], levels)).all()


def test_all_events_are_drawn_as_often_as_there_are_and_jets_of_one_event_together():
    event = np.repeat(np.arange(100, 200), 3)
    bootstrap = EventBootstrap.of(event, 30, seed=3)
    assert np.all(bootstrap.weights.sum(axis=1) == 100)
    assert np.all(bootstrap.weights[0] == 1)
    assert len(np.unique(bootstrap.weights, axis=0)) == 31
    assert bootstrap.event.tolist() == np.repeat(np.arange(100), 3).tolist()


def test_errors_are_those_of_repeated_experiments():
    """The spread of medians over independent samples, with correlated jets in an event."""
    rng = np.random.default_rng(4)

    def sample():
        values = rng.normal(size=(500, 1)) + 0.3 * rng.normal(size=(500, 4))
        return np.repeat(np.arange(500), 4), values.ravel()

    true = np.std([np.median(sample()[1]) for _ in range(300)])
    event, values = sample()
    bootstrap = EventBootstrap.of(event, 200, seed=5)
    medians = bootstrap.quantiles(values, np.arange(2000), (0.5,))[1:, 0]
    assert np.std(medians) == pytest.approx(true, rel=0.25)
    # Jets taken for independent would seem twice as precise.
    alone = EventBootstrap.of(np.arange(2000), 200, seed=5)
    too_small = np.std(alone.quantiles(values, np.arange(2000), (0.5,))[1:, 0])
    assert too_small < 0.7 * true


# By flavour: how far the response of the two corrections is shifted.
SHIFTS = {1: 0.02, 2: 0.02, 3: 0.02, 4: 0.0, 5: -0.03, 21: -0.03}
WIDTHS = {"standard": 0.20, "better": 0.15}


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(6)
    n = 60_000
    jets = ResponseJets(
        np.exp(rng.uniform(np.log(20), np.log(3000), n)),
        rng.uniform(-3, 3, n),
        rng.choice(list(SHIFTS), n),
        np.repeat(np.arange(n // 2), 2),
    )
    shift = np.array([SHIFTS[flavour] for flavour in jets.flavour])
    noise = rng.normal(size=n)
    corrected = {
        "standard": jets.pt_gen * (1 + shift + WIDTHS["standard"] * noise),
        "better": jets.pt_gen * (1 + 0.25 * shift + WIDTHS["better"] * noise),
    }
    return jets, corrected


@pytest.fixture(scope="module")
def result(sample):
    jets, corrected = sample
    return evaluate_response(jets, corrected, n_replicas=30, seed=7)


def test_numbers_are_those_that_were_put_in(result):
    region = result["regions"]["0-2.5"]
    resolution = region["resolution"]["uds"]
    for name, width in WIDTHS.items():
        shift = 1.02 if name == "standard" else 1.005
        expected = 1.349 * width / shift
        value, error = (np.array(resolution[name][key]) for key in ("value", "error"))
        assert np.abs((value - expected) / error).max() < 4.5
        assert np.mean(np.abs(value - expected) < error) > 0.4
    median = np.array(region["median"]["b"]["standard"]["value"])
    assert np.abs(median - 0.97).max() < 0.04
    assert np.mean(median) == pytest.approx(0.97, abs=0.005)
    gain = region["improvement"]["uds"]["better"]
    for wide in result["wide_bins"]:
        expected = 100 * (1 - 0.75 * 1.02 / 1.005)
        assert gain[wide]["value"] == pytest.approx(expected, abs=1.0)
        assert gain[wide]["mean"]["value"] == pytest.approx(expected, abs=1.0)
    assert region["improvement"]["all"]["standard"]["30-inf"] == {
        "value": 0.0, "error": 0.0, "mean": {"value": 0.0, "error": 0.0},
    }  # fmt: skip


def test_errors_of_a_gain_know_that_the_jets_are_the_same(result):
    gain = result["regions"]["0-2.5"]["improvement"]["uds"]["better"]["30-inf"]
    resolutions = result["regions"]["0-2.5"]["resolution"]["uds"]
    relative = np.mean(np.divide(*[resolutions["better"][k] for k in ("error", "value")]))
    # The noise is the same for both, so that the ratio is known far better than either.
    assert gain["error"] < 0.5 * 100 * relative


def test_flavour_dependence_and_residuals(result):
    region = result["regions"]["0-2.5"]
    dependence = region["flavour_dependence"]
    shifts = np.array([SHIFTS[codes[0]] for codes in SINGLE_FLAVOURS.values()])
    expected = np.abs(shifts - shifts.mean()).sum()
    standard, better = (dependence[name]["30-inf"] for name in ("standard", "better"))
    assert standard["value"] == pytest.approx(expected, abs=4 * standard["error"])
    assert better["reduction"]["value"] == pytest.approx(75, abs=5 * better["reduction"]["error"])
    assert standard["reduction"]["value"] == 0
    assert [f"{one}-{other}" for one, other in PAIRS] == list(region["residual"])
    residual = region["residual"]["uds-g"]["standard"]["value"]
    assert np.mean(residual) == pytest.approx(0.05, abs=0.01)


def test_closure_counts_bins_beyond_one_per_cent(sample, result):
    jets, corrected = sample
    shifted = {"standard": corrected["standard"], "high": corrected["standard"] * 1.05}
    closure = evaluate_response(jets, shifted, n_replicas=5)["regions"]["0-2.5"]["closure"]
    assert closure["high"]["filled_bins"] == len(PT_EDGES) - 1
    assert closure["high"]["bins_beyond"] == len(PT_EDGES) - 1
    assert closure["high"]["bins_surely_beyond"] > len(PT_EDGES) / 2
    assert closure["standard"]["bins_surely_beyond"] <= 1
    assert closure["high"]["worst"] > 0.03
    assert closure["standard"]["bins_beyond"] < len(PT_EDGES) - 1
    assert result["regions"]["0-2.5"]["closure"]["better"]["worst_error"] > 0


def test_bins_of_few_jets_are_empty_and_json_is_strict(sample):
    jets, corrected = sample
    few = jets.pt_gen < 25
    few &= np.cumsum(few) <= FEWEST_JETS + 5
    small = ResponseJets(*(getattr(jets, n)[few] for n in ("pt_gen", "eta", "flavour", "event")))
    result = evaluate_response(small, {k: v[few] for k, v in corrected.items()}, n_replicas=4)
    text = json.dumps(result, allow_nan=False)
    assert json.loads(text) == result
    region = result["regions"]["2.5-5"]
    assert set(region["median"]["all"]["better"]["value"]) == {None}
    assert region["closure"]["better"]["filled_bins"] == 0
    assert region["improvement"]["all"]["better"]["30-inf"]["value"] is None
    for _, _, canvas in list(response_figures(json.loads(text)))[::3]:
        canvas.draw_without_rendering()


def test_the_same_jets_in_another_order_give_the_same_bits(sample, result):
    jets, corrected = sample
    order = np.random.default_rng(8).permutation(len(jets.pt_gen))
    shuffled = ResponseJets(
        *(getattr(jets, name)[order] for name in ("pt_gen", "eta", "flavour", "event"))
    )
    again = evaluate_response(
        shuffled, {name: pt[order] for name, pt in corrected.items()}, n_replicas=30, seed=7
    )
    assert again == result


def test_figures_show_every_part(result):
    figures = list(response_figures(result))
    stems = [stem for stem, _, _ in figures]
    assert len(stems) == len(set(stems)) == 12
    assert all(isinstance(canvas, Figure) and caption for _, caption, canvas in figures)
    median = {stem: canvas for stem, _, canvas in figures}["median_response_0-2p5"]
    line = median.axes[0].containers[0].lines[0]
    stored = result["regions"]["0-2.5"]["median"]["all"]["standard"]["value"]
    np.testing.assert_allclose(line.get_ydata(), stored)
    median.draw_without_rendering()


@pytest.fixture
def one_thread():
    """Keep boosting to one thread: on a busy machine its threads wait for each other."""
    with threadpool_limits(1):
        yield


def controlled_jets(seed, n=2500):
    """Return inputs and targets: the response depends on a width that the prior is not told."""
    rng = np.random.default_rng(seed)
    inputs = {
        "log_pt": rng.uniform(3, 7, n), "eta": rng.uniform(-2.5, 2.5, n),
        "mass": rng.exponential(10, n), "rho": rng.gamma(10, 2, n), "width": rng.uniform(0, 1, n),
    }  # fmt: skip
    target = 0.2 * np.sin(inputs["log_pt"]) + 0.2 * (inputs["width"] - 0.5)
    target += rng.normal(0, 0.02, n)
    return inputs, target


@pytest.mark.usefixtures("one_thread")
def test_trees_learn_what_the_prior_cannot_know():
    train, target = controlled_jets(1)
    # Mismatches are left out of the fit.
    target[::50] = 3.0
    test, wanted = controlled_jets(2)
    trees = fit_trees(train, target, seed=1)
    prior = fit_prior_network(train, target, seed=1)
    of_trees = np.abs(predict_trees(trees, test) - wanted).mean()
    of_prior = np.abs(prior.predict(test) - wanted).mean()
    assert of_trees < 0.03
    # Without the width: its mean absolute deviation, 0.05.
    assert 0.04 < of_prior < 0.06
    assert np.abs(wanted - np.median(wanted)).mean() > 1.5 * of_prior


@pytest.mark.usefixtures("one_thread")
def test_controls_are_reproducible_and_the_prior_sees_four_inputs():
    train, target = controlled_jets(3, 700)
    one, other = (fit_prior_network(train, target, seed=4) for _ in range(2))
    np.testing.assert_array_equal(one.predict(train), other.predict(train))
    changed = train | {"width": np.zeros(700), "eta": train["eta"]}
    np.testing.assert_array_equal(one.predict(changed), one.predict(train))
    assert set(PRIOR_INPUTS) == {"log_pt", "eta", "mass", "rho"}
    first, second = (predict_trees(fit_trees(train, target, seed=5), train) for _ in range(2))
    np.testing.assert_array_equal(first, second)
