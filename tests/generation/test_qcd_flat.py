"""QCD of flat p̂T: adjacent windows, and events inside of them."""

import numpy as np
import pytest

from generation.process import Geometric, load_process
from generation.pythia import EventGenerator

# Pythia's code for the products of hard collisions.
HARD_PRODUCT = 23


@pytest.fixture(scope="module")
def process():
    return load_process("qcd_flat")


def test_windows_of_pt_hat_are_adjacent(process):
    grid = process.point["pt_hat_min"]
    assert isinstance(grid, Geometric)
    lower = np.array(grid.values())
    upper = lower * process.point["pt_hat_max"].low
    np.testing.assert_allclose(upper[:-1], lower[1:], rtol=1e-4)
    assert lower[0] == 15
    assert upper[-1] > 3500


def test_points_are_flat_in_the_logarithm(process):
    rng = np.random.default_rng(1)
    points = [process.draw_point(rng) for _ in range(4000)]
    lower = np.array([point["pt_hat_min"] for point in points])
    upper = np.array([point["pt_hat_max"] for point in points])
    np.testing.assert_allclose(upper / lower, 1.025)
    counts, _ = np.histogram(np.log(lower), 10, range=(np.log(15), np.log(15 * 230) + 1e-9))
    assert np.abs(counts - 400).max() < 5 * np.sqrt(400)


@pytest.mark.parametrize("lowest", [15.0, 230.0, 3450.0])
def test_events_lie_in_their_window(process, lowest):
    point = {"pt_hat_min": lowest, "pt_hat_max": 1.025 * lowest}
    generated = EventGenerator(process).batch(point, 5, 15)
    record = generated.record
    pt = np.hypot(record.px, record.py)[record.status == HARD_PRODUCT]
    assert generated.failed == 0
    assert len(pt) == 30
    # Massive quarks are put on their mass shells afterwards.
    assert pt.min() > 0.98 * lowest
    assert pt.max() < 1.02 * 1.025 * lowest
