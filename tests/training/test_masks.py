import numpy as np
import pytest

from training.models.masks import token_masks
from training.models.sizes import TokenMasksConfig

RANDOM = TokenMasksConfig(kind="random")


def jets(count=300, slots=40, seed=1):
    rng = np.random.default_rng(seed)
    tokens = np.arange(slots) < rng.integers(0, slots + 1, count)[:, None]
    positions = rng.uniform(-0.8, 0.8, (count, slots, 2)).astype(np.float32)
    return positions, tokens, np.arange(count) + 10**12


@pytest.mark.parametrize("kind", ["contiguous", "random"])
def test_sets_are_real_disjoint_and_never_missing(kind):
    positions, tokens, numbers = jets()
    context, targets = token_masks(positions, tokens, numbers, 1, 0, TokenMasksConfig(kind=kind))
    assert not (context & targets).any()
    assert not ((context | targets) & ~tokens).any()
    count = tokens.sum(axis=1)
    assert (context.any(axis=1) == (count > 0)).all()
    assert (targets[0].any(axis=1) == (count > 1)).all()


@pytest.mark.parametrize("kind", ["contiguous", "random"])
def test_sizes_are_those_of_the_configuration(kind):
    positions, tokens, numbers = jets(2000)
    tokens[:] = True
    config = TokenMasksConfig(kind=kind, targets=2, target_ratio=(0.2, 0.4), context_ratio=(1, 1))
    context, targets = token_masks(positions, tokens, numbers, 1, 0, config)
    sizes = targets.sum(axis=2)
    assert sizes.min() == 8
    assert sizes.max() == 16
    assert abs(sizes.mean() - 12) < 0.2
    assert (context == ~targets.any(axis=0)).all()


def test_masks_depend_on_seed_jet_and_pass_alone():
    positions, tokens, numbers = jets()
    reference = token_masks(positions, tokens, numbers, 5, 2, RANDOM)
    order = np.random.default_rng(0).permutation(len(numbers))[:50]
    context, targets = token_masks(positions[order], tokens[order], numbers[order], 5, 2, RANDOM)
    np.testing.assert_array_equal(context, reference[0][order])
    np.testing.assert_array_equal(targets, reference[1][:, order])
    for seed, pass_number, shift in ((6, 2, 0), (5, 3, 0), (5, 2, 1)):
        other = token_masks(positions, tokens, numbers + shift, seed, pass_number, RANDOM)[0]
        assert (other != reference[0]).any(axis=1).mean() > 0.8


def test_contiguous_sets_are_one_token_and_its_nearest():
    positions, tokens, numbers = jets(100)
    positions[..., 1] = (positions[..., 1] + 2 * np.pi) % (2 * np.pi) - np.pi  # across the seam
    _, targets = token_masks(positions, tokens, numbers, 1, 0, TokenMasksConfig(targets=1))
    for jet in np.flatnonzero(targets[0].any(axis=1)):
        difference = positions[jet, :, None] - positions[jet, None, :]
        difference[..., 1] = (difference[..., 1] + np.pi) % (2 * np.pi) - np.pi
        distance = np.hypot(*np.moveaxis(difference, 2, 0))
        distance[:, ~tokens[jet]] = np.inf
        target = set(np.flatnonzero(targets[0, jet]))
        nearest = (set(np.argsort(distance[i])[: len(target)]) for i in target)
        assert any(target == near for near in nearest)


def test_random_sets_take_every_token_alike():
    positions, tokens, numbers = jets(4000, 10)
    tokens[:] = True
    _, targets = token_masks(positions, tokens, numbers, 1, 0, RANDOM)
    share = targets.mean(axis=(0, 1))
    np.testing.assert_allclose(share, share.mean(), rtol=0.1)


@pytest.mark.parametrize("kind", ["contiguous", "random"])
def test_few_tokens_and_large_targets(kind):
    config = TokenMasksConfig(kind=kind, targets=8, target_ratio=(1, 1), context_ratio=(0, 0))
    tokens = np.arange(5) < np.array([0, 1, 2, 3, 5])[:, None]
    positions = np.zeros((5, 5, 2), np.float32)
    context, targets = token_masks(positions, tokens, np.arange(5), 1, 0, config)
    assert context.sum(axis=1).tolist() == [0, 1, 1, 1, 1]
    assert targets[0].sum(axis=1).tolist() == [0, 0, 1, 2, 4]
    assert not (context & targets).any()
