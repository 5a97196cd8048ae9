"""The standard correction: it finds what was put in, and closes on jets that it has not seen."""

import json
from itertools import pairwise

import numpy as np
import pytest

from provenance.errors import UserError
from training.jec.standard import ETA_EDGES, StandardCorrection, fit_standard

N_JETS = 60_000
OFFSET = 0.8


def jets(seed: int, offset: float, n: int = N_JETS) -> dict[str, np.ndarray]:
    """Return jets with a response that falls with |η| and grows with pT, and pile-up."""
    rng = np.random.default_rng(seed)
    pt_gen = np.exp(rng.uniform(np.log(10), np.log(3500), n))
    eta = rng.uniform(-5, 5, n)
    rho, area = rng.gamma(10, 2.5, n), rng.normal(0.5, 0.05, n)
    response = (1 - 0.4 / np.log(pt_gen)) * (1.05 - 0.04 * np.abs(eta))
    width = np.sqrt(0.05**2 + 0.8**2 / pt_gen)
    noise = rng.standard_normal(n) * width
    # A tail to low values, as of neutrinos: mean and median differ.
    noise -= (rng.random(n) < 0.15) * rng.exponential(0.2, n)
    pt = np.maximum(pt_gen * response * np.exp(noise) + offset * rho * area, 3.0)
    return {"pt": pt, "eta": eta, "gen": pt_gen, "rho": rho, "area": area}


def medians(corrected, sample, low_eta, high_eta):
    """Return medians of the response and their errors in bins of pT from 20 GeV on."""
    edges = np.geomspace(20, 3000, 11)
    response = corrected / sample["gen"]
    eta = np.abs(sample["eta"])
    values = []
    for low, high in pairwise(edges):
        own = (sample["gen"] >= low) & (sample["gen"] < high) & (eta >= low_eta) & (eta < high_eta)
        spread = np.subtract(*np.percentile(response[own], [84, 16])) / 2
        values.append((np.median(response[own]), 1.25 * spread / np.sqrt(own.sum())))
    return np.array(values).T


@pytest.fixture(scope="module")
def without_offset():
    train = jets(1, 0.0)
    return fit_standard(train["pt"], train["eta"], train["gen"])


@pytest.fixture(scope="module")
def with_offset():
    train = jets(2, OFFSET)
    return fit_standard(train["pt"], train["eta"], train["gen"], train["rho"], train["area"])


@pytest.mark.parametrize("region", [(0, 2.5), (2.5, 5)])
def test_medians_close_on_other_jets(without_offset, region):
    test = jets(3, 0.0)
    factor = without_offset.factor(test["pt"], test["eta"])
    median, error = medians(test["pt"] * factor, test, *region)
    assert np.abs(median - 1).max() < 0.01 + 2 * error.max()
    assert np.abs(median - 1).mean() < 0.01
    raw, _ = medians(test["pt"], test, *region)
    assert np.abs(raw - 1).min() > 0.05


def test_offset_is_what_was_added(with_offset):
    assert with_offset.offset == pytest.approx(OFFSET, rel=0.1)
    test = jets(4, OFFSET)
    factor = with_offset.factor(test["pt"], test["eta"], test["rho"], test["area"])
    corrected = test["pt"] * factor
    median, error = medians(corrected, test, 0, 5)
    assert np.abs(median - 1).max() < 0.01 + 2 * error.max()
    # And no dependence on pile-up is left at low pT.
    soft = (test["gen"] > 20) & (test["gen"] < 50)
    density = test["rho"] * test["area"]
    halves = [soft & (density < np.median(density)), soft & (density >= np.median(density))]
    low, high = (np.median(corrected[half] / test["gen"][half]) for half in halves)
    assert abs(low - high) < 0.03


def test_without_l1_soft_jets_depend_on_pile_up():
    """The control of the test above."""
    train, test = jets(2, OFFSET), jets(4, OFFSET)
    correction = fit_standard(train["pt"], train["eta"], train["gen"])
    assert correction.offset is None
    response = test["pt"] * correction.factor(test["pt"], test["eta"]) / test["gen"]
    soft = (test["gen"] > 20) & (test["gen"] < 50)
    density = test["rho"] * test["area"]
    halves = [soft & (density < np.median(density)), soft & (density >= np.median(density))]
    low, high = (np.median(response[half]) for half in halves)
    assert high - low > 0.1


def test_corrected_pt_rises_smoothly_and_stays_finite(without_offset):
    pt = np.geomspace(0.01, 1e5, 5000)
    for eta in (-4.9, 0.0, 1.31, 2.5, 7.0):
        corrected = pt * without_offset.factor(pt, np.full(5000, eta))
        assert np.isfinite(corrected).all()
        assert np.all(np.diff(corrected) > 0)
        assert np.abs(np.diff(np.log(corrected))).max() < 0.05
        mirrored = without_offset.factor(pt, np.full(5000, -eta))
        np.testing.assert_array_equal(corrected, pt * mirrored)


def test_a_threshold_far_above_the_lowest_jets_is_corrected_at_its_edge():
    rng = np.random.default_rng(9)
    samples = []
    for _ in range(2):
        gen = np.exp(rng.uniform(np.log(60), np.log(2000), 60_000))
        # Some jets have a second one in them: far below the threshold only these are left, and
        # their median is higher than that of jets just above it.
        more = (rng.random(len(gen)) < 0.05) * rng.uniform(0, 1.2, len(gen))
        pt = 0.9 * gen * np.exp(rng.normal(0, 0.05, len(gen)) + more)
        samples.append((pt[pt > 200], gen[pt > 200]))
    (pt, gen), (tested, true) = samples
    correction = fit_standard(pt, np.zeros(len(pt)), gen)
    response = tested * correction.factor(tested, np.zeros(len(tested))) / true
    for low, high in ((225, 250), (250, 300), (300, 500)):
        own = response[(true > low) & (true < high)]
        assert np.median(own) == pytest.approx(1, abs=0.01)


def test_json_gives_the_same_correction(with_offset):
    test = jets(5, OFFSET, 1000)
    again = StandardCorrection.from_dict(json.loads(json.dumps(with_offset.as_dict())))
    arguments = test["pt"], test["eta"], test["rho"], test["area"]
    np.testing.assert_array_equal(again.factor(*arguments), with_offset.factor(*arguments))


def test_regions_without_jets_are_joined():
    central = jets(6, 0.0, 3000)
    inside = np.abs(central["eta"]) < 1.2
    train = {name: values[inside] for name, values in central.items()}
    correction = fit_standard(train["pt"], train["eta"], train["gen"])
    assert correction.eta_edges[0] == 0
    assert correction.eta_edges[-1] == ETA_EDGES[-1]
    assert len(correction.eta_edges) == 4
    assert np.isfinite(correction.factor(np.array([50.0]), np.array([4.0]))).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, -5.0])
def test_targets_that_are_no_momenta_are_refused(bad):
    train = jets(7, 0.0, 500)
    train["gen"][3] = bad
    with pytest.raises(UserError, match="pT of the GEN-jet is not finite or not positive for 1 of"):
        fit_standard(train["pt"], train["eta"], train["gen"])


def test_too_few_jets_and_missing_density_are_refused(with_offset):
    few = jets(8, 0.0, 20)
    with pytest.raises(UserError, match="jets to fit a correction to"):
        fit_standard(few["pt"], few["eta"], few["gen"])
    with pytest.raises(UserError, match="needs rho and the jet area"):
        with_offset.factor(few["pt"], few["eta"])
