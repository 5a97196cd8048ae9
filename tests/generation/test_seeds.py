"""No two batches of a dataset share random numbers, whatever its seed and its processes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation.ranmar import state
from generation.seeds import (
    BATCHES,
    EXTERNAL_SEEDS,
    LARGEST_SEED,
    PLACES,
    Stage,
    batch_key,
    external_seed,
    permuted,
    resimulation_key,
    stream,
)
from provenance.errors import UserError

# Of the published size: shards with each process, and batch numbers of each shard.
SHARDS = {"res2p": 300, "res2p_charged": 300, "res34p": 1_290, "qcd": 420}
BATCHES_PER_SHARD = 1_500
SEEDS = st.integers(0, LARGEST_SEED)


def keys_of(seed, process, batches):
    """Return the keys as two columns of 64 bits."""
    keys = b"".join(batch_key(seed, process, batch).to_bytes(16, "big") for batch in batches)
    return np.frombuffer(keys, np.uint64).reshape(-1, 2)


@pytest.mark.slow
def test_all_keys_of_the_published_campaign_are_distinct():
    # Two processes share the numbers of 300 shards: here each of them has all.
    halves = [
        keys_of(2, process, range(shards * BATCHES_PER_SHARD))[:, 0].copy()
        for process, shards in SHARDS.items()
    ]
    # Even one half of each key is, so that the keys are.
    assert len(np.unique(np.concatenate(halves))) == sum(SHARDS.values()) * BATCHES_PER_SHARD


def test_keys_of_several_datasets_are_distinct():
    keys = [
        keys_of(seed, process, range(10_000))
        for seed in (0, 1, 2**32, LARGEST_SEED)
        for process in ("qcd", "res2p", "")
    ]
    assert len(np.unique(np.concatenate(keys), axis=0)) == 12 * 10_000


def test_the_bits_of_keys_are_as_if_drawn():
    bits = np.unpackbits(keys_of(1, "qcd", range(20_000)).view(np.uint8), axis=1)
    assert bits.shape == (20_000, 128)
    # Five standard deviations, for each bit and for each pair of neighbours.
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 5 * 0.5 / np.sqrt(20_000)
    assert np.abs((bits[1:] == bits[:-1]).mean(axis=0) - 0.5).max() < 5 * 0.5 / np.sqrt(20_000)


def test_no_encoding_of_one_batch_is_that_of_another():
    # A process whose name begins like a number, and numbers that begin like each other.
    names = ("", "a", "ab", "\0", "\0a", "1", "11")
    keys = {
        batch_key(seed, name, batch)
        for seed in (0, 1, 256, 2**56)
        for batch in (0, 1, 256, 2**56)
        for name in names
    }
    assert len(keys) == 4 * 4 * len(names)
    assert resimulation_key(1, 2) != batch_key(1, "", 2)


@given(SEEDS, st.text(max_size=20), st.integers(0, 2**64 - 1))
def test_every_seed_process_and_batch_has_a_key(seed, process, batch):
    assert 0 <= batch_key(seed, process, batch) < 2**128


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((-1, "qcd", 0), "^seed -1 is out of range: 0 to 18446744073709551615 are possible$"),
        ((2**64, "qcd", 0), "^seed 18446744073709551616 is out of range"),
        ((0, "qcd", -1), "^batch -1 is out of range"),
        ((0, "qcd", 2**64), "^batch 18446744073709551616 is out of range"),
    ],
)
def test_out_of_range_is_named(arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        batch_key(*arguments)


def test_streams_repeat_and_differ_by_stage_key_and_part():
    def draws(*of):
        return tuple(stream(*of).random(4).tolist())

    key = batch_key(1, "qcd", 7)
    assert draws(Stage.DETECTOR, key) == draws(Stage.DETECTOR, key)
    others = {draws(stage, key) for stage in Stage}
    others |= {draws(Stage.DETECTOR, key, part) for part in ("ECal", "HCal", "HCal2")}
    others |= {draws(Stage.DETECTOR, other) for other in (key + 1, key + 2**64, 0)}
    assert len(others) == len(Stage) + 6


def test_streams_of_a_key_are_far_apart_on_the_same_counter():
    starts = sorted(
        sum(int(word) << (64 * place) for place, word in enumerate(counter))
        for counter in (
            stream(*of).bit_generator.state["state"]["counter"]
            for of in (
                *((stage, 5) for stage in Stage),
                (Stage.DETECTOR, 5, "ECal"),
                (Stage.DETECTOR, 5, "HCal"),
            )
        )
    )
    assert min(np.diff(np.array(starts, dtype=object))) >= 2**128


def test_states_of_pythia_differ_in_their_numbers_alone():
    first, second = (state(stream(Stage.PYTHIA, key)) for key in (1, 2))
    assert len(first) == len(second) == 820
    assert first[:44] == second[:44]
    numbers = np.frombuffer(first[44:])
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert np.all(numbers * 2**24 == np.round(numbers * 2**24))
    assert not np.any(numbers == np.frombuffer(second[44:]))


@pytest.mark.parametrize("size", [1, 2, 3, 1000, 4096, 5000])
@pytest.mark.parametrize("seed", [0, 1, LARGEST_SEED])
def test_a_permutation_takes_every_number_to_another(size, seed):
    assert sorted(permuted(number, size, seed) for number in range(size)) == list(range(size))


def test_permutations_of_different_seeds_are_unrelated():
    first, second = ([permuted(n, 5000, seed) for n in range(5000)] for seed in (1, 2))
    # Two random permutations have one number in the same place on average.
    assert sum(a == b for a, b in zip(first, second, strict=True)) < 8
    assert abs(np.corrcoef(first, range(5000))[0, 1]) < 5 / np.sqrt(5000)


def test_external_seeds_are_distinct_and_in_range():
    rng = np.random.default_rng(0)
    asked = {(0, 0), (0, BATCHES - 1), (PLACES - 1, 0), (PLACES - 1, BATCHES - 1)}
    asked |= set(zip(*rng.integers(0, [[PLACES], [BATCHES]], (2, 20_000)).tolist(), strict=True))
    seeds = {external_seed(3, place, batch) for place, batch in asked}
    assert len(seeds) == len(asked)
    assert min(seeds) >= 1
    assert max(seeds) <= EXTERNAL_SEEDS == PLACES * BATCHES == 900_000_000


@given(SEEDS, st.integers(0, PLACES - 1), st.integers(0, BATCHES - 1))
def test_external_seeds_are_what_programs_take(seed, place, batch):
    assert 1 <= external_seed(seed, place, batch) <= 900_000_000


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((2**64, 0, 0), "^seed 18446744073709551616 is out of range"),
        ((0, 400, 0), "^place 400 is out of range: 0 to 399"),
        ((0, 0, BATCHES), "^batch 2250000 is out of range: 0 to 2249999"),
        ((0, 0, -1), "^batch -1 is out of range"),
    ],
)
def test_what_has_no_external_seed_is_named(arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        external_seed(*arguments)
