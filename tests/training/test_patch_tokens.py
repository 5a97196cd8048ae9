import numpy as np
import pytest
import torch

from training.models.patch_tokens import PointNetwork, partition


def jets(counts, seed=1):
    rng = np.random.default_rng(seed)
    mask = np.arange(max(counts)) < np.array(counts)[:, None]
    positions = rng.normal(0, 0.3, (*mask.shape, 2)).astype(np.float32)
    return positions, rng.exponential(size=mask.shape).astype(np.float32), mask


def distances(positions):
    """Distances (N, N) in (η, φ) of the constituents of one jet."""
    difference = positions[:, None] - positions[None]
    difference[..., 1] = (difference[..., 1] + np.pi) % (2 * np.pi) - np.pi
    return np.hypot(difference[..., 0], difference[..., 1])


@pytest.mark.parametrize("shift", [0.0, np.pi])
def test_every_constituent_is_in_the_patch_of_its_nearest_centre(shift):
    positions, pt, mask = jets([30, 3, 60, 16, 17, 1])
    positions[..., 1] = (positions[..., 1] + shift + np.pi) % (2 * np.pi) - np.pi
    patches = partition(positions, pt, mask, 16)
    for jet, real in enumerate(mask):
        number = int(patches.mask[jet].sum())
        assert number == min(real.sum(), 16)
        centres = patches.centre[jet, :number].numpy()
        assert centres[0] == pt[jet, real].argmax()
        assert set(patches.of[jet, real].tolist()) == set(range(number))
        to_centres = distances(positions[jet])[:, centres]
        np.testing.assert_allclose(
            to_centres[np.arange(len(real)), patches.of[jet]][real], to_centres.min(axis=1)[real]
        )
        # A centre is in its own patch, and the next one is farthest from all before.
        assert patches.of[jet, centres].tolist() == list(range(number))
        for k in range(1, number):
            nearest = to_centres[real, :k].min(axis=1)
            assert nearest.max() == pytest.approx(to_centres[centres[k], :k].min())


def test_constituents_in_one_place_are_one_patch():
    positions, pt, mask = jets([12])
    positions[:, 4:] = positions[:, 3:4]
    patches = partition(positions, pt, mask, 16)
    assert patches.mask.sum() == 4
    assert len(set(patches.of[0, 3:].tolist())) == 1


def test_a_patch_is_described_by_its_own_constituents():
    torch.manual_seed(1)
    network = PointNetwork(5, (8, 8), 16)
    x, patch, counts = torch.randn(6, 5), torch.tensor([0, 1, 1, 0, 2, 1]), torch.tensor([2, 3, 1])
    tokens = network(x, patch, counts)
    other = x.clone()
    other[patch == 1] += 1
    changed = network(other, patch, counts)
    assert torch.equal(changed[[0, 2]], tokens[[0, 2]])
    assert not torch.allclose(changed[1], tokens[1])
    order = torch.tensor([5, 3, 0, 4, 2, 1])
    torch.testing.assert_close(network(x[order], patch[order], counts), tokens)
