import numpy as np
import pytest
import torch

from training.models import particle_net
from training.models.particle_net import Arrangement, ParticleNet
from training.models.ragged import Collection, together
from training.models.sizes import GraphSizes, ParticleNetConfig

FEATURES = {"charged": 25, "neutral": 11, "vertices": 10}
NEIGHBOURS = 4
GRAPH = GraphSizes(neighbours=NEIGHBOURS, channels=((8, 8), (16,)), points=128)
SMALL = ParticleNetConfig(
    charged=GRAPH, neutral=GRAPH, vertices=GRAPH, head=ParticleNetConfig.lite().head
)


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def padded_jets(counts, rng, slots=0):
    """Constituents with so many empty slots, filled with what no network may see."""
    length = max(counts) + slots
    mask = torch.arange(length) < torch.tensor(counts)[:, None]
    padded = {}
    for name, width in FEATURES.items():
        values = torch.full((len(counts), length, width), 1e6)
        positions = torch.full((len(counts), length, 2), 0.0)
        values[mask] = torch.from_numpy(rng.normal(size=(sum(counts), width))).float()
        positions[mask] = torch.from_numpy(rng.normal(0, 0.2, size=(sum(counts), 2))).float()
        padded[name] = (values, positions)
    jets = torch.from_numpy(rng.normal(size=(len(counts), 11))).float()
    return padded, mask, jets


def collections(padded, mask, rows=slice(None)):
    return {
        name: Collection.from_padded(values[rows], mask[rows], positions[rows])
        for name, (values, positions) in padded.items()
    }


def network(config=SMALL, outputs=2):
    torch.manual_seed(1)
    network = ParticleNet(config, FEATURES, 11, outputs)
    padded, mask, jets = padded_jets([3, 9, 20, 5] * 8, np.random.default_rng(2))
    batch = {
        name: own._replace(share=torch.full((len(own.values),), 0.05))
        for name, own in collections(padded, mask).items()
    }
    network(batch, jets)  # statistics of the batch normalisations
    return network.eval()


def neighbours_of(positions, k, values=None, angular=True):
    """The neighbours that the network finds in one jet, by row."""
    values = positions if values is None else values
    offsets = torch.tensor([0, len(positions)])
    arranged = Arrangement.of(
        Collection(values, offsets, positions), np.array([len(positions)]), k, 999
    )
    edges = arranged.edges((positions if angular else values)[arranged.rows], angular)
    found = {row: set() for row in range(len(positions))}
    for query, neighbour in zip(edges.query.tolist(), edges.neighbour.tolist(), strict=True):
        found[int(arranged.rows[query])].add(int(arranged.rows[neighbour]))
    assert sum(len(rows) for rows in found.values()) == len(edges.query), "an edge comes twice"
    return found


def test_published_numbers_of_parameters():
    assert parameters(ParticleNet(ParticleNetConfig(), FEATURES, 11)) == 1_188_673
    assert parameters(ParticleNet(ParticleNetConfig.lite(), FEATURES, 11)) == 36_737


@pytest.mark.parametrize("count", [0, 1, 2, NEIGHBOURS, NEIGHBOURS + 1, NEIGHBOURS + 2, 30])
@pytest.mark.parametrize("dynamic", [True, False])
def test_padding_order_and_company_do_not_matter(count, dynamic):
    net = network(SMALL.model_copy(update={"dynamic": dynamic}))
    rng = np.random.default_rng(3)
    padded, mask, jets = padded_jets([count, 12, 3], rng, slots=50)
    reference = net(collections(padded, mask), jets)
    assert reference.isfinite().all()
    tight = {name: [x[:, : max(count, 12)] for x in pair] for name, pair in padded.items()}
    shuffle = torch.from_numpy(rng.permutation(mask.shape[1]))
    shuffled = {name: [x[:, shuffle] for x in pair] for name, pair in padded.items()}
    alone = torch.cat([net(collections(padded, mask, [i]), jets[[i]]) for i in range(3)])
    reverse = net(collections(padded, mask, [2, 1, 0]), jets.flip(0)).flip(0)
    for other in (
        net(collections(tight, mask[:, : max(count, 12)]), jets),
        net(collections(shuffled, mask[:, shuffle]), jets),
        alone,
        reverse,
    ):
        torch.testing.assert_close(other, reference, atol=1e-5, rtol=0)


def test_statistics_in_training_are_those_of_real_edges():
    statistics = []
    for slots in (0, 50):
        torch.manual_seed(1)
        net = ParticleNet(SMALL, FEATURES, 11)
        padded, mask, jets = padded_jets([5, 2, 9, 1, 0], np.random.default_rng(1), slots)
        net(collections(padded, mask), jets)
        statistics.append(dict(net.named_buffers()))
    for name, value in statistics[0].items():
        torch.testing.assert_close(statistics[1][name], value, msg=name)


@pytest.mark.parametrize("count", [1, 2, 5, 6, 40])
def test_neighbours_are_the_nearest_others(count):
    rng = np.random.default_rng(count)
    positions = torch.from_numpy(rng.normal(size=(count, 2))).float()
    distance = torch.cdist(positions.double(), positions.double())
    for row, found in neighbours_of(positions, 4).items():
        order = [i for i in distance[row].argsort().tolist() if i != row]
        assert found == set(order[:4])


def test_neighbours_among_features_are_the_nearest_others():
    values = torch.from_numpy(np.random.default_rng(1).normal(100, 1, size=(30, 8))).float()
    distance = torch.cdist(values.double(), values.double())
    for row, found in neighbours_of(torch.zeros(30, 2), 4, values, angular=False).items():
        order = [i for i in distance[row].argsort().tolist() if i != row]
        assert found == set(order[:4])


def test_neighbours_across_the_seam_of_phi():
    phi = torch.linspace(-torch.pi + 0.05, torch.pi - 0.05, 20)
    found = neighbours_of(torch.stack((torch.zeros(20), phi), dim=1), 2)
    assert found[0] == {1, 19}
    assert found[19] == {18, 0}


def test_duplicates_are_neighbours_and_a_constituent_is_not_its_own():
    positions = torch.zeros(9, 2)
    positions[6:, 0] = 1.0
    found = neighbours_of(positions, 3, torch.arange(9.0)[:, None])
    for row, others in found.items():
        assert row not in others
        assert len(others) == 3
    assert found[6] > {7, 8}


def test_equal_distances_are_resolved_by_content_not_by_order():
    rng = np.random.default_rng(4)
    values = torch.from_numpy(rng.normal(size=(40, 3))).float()
    positions = torch.from_numpy(rng.integers(0, 3, size=(40, 2))).float()
    found = neighbours_of(positions, 5, values)
    shuffle = torch.from_numpy(rng.permutation(40))
    shuffled = neighbours_of(positions[shuffle], 5, values[shuffle])
    for row, others in shuffled.items():
        assert {int(shuffle[i]) for i in others} == found[int(shuffle[row])]


def test_exact_duplicates_of_constituents_are_finite_and_alike_in_any_order():
    net = network()
    padded, mask, jets = padded_jets([8, 20], np.random.default_rng(5))
    for values, positions in padded.values():
        values[:, 3], positions[:, 3] = values[:, 0], positions[:, 0]
        values[:, 5], positions[:, 5] = values[:, 0], positions[:, 0]
        values[:, 6], positions[:, 6] = 0.0, 0.0  # on the axis of the jet
    shuffle = torch.from_numpy(np.random.default_rng(6).permutation(20))
    shuffled = {name: [x[:, shuffle] for x in pair] for name, pair in padded.items()}
    reference = net(collections(padded, mask), jets)
    other = net(collections(shuffled, mask[:, shuffle]), jets)
    torch.testing.assert_close(other, reference, atol=1e-5, rtol=0)


def test_a_constituent_on_the_axis_counts():
    net = network()
    padded, mask, jets = padded_jets([6], np.random.default_rng(7))
    for _, positions in padded.values():
        positions[:, 0] = 0.0
    reference = net(collections(padded, mask), jets)
    mask = mask.clone()
    mask[:, 0] = False
    assert (net(collections(padded, mask), jets) - reference).abs().max() > 1e-4


@pytest.mark.parametrize("centre", [0.0, np.pi, -np.pi, 3.0])
def test_where_a_jet_lies_in_phi_does_not_matter(centre):
    net = network()
    padded, mask, jets = padded_jets([30, 4], np.random.default_rng(8))
    reference = net(collections(padded, mask), jets)
    for _, positions in padded.values():
        phi = positions[..., 1].double() + centre
        positions[..., 1] = (torch.remainder(phi + np.pi, 2 * np.pi) - np.pi).float()
    torch.testing.assert_close(net(collections(padded, mask), jets), reference, atol=1e-5, rtol=0)


def test_few_pairs_at_a_time_give_the_same(monkeypatch):
    net = network()
    padded, mask, jets = padded_jets([30, 4, 128, 50, 29, 31], np.random.default_rng(9))
    reference = net(collections(padded, mask), jets)
    monkeypatch.setattr(particle_net, "CELLS_CPU", 1)
    torch.testing.assert_close(net(collections(padded, mask), jets), reference, atol=1e-5, rtol=0)


def test_leading_points_are_kept():
    graph = GRAPH.model_copy(update={"points": 7})
    net = network(SMALL.model_copy(update={"charged": graph, "neutral": graph, "vertices": graph}))
    padded, mask, jets = padded_jets([12, 5], np.random.default_rng(10))
    cut = {name: [x[:, :7] for x in pair] for name, pair in padded.items()}
    reference = net(collections(cut, mask[:, :7]), jets)
    torch.testing.assert_close(net(collections(padded, mask), jets), reference, atol=1e-5, rtol=0)


def test_edges_are_averaged_over_their_real_number():
    torch.manual_seed(1)
    config = SMALL.model_copy(update={"batch_norm": False, "shortcut": False})
    net = network(config).collections["charged"].blocks[0]
    x = torch.randn(3, 25)
    query = torch.tensor([0, 0, 1, 1, 2, 2])
    neighbour = torch.tensor([1, 2, 0, 2, 0, 1])
    out = net(x, query, neighbour, torch.full((3,), 2))
    inputs = torch.cat((x[query], x[neighbour] - x[query]), dim=1)
    expected = net.layers(net.edge(inputs)).view(3, 2, -1).mean(dim=1).relu()
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("pooling", ["average", "max"])
@pytest.mark.parametrize(("batch_norm", "shortcut"), [(True, True), (False, False)])
def test_gradients_reach_every_parameter(pooling, batch_norm, shortcut):
    torch.manual_seed(1)
    changes = {"pooling": pooling, "batch_norm": batch_norm, "shortcut": shortcut}
    head = SMALL.head.model_copy(update={"batch_norm": False, "dropout": 0.1})
    config = SMALL.model_copy(update={**changes, "head": head, "activation": "elu"})
    net = ParticleNet(config, FEATURES, 11, 2)
    padded, mask, jets = padded_jets([5, 2, 9, 4, 1, 0], np.random.default_rng(1))
    net(collections(padded, mask), jets).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_what_is_read_out_grows_with_momentum():
    net = network(SMALL.model_copy(update={"readout": "momentum"}))
    padded, mask, _ = padded_jets([5, 20], np.random.default_rng(1))
    pooled = []
    for scale in (1.0, 2.0):
        batch = {
            name: own._replace(share=torch.full((25,), scale / 25))
            for name, own in collections(padded, mask).items()
        }
        pooled.append(net.pool_constituents(batch))
    torch.testing.assert_close(pooled[1], 2 * pooled[0])
    # Equal shares: the average, times what the shares of the jet come to.
    average = network().pool_constituents(collections(padded, mask))
    sums = torch.tensor([5.0, 20.0])[:, None] / 25
    torch.testing.assert_close(pooled[0], average * sums, atol=1e-5, rtol=1e-4)


def test_one_graph_of_all_collections_is_one_of_their_constituents_beside_each_other():
    config = SMALL.model_copy(update={"together": GRAPH})
    net = network(config)
    padded, mask, jets = padded_jets([5, 20, 0, 1], np.random.default_rng(1))
    batch = collections(padded, mask)
    # Of the second jet all collections, of others one each.
    few = torch.zeros_like(mask)
    few[1, :3] = True
    batch["vertices"] = Collection.from_padded(padded["vertices"][0], few, padded["vertices"][1])
    joined = together(list(batch.values()))
    assert joined.counts.tolist() == [10, 43, 0, 2]
    own = joined.values[10:53]
    assert own[:, -3:].sum(0).tolist() == [20, 20, 3]
    torch.testing.assert_close(own[40:, 36:46], padded["vertices"][0][1, :3])
    assert not own[40:, :36].any()
    torch.testing.assert_close(joined.positions[50:53], padded["vertices"][1][1, :3])
    said = net(batch, jets)
    assert said.isfinite().all()
    # What a constituent is seen beside counts: the neutral ones, in another place.
    moved = batch["neutral"]._replace(positions=batch["neutral"].positions + 1)
    assert not torch.allclose(net(batch | {"neutral": moved}, jets), said, atol=1e-5)
    alone = [
        net({n: Collection.from_padded(v[i : i + 1], few[i : i + 1] if n == "vertices" else
             mask[i : i + 1], p[i : i + 1]) for n, (v, p) in padded.items()}, jets[i : i + 1])
        for i in range(4)
    ]  # fmt: skip
    torch.testing.assert_close(torch.cat(alone), said, atol=1e-5, rtol=0)


@pytest.mark.parametrize("vertices", [0, 1])
def test_a_batch_with_hardly_a_vertex_trains(vertices):
    torch.manual_seed(1)
    net = ParticleNet(SMALL, FEATURES, 11)
    padded, mask, jets = padded_jets([5, 2, 9, 4], np.random.default_rng(1))
    batch = collections(padded, mask)
    few = torch.zeros_like(mask)
    few.view(-1)[:vertices] = True
    values, positions = padded["vertices"]
    batch["vertices"] = Collection.from_padded(values, few, positions)
    net(batch, jets).square().sum().backward()
    assert all(p.grad.isfinite().all() for p in net.parameters())


def test_one_graph_per_network_serves_batches_of_all_sizes():
    net = network()
    batches = [padded_jets(c, np.random.default_rng(1)) for c in ([5, 2, 9], [6, 6], [12] * 7)]
    expected = [net(collections(p, m), j) for p, m, j in batches]
    graphs = []

    def backend(graph, _inputs):
        graphs.append(graph)
        return graph

    torch.compiler.reset()
    net.compile_parts(backend=backend, fullgraph=True)
    for (padded, mask, jets), reference in zip(batches, expected, strict=True):
        torch.testing.assert_close(
            net(collections(padded, mask), jets), reference, atol=1e-5, rtol=0
        )
    # The second blocks of the three collections are of one shape.
    assert len(graphs) == 3 + 1 + 1
    torch.compiler.reset()


def test_sixteen_bits_come_close():
    net = network()
    padded, mask, jets = padded_jets([30, 4, 12], np.random.default_rng(11))
    reference = net(collections(padded, mask), jets)
    with torch.autocast("cpu", torch.bfloat16):
        half = net(collections(padded, mask), jets)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, reference, atol=0.05, rtol=0.05)
