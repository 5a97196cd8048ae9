"""Which events of the hard process a batch takes."""

import numpy as np
import pytest

from generation.external.points import PointPlan, has_hard_process, point_grid, run_card, run_seed
from generation.external.seeds import MINIMUM_BIAS_PLACE, Use, point_stream, program_seed
from generation.process import load_process
from provenance.errors import UserError

HARD = ("res2p", "res2p_charged", "res34p")


@pytest.mark.parametrize("name", HARD)
def test_the_grid_is_the_published_one(name):
    grid = point_grid(name)
    assert len(grid) == 98 * 50
    assert grid[0] == {"m_X": 15, "pt_min_X": 100}
    assert grid[-1] == {"m_X": 500, "pt_min_X": 2499}


def test_seeds_of_all_runs_are_distinct():
    seeds = np.array(
        [
            run_seed(process, 1, place, point, run)
            for place, process in enumerate(map(load_process, HARD))
            for point in range(0, 4900, 7)
            for run in (0, 1, 458)
        ]
    )
    assert len(np.unique(seeds)) == len(seeds)
    assert seeds.min() >= 1
    assert seeds.max() <= 900_000_000
    with pytest.raises(UserError, match="run 459"):
        run_seed(load_process("res2p"), 0, 0, 0, 459)


def test_each_use_of_a_number_has_a_seed_of_its_own():
    places = (0, 1, 2, MINIMUM_BIAS_PLACE)
    seeds = [
        program_seed(7, place, number, use)
        for place in places
        for number in (0, 1, 99, 2_249_999)
        for use in Use
    ]
    assert len(set(seeds)) == len(seeds) == len(places) * 4 * len(Use)
    assert 1 <= min(seeds) <= max(seeds) <= 900_000_000


def test_no_two_batches_share_events():
    plan = PointPlan.of_batches("res2p", 0, 1, 100, range(3000))
    assert len({*zip(plan.point.tolist(), plan.rank.tolist(), strict=True)}) == 3000
    assert plan.demand.sum() == 3000
    assert all(
        sorted(plan.rank[plan.point == point]) == list(range(plan.demand[point]))
        for point in np.unique(plan.point)
    )


def test_batches_have_the_point_that_either_backend_draws(plan):
    process = load_process("res34p")
    for batch in (0, 7, 29):
        drawn = process.draw_point(point_stream(3, process, batch))
        point, _ = plan.slice_of(batch)
        assert point_grid("res34p")[point].items() <= drawn.items()


def test_more_shards_leave_the_slices_of_others_alone(plan):
    larger = PointPlan.of_batches("res34p", 0, 3, 5, range(60))
    assert [larger.slice_of(b) for b in range(30)] == [plan.slice_of(b) for b in range(30)]


def test_a_plan_survives_its_file(plan, tmp_path):
    for name in ("a.npz", "b.npz"):
        plan.write(tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert PointPlan.open(tmp_path / "a.npz").slice_of(11) == plan.slice_of(11)
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(UserError, match="not a plan"):
        PointPlan.open(tmp_path / "a.npz")
    assert plan.slice_of(99) is None


def test_run_cards_set_what_the_published_ones_set():
    card = run_card(load_process("res2p_charged"), {"m_X": 80.0, "pt_min_X": 106.0}, 500, 7)
    for line in ("nevents 500", "iseed 7", "lhaid 315000", "pt_min_pdg 37:106", "mass 37 80"):
        assert line in card
    assert "$" not in card
    assert not has_hard_process("qcd")
