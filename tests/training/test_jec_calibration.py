"""Calibration of what a network says: medians and quantiles of jets that it has not seen."""

import json

import numpy as np
import pytest

from training.jec.calibration import QUANTILES, Calibration, QuantileShift, fit_quantiles

RNG_SEED = 3
WIDTH = 0.2


def drawn(n: int, seed: int = RNG_SEED):
    """Return jets, and what a network says that is 5 % low, shrunk, and too sure of itself."""
    rng = np.random.default_rng(seed)
    pt = np.exp(rng.uniform(np.log(20), np.log(1000), n))
    eta = rng.uniform(-2.4, 2.4, n)
    # Wider at low pT, so that one width for all would not do.
    width = WIDTH * (30 / pt) ** 0.3
    known = rng.normal(0, 0.1, n)
    target = known + rng.normal(0, width)
    mass = 0.1 * pt
    jets = {
        "pt": pt,
        "eta": eta,
        "mass": mass,
        "target": target,
        "target_mass": target + 0.1,
    }
    said_log = known - 0.05
    quantiles = said_log[:, None] + 0.5 * width[:, None] * np.array([-1, 0, 1])
    said = {
        "factor": np.exp(said_log).astype(np.float32),
        "mass_factor": np.exp(said_log).astype(np.float32),
        "quantiles": np.exp(quantiles).astype(np.float32),
    }
    return jets, said


@pytest.fixture(scope="module")
def calibration():
    fitted = Calibration.fit(*drawn(20_000))
    assert fitted is not None
    # What a checkpoint keeps is plain.
    return Calibration.from_dict(json.loads(json.dumps(fitted.as_dict())))


def test_medians_of_other_jets_are_one(calibration):
    jets, said = drawn(20_000, seed=RNG_SEED + 1)
    adjusted = calibration.apply(jets, said)
    before = said["factor"] * np.exp(-jets["target"])
    after = adjusted["factor"] * np.exp(-jets["target"])
    gen = jets["pt"] * np.exp(jets["target"])
    for low, high in ((40, 80), (80, 200), (200, 700)):
        own = (gen > low) & (gen < high)
        assert abs(np.median(before[own]) - 1) > 0.03
        assert np.median(after[own]) == pytest.approx(1, abs=0.012)
    mass = jets["mass"] * np.exp(jets["target_mass"])
    heavy = (mass > 25) & (mass < 80)
    response = adjusted["mass_factor"] * np.exp(-jets["target_mass"])
    assert np.median(response[heavy]) == pytest.approx(1, abs=0.015)


def test_intervals_of_other_jets_cover_what_they_say(calibration):
    jets, said = drawn(20_000, seed=RNG_SEED + 2)
    wanted = np.exp(jets["target"])
    moved = calibration.apply(jets, said)["quantiles"]
    assert np.all(np.diff(moved, axis=1) >= 0)
    for pt_min, pt_max in ((20, 60), (60, 200), (200, 1000)):
        own = (jets["pt"] > pt_min) & (jets["pt"] < pt_max)
        for place, level in enumerate(QUANTILES):
            below = wanted[own] < moved[own, place]
            assert below.mean() == pytest.approx(level, abs=0.02)
        raw = said["quantiles"][own]
        covered = (wanted[own] > raw[:, 0]) & (wanted[own] < raw[:, 2])
        assert covered.mean() < 0.45


def test_quantiles_that_are_right_stay():
    rng = np.random.default_rng(RNG_SEED)
    target = rng.normal(0, WIDTH, 50_000)
    level = WIDTH * 0.99446  # of 16 and 84 %
    quantiles = np.exp(np.tile([-level, 0.0, level], (len(target), 1)))
    shift = fit_quantiles(quantiles, np.full(len(target), 50.0), target)
    np.testing.assert_allclose(shift.shift, 0, atol=0.1)


def test_intervals_of_no_width_can_be_widened():
    moved = QuantileShift(np.zeros(0), np.array([[-1.0, 0.0, 1.0]])).apply(
        np.ones((2, 3)), np.array([20.0, 30.0])
    )
    assert np.all(np.diff(moved, axis=1) > 0)


def test_too_few_jets_calibrate_nothing():
    assert Calibration.fit(*drawn(10)) is None
