import numpy as np
import pytest
import torch

from training.models.deep_sets import DeepSets
from training.models.ragged import Collection
from training.models.sizes import DeepSetsConfig, LayerSizes

FEATURES = {"charged": 25, "neutral": 11, "vertices": 10}


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def padded_jets(counts, rng, slots=0):
    """Constituents with so many empty slots, filled with what no network may see."""
    length = max(counts) + slots
    mask = torch.arange(length) < torch.tensor(counts)[:, None]
    padded = {}
    for name, width in FEATURES.items():
        values = torch.full((len(counts), length, width), 1e6)
        values[mask] = torch.from_numpy(rng.normal(size=(sum(counts), width))).float()
        padded[name] = values
    jets = torch.from_numpy(rng.normal(size=(len(counts), 11))).float()
    return padded, mask, jets


def collections(padded, mask):
    return {name: Collection.from_padded(values, mask) for name, values in padded.items()}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(1)
    network = DeepSets(DeepSetsConfig(), FEATURES, 11, outputs=3)
    batch = padded_jets([3, 9, 20, 5] * 8, np.random.default_rng(2))
    network(collections(*batch[:2]), batch[2])  # statistics of the batch normalisations
    return network.eval()


def test_published_numbers_of_parameters():
    assert parameters(DeepSets(DeepSetsConfig(), FEATURES, 11)) == 1_467_105
    assert parameters(DeepSets(DeepSetsConfig.lite(), FEATURES, 11)) == 40_777


def test_each_output_costs_one_row_of_weights():
    one, four = (parameters(DeepSets(DeepSetsConfig(), FEATURES, 11, n)) for n in (1, 4))
    assert four - one == 3 * 65


@pytest.mark.parametrize("counts", [[1], [0], [7, 0, 3, 1]])
def test_padding_order_and_company_do_not_matter(network, counts):
    rng = np.random.default_rng(3)
    padded, mask, jets = padded_jets(counts, rng, slots=50)
    reference = network(collections(padded, mask), jets)
    assert reference.shape == (len(counts), 3)
    length = max(counts)
    tight = {name: values[:, :length] for name, values in padded.items()}
    shuffle = torch.from_numpy(rng.permutation(length + 50))
    shuffled = {name: values[:, shuffle] for name, values in padded.items()}
    alone = [
        network(collections({n: v[i : i + 1] for n, v in padded.items()}, mask[i : i + 1]), own)
        for i, own in enumerate(jets.split(1))
    ]
    for other in (
        network(collections(tight, mask[:, :length]), jets),
        network(collections(shuffled, mask[:, shuffle]), jets),
        torch.cat(alone),
    ):
        torch.testing.assert_close(other, reference, atol=1e-5, rtol=0)


def test_statistics_in_training_are_those_of_real_constituents():
    torch.manual_seed(1)
    statistics = []
    for slots in (0, 50):
        torch.manual_seed(1)
        network = DeepSets(DeepSetsConfig(), FEATURES, 11)
        padded, mask, jets = padded_jets([5, 2, 9], np.random.default_rng(1), slots)
        network(collections(padded, mask), jets)
        statistics.append(dict(network.named_buffers()))
    for name, value in statistics[0].items():
        torch.testing.assert_close(statistics[1][name], value, msg=name)


@pytest.mark.parametrize("total", [0, 1])
def test_a_batch_with_hardly_a_vertex_trains(total):
    network = DeepSets(DeepSetsConfig(), FEATURES, 11)
    padded, mask, jets = padded_jets([5, 2, 9], np.random.default_rng(1))
    batch = collections(padded, mask)
    few = torch.zeros_like(mask)
    few.view(-1)[:total] = True
    batch["vertices"] = Collection.from_padded(padded["vertices"], few)
    network(batch, jets).square().mean().backward()
    assert all(p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("pooling", ["sum", "average", "max"])
def test_pooling_uses_real_counts(pooling):
    torch.manual_seed(1)
    network = DeepSets(DeepSetsConfig(pooling=pooling), FEATURES, 11).eval()
    padded, mask, jets = padded_jets([4, 4], np.random.default_rng(1))
    twice = {name: values.repeat(1, 2, 1) for name, values in padded.items()}
    once = network(collections(padded, mask), jets)
    doubled = network(collections(twice, mask.repeat(1, 2)), jets)
    same = torch.allclose(once, doubled, atol=1e-5)
    assert same == (pooling != "sum")


def test_a_sum_weighed_by_momentum_does_not_know_splittings():
    torch.manual_seed(1)
    network = DeepSets(DeepSetsConfig(pooling="momentum"), FEATURES, 11).eval()
    padded, mask, jets = padded_jets([4, 3], np.random.default_rng(1))
    share = torch.rand(7)
    jet = torch.arange(2).repeat_interleave(torch.tensor([4, 3]))
    order = torch.cat([torch.arange(7)] * 2)[torch.cat((jet, jet)).argsort(stable=True)]
    plain, split, more = {}, {}, {}
    for name, values in padded.items():
        own = Collection.from_padded(values, mask)
        plain[name] = own._replace(share=share)
        twice = Collection(own.values[order], 2 * own.offsets)
        split[name] = twice._replace(share=share[order] / 2)
        more[name] = twice._replace(share=share[order])
    said = network(plain, jets)
    torch.testing.assert_close(network(split, jets), said, atol=1e-5, rtol=0)
    assert not torch.allclose(network(more, jets), said, atol=1e-3)


@pytest.mark.parametrize("blocks", ["mlp", "resnet"])
@pytest.mark.parametrize("batch_norm", [True, False])
def test_gradients_reach_every_parameter(blocks, batch_norm):
    torch.manual_seed(1)
    sizes = LayerSizes(units=(16, 24, 32), batch_norm=batch_norm, dropout=0.1)
    config = DeepSetsConfig(
        blocks=blocks, activation="gelu", charged=sizes, neutral=sizes, vertices=sizes, head=sizes
    )
    network = DeepSets(config, FEATURES, 11, outputs=2)
    padded, mask, jets = padded_jets([5, 2, 9, 4], np.random.default_rng(1))
    network(collections(padded, mask), jets).square().sum().backward()
    # Batch normalisation takes away what the layer before it adds.
    redundant = batch_norm and blocks == "mlp"
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        if not (redundant and name.endswith("bias")):
            assert parameter.grad.abs().sum() > 0, name


def test_a_residual_pair_projects_its_input():
    sizes = LayerSizes(units=(8, 16, 4), batch_norm=False)
    config = DeepSetsConfig(
        blocks="resnet", charged=sizes, neutral=sizes, vertices=sizes, head=sizes
    )
    pair = (25 * 8 + 8) + (8 * 16 + 16) + 25 * 16
    last = 16 * 4 + 4
    network = DeepSets(config, FEATURES, 11)
    assert parameters(network.collections["charged"]) == pair + last


def test_one_graph_per_network_serves_batches_of_all_sizes():
    torch.manual_seed(1)
    network = DeepSets(DeepSetsConfig.lite(), FEATURES, 11).eval()
    batches = [padded_jets(c, np.random.default_rng(1)) for c in ([5, 2, 9], [6, 6], [12] * 7)]
    expected = [network(collections(p, m), j) for p, m, j in batches]
    graphs = []

    def backend(graph, _inputs):
        graphs.append(graph)
        return graph

    torch.compiler.reset()
    network.compile_parts(backend=backend, fullgraph=True)
    for (padded, mask, jets), reference in zip(batches, expected, strict=True):
        torch.testing.assert_close(network(collections(padded, mask), jets), reference)
    assert len(graphs) == 4
    torch.compiler.reset()
