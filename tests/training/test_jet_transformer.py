import numpy as np
import pytest
import torch

from training.models.jet_transformer import JetTransformer
from training.models.ragged import Collection
from training.models.sizes import JetTransformerConfig, LayerSizes

FEATURES = {"charged": 25, "neutral": 11, "vertices": 10}
SMALL = JetTransformerConfig(
    embedding=(16,),
    pair_embedding=(8,),
    heads=2,
    blocks=2,
    feedforward_ratio=2,
    head=LayerSizes(units=(16, 8)),
)


def jets_of(counts, seed=1):
    """Return collections of jets with these numbers of constituents, and features of the jets."""
    rng = np.random.default_rng(seed)
    collections = {}
    offsets = torch.tensor(np.concatenate(([0], np.cumsum(counts))))
    for name, width in FEATURES.items():
        values = torch.from_numpy(rng.normal(size=(sum(counts), width))).float()
        positions = torch.from_numpy(rng.normal(0, 0.2, size=(sum(counts), 2))).float()
        pt = torch.from_numpy(rng.exponential(5, size=sum(counts))).float()
        collections[name] = Collection(values, offsets, positions, pt)
    return collections, torch.from_numpy(rng.normal(size=(len(counts), 11))).float()


def part(collections, rows, order=range):
    """Return some jets of collections; `order` rearranges the constituents of each."""
    chosen = {}
    for name, own in collections.items():
        begin = own.offsets.tolist()
        index = [begin[row] + i for row in rows for i in order(begin[row + 1] - begin[row])]
        counts = [len(order(begin[row + 1] - begin[row])) for row in rows]
        offsets = torch.tensor([0, *counts]).cumsum(0)
        chosen[name] = Collection(own.values[index], offsets, own.positions[index], own.pt[index])
    return chosen


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(1)
    network = JetTransformer(SMALL, FEATURES, 11, outputs=2)
    network(*jets_of([3, 9, 20, 5] * 8, seed=2))  # statistics of the batch normalisations
    return network.eval()


@pytest.mark.parametrize("counts", [[1], [0], [7, 0, 3, 1, 40]])
@torch.no_grad()
def test_order_and_company_do_not_matter(network, counts):
    collections, jets = jets_of(counts)
    reference = network(collections, jets)
    assert reference.shape == (len(counts), 2)
    assert reference.isfinite().all()
    everything = range(len(counts))
    backwards = network(part(collections, everything, lambda n: range(n)[::-1]), jets)
    alone = torch.cat([network(part(collections, [i]), jets[[i]]) for i in everything])
    for other in (backwards, alone):
        torch.testing.assert_close(other, reference, atol=1e-5, rtol=0)


@torch.no_grad()
def test_pairs_know_differences_of_angles_only(network):
    """Within the rounding of the masses of close pairs."""
    collections, jets = jets_of([6, 2, 12])
    turned = {
        name: own._replace(positions=own.positions + torch.tensor([0.3, np.pi]))
        for name, own in collections.items()
    }
    reference = network(collections, jets)
    torch.testing.assert_close(network(turned, jets), reference, atol=1e-2, rtol=0)
    moved = {name: own._replace(positions=1.5 * own.positions) for name, own in collections.items()}
    assert (network(moved, jets) - reference).abs().max() > 0.02


@torch.no_grad()
def test_constituents_beyond_the_most_are_left_out():
    torch.manual_seed(1)
    few = JetTransformer(SMALL.model_copy(update={"points": 4}), FEATURES, 11).eval()
    collections, jets = jets_of([9, 2])
    first = part(collections, range(2), lambda n: range(min(n, 4)))
    torch.testing.assert_close(few(first, jets), few(collections, jets))


def test_all_parameters_learn(network):
    torch.manual_seed(1)
    network = JetTransformer(SMALL, FEATURES, 11, outputs=2)
    network(*jets_of([5, 9, 4, 7])).square().sum().backward()
    assert all(p.grad is not None for p in network.parameters())
