"""Like detectors are told apart as often as chance has it, unlike ones are found, leaf by leaf."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from generation.delphes_file import write_delphes_file
from generation.fastsim.branches import Branch
from validation.leaves import LeafScan, hotelling, read_leaves, simulated_leaves
from validation.page import leaf_page, leaf_section

EVENTS = 200


def write_events(path: Path, truth, rng, shift=0.0, width=1.0, efficiency=0.8, one=0.0):
    """Write a file of what a detector makes of `truth`: (EVENTS, n) values common to all passes."""
    seen = rng.random(truth.shape) < efficiency
    smeared = (truth + shift + width * 0.3 * rng.normal(size=truth.shape))[seen]
    towers = {
        "E": smeared,
        "One": 1.0 + one * rng.choice([-1, 1], len(smeared)),
        "Rounded": 0.13957 + 1e-7 * rng.normal(size=len(smeared)),
    }
    offsets = np.concatenate(([0], seen.sum(axis=1).cumsum()))
    every = np.arange(EVENTS + 1) * truth.shape[1]
    branches = {
        "Truth": Branch("GenParticle", every, {"X": truth.ravel()}),
        "Tower": Branch("Tower", offsets, towers),
    }
    write_delphes_file(path, [branches])


def scan(folder, rng, passes=3, **second):
    truth = rng.normal(size=(EVENTS, 1)) + 0.2 * rng.normal(size=(EVENTS, 30))
    write_events(folder / "first.root", truth, rng)
    first = read_leaves(folder / "first.root")
    found = LeafScan(first)
    others = []
    for _ in range(passes):
        write_events(folder / "second.root", truth, rng, **second)
        others.append(read_leaves(folder / "second.root"))
    found.add(first, others)
    return {leaf.name: leaf for leaf in found.compare()}


def test_what_is_the_same_is_not_tested(tmp_path):
    leaves = scan(tmp_path, np.random.default_rng(1))
    assert leaves["Truth.X"].p_value is None
    assert leaves["Tower.One"].p_value is None
    # The last digits of single precision are no property of a detector.
    assert leaves["Tower.Rounded"].p_value is None
    assert leaves["Tower.E"].p_value is not None


def test_events_may_come_in_parts(tmp_path):
    rng = np.random.default_rng(8)
    truth = rng.normal(size=(EVENTS, 30))
    write_events(tmp_path / "first.root", truth, rng)
    write_events(tmp_path / "second.root", truth, rng, shift=0.02)
    whole, parts = (LeafScan(read_leaves(tmp_path / "first.root", 0, 50)) for _ in range(2))
    whole.add(read_leaves(tmp_path / "first.root"), [read_leaves(tmp_path / "second.root")])
    for start in range(0, EVENTS, 70):
        first, second = (
            read_leaves(tmp_path / f"{name}.root", start, start + 70)
            for name in ("first", "second")
        )
        parts.add(first, [second])
    for one, other in zip(whole.compare(), parts.compare(), strict=True):
        assert one.means == pytest.approx(other.means)
        assert one.p_value == pytest.approx(other.p_value)
        assert one.values == other.values


def test_leaves_in_memory_are_those_of_the_file(tmp_path):
    offsets = np.array([0, 2, 2, 5])
    columns = {"E": np.arange(5.0), "fBits": np.zeros(5), "Tau[3]": np.arange(15.0).reshape(5, 3)}
    branches = {
        "Tower": Branch("Tower", offsets, columns),
        "Weight": Branch("Weight", np.arange(4), {"Weight": np.ones(3)}),
    }
    write_delphes_file(tmp_path / "events.root", [branches])
    read, simulated = read_leaves(tmp_path / "events.root"), simulated_leaves(branches)
    assert set(read) == {"Tower_size", "Tower.E", "Tower.Tau[0]", "Tower.Tau[1]", "Tower.Tau[2]"}
    assert set(simulated) == set(read)
    for name, leaf in read.items():
        assert np.array_equal(simulated[name].counts, leaf.counts), name
        assert np.array_equal(simulated[name].values, leaf.values), name


def test_like_detectors_have_uniform_p_values(tmp_path):
    rng = np.random.default_rng(2)
    p_values = np.array([scan(tmp_path, rng)["Tower.E"].p_value for _ in range(40)])
    assert p_values.min() > 1e-4
    assert 0.3 < p_values.mean() < 0.7
    assert (p_values < 0.1).sum() < 12


@pytest.mark.parametrize("second", [{"shift": 0.1}, {"width": 1.8}, {"efficiency": 0.75}])
def test_unlike_detectors_are_found(tmp_path, second):
    leaves = scan(tmp_path, np.random.default_rng(3), **second)
    assert leaves["Tower.E"].adjusted < 1e-3


def test_a_leaf_that_varies_in_one_detector_only_is_found(tmp_path):
    leaf = scan(tmp_path, np.random.default_rng(7), one=0.5)["Tower.One"]
    assert leaf.means == pytest.approx((1.0, 1.0), abs=0.02)
    assert leaf.adjusted < 1e-3


def test_holms_correction_is_at_least_the_p_value_and_at_most_bonferronis(tmp_path):
    leaves = [leaf for leaf in scan(tmp_path, np.random.default_rng(4)).values() if leaf.p_value]
    for leaf in leaves:
        assert leaf.p_value <= leaf.adjusted <= min(1.0, len(leaves) * leaf.p_value)


def test_hotelling_is_students_test_in_one_dimension():
    x = np.random.default_rng(5).normal(0.2, 1.0, 50)
    assert hotelling(x[:, np.newaxis]) == pytest.approx(stats.ttest_1samp(x, 0.0).pvalue)
    # A component that follows from another adds nothing.
    assert hotelling(np.stack([x, -2 * x], axis=1)) == pytest.approx(
        stats.ttest_1samp(x, 0.0).pvalue
    )


def test_the_page_has_a_row_for_every_leaf(tmp_path):
    leaves = list(scan(tmp_path, np.random.default_rng(6)).values())
    page = leaf_page(leaves)
    assert all(f"| `{leaf.name}` |" in page for leaf in leaves)
    assert f"share {len(leaves)} leaves" in leaf_section(leaves)
