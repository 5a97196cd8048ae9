"""The seed map is injective over everything that may be asked of it."""

from itertools import pairwise

import numpy as np
import pytest

from generation.process import load_process, process_names
from generation.seeds import (
    BATCHES,
    DATASET_SEEDS,
    PROCESS_CODES,
    PYTHIA_LARGEST_SEED,
    Stage,
    batch_seed,
    stream,
)
from provenance.errors import UserError


def test_all_seeds_of_all_campaigns_are_distinct():
    # The seeds of a process are consecutive: blocks that tile the range leave no two equal.
    blocks = [
        (batch_seed(dataset, code, 0), batch_seed(dataset, code, BATCHES - 1))
        for dataset in range(DATASET_SEEDS)
        for code in range(PROCESS_CODES)
    ]
    assert all(last - first == BATCHES - 1 for first, last in blocks)
    assert all(previous[1] < following[0] for previous, following in pairwise(blocks))
    assert blocks[0][0] == 1
    assert blocks[-1][1] == PYTHIA_LARGEST_SEED


def test_consecutive_batches_have_consecutive_seeds():
    batches = np.random.default_rng(0).integers(0, BATCHES - 1, 1000)
    seeds = [batch_seed(3, 2, int(batch)) for batch in batches]
    following = [batch_seed(3, 2, int(batch) + 1) for batch in batches]
    assert np.all(np.subtract(following, seeds) == 1)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((-1, 0, 0), "seed -1"),
        ((50, 0, 0), "seed 50"),
        ((0, 8, 0), "seed_code 8"),
        ((0, 0, -1), "batch -1"),
        ((0, 0, BATCHES), f"batch {BATCHES}"),
    ],
)
def test_out_of_range_is_named(arguments, name):
    with pytest.raises(UserError, match=f"^{name} is out of range"):
        batch_seed(*arguments)


def test_streams_repeat_and_differ_by_stage_and_seed():
    def draws(stage, seed):
        return stream(stage, seed).random(4).tolist()

    assert draws(Stage.DETECTOR, 7) == draws(Stage.DETECTOR, 7)
    assert draws(Stage.DETECTOR, 7) != draws(Stage.DETECTOR, 8)
    assert len({tuple(draws(stage, 7)) for stage in Stage}) == len(Stage)


def test_processes_have_seed_codes_of_their_own():
    codes = [load_process(name).seed_code for name in process_names()]
    assert len(set(codes)) == len(codes)
