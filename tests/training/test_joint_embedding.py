import numpy as np
import pytest
import torch
from torch.nn import functional

from training.models.jet_encoder import JetEncoder
from training.models.jet_tokens import Jets, coordinates
from training.models.joint_embedding import JointEmbedding, TokenClassifier
from training.models.masks import token_masks
from training.models.patch_tokens import Patches, partition
from training.models.sizes import (
    ConstituentEncoderConfig,
    JointEmbeddingConfig,
    PatchEncoderConfig,
    PredictorConfig,
    TokenClassifierConfig,
    TokenMasksConfig,
)

FEATURES = 10
SIZES = {"width": 32, "heads": 4, "blocks": 2, "embedding": (16,), "pair_bias": (8,)}
ENCODERS = {
    "patches": PatchEncoderConfig(patches=6, registers=3, **SIZES),
    "constituents": ConstituentEncoderConfig(registers=2, **SIZES),
    "without registers": ConstituentEncoderConfig(**SIZES),
}
PREDICTOR = PredictorConfig(width=16, heads=2, blocks=2)
MASKS = TokenMasksConfig(targets=2, target_ratio=(0.2, 0.4))


@pytest.fixture(params=ENCODERS)
def config(request):
    return JointEmbeddingConfig(encoder=ENCODERS[request.param], predictor=PREDICTOR)


def parameters(network):
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def batch(counts, seed=1):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(max(counts)) < torch.tensor(counts)[:, None]
    pt = 20 * torch.rand(mask.shape, generator=generator) + 1
    eta, phi = 0.3 * torch.randn(2, *mask.shape, generator=generator)
    vectors = torch.stack((pt * phi.cos(), pt * phi.sin(), pt * eta.sinh(), pt * eta.cosh()), 2)
    features = torch.randn(*mask.shape, FEATURES, generator=generator)
    return divided(Jets(features * mask[..., None], vectors * mask[..., None], mask))


def divided(jets, patches=6):
    pt, eta, phi = coordinates(jets.vectors)
    positions = torch.stack((eta, phi), dim=2).numpy()
    return jets._replace(patches=partition(positions, pt.numpy(), jets.mask.numpy(), patches))


def masks(network, jets, config=MASKS):
    tokens = network.encoder.tokens
    _, eta, phi = coordinates(tokens.places(jets))
    drawn = token_masks(
        torch.stack((eta, phi), dim=2).numpy(),
        tokens.mask(jets).numpy(),
        np.arange(len(jets.mask)),
        1,
        0,
        config,
    )
    return tuple(map(torch.from_numpy, drawn))


def network(config, seed=1):
    torch.manual_seed(seed)
    return JointEmbedding(config, FEATURES)


def test_sizes():
    patches = JointEmbedding(JointEmbeddingConfig(), FEATURES)
    assert parameters(patches.encoder) == 2_446_184
    assert parameters(patches) == 2_670_136
    config = JointEmbeddingConfig(encoder=ConstituentEncoderConfig())
    constituents = JointEmbedding(config, FEATURES)
    assert parameters(constituents.encoder) == 1_737_800
    assert parameters(constituents) == 1_961_752


def test_company_changes_nothing_of_a_jet(config):
    """Nor do empty slots, of which a batch has as many as its longest jet asks for."""
    # In one group: a short jet has empty slots beside a long one.
    deeper = config.encoder.model_copy(update={"blocks": 3, "length_groups": 1})
    deep = config.model_copy(update={"encoder": deeper})
    net = network(deep)
    jets = batch([20, 9, 33, 2])
    whole = net.encoder(jets)
    counts = net.encoder.tokens.mask(jets).sum(dim=1).tolist()
    for number, (jet, tokens) in enumerate(
        zip(zip(*jets[:3], strict=True), whole.values.split(counts), strict=True)
    ):
        alone = net.encoder(divided(Jets(*(x[None] for x in jet))))
        torch.testing.assert_close(alone.values, tokens, atol=1e-5, rtol=0)
        torch.testing.assert_close(alone.registers[0], whole.registers[number], atol=1e-5, rtol=0)


def test_hidden_constituents_leave_no_trace_in_the_context(config):
    net = network(config)
    jets = batch([20, 9, 33, 2])
    context, _ = masks(net, jets)
    reference = net.encoder(jets, context)
    visible = context & net.encoder.tokens.mask(jets)
    if config.encoder.tokens == "patches":
        visible = visible.gather(1, jets.patches.of) & jets.mask
    hidden = jets.mask & ~visible
    assert hidden.any(dim=1).all()
    other = batch([33] * 4, seed=9)
    changed = jets._replace(
        features=torch.where(hidden[..., None], other.features, jets.features),
        vectors=torch.where(hidden[..., None], 7 * other.vectors, jets.vectors),
    )
    found = net.encoder(changed, context)
    assert torch.equal(found.values, reference.values)
    assert torch.equal(found.registers, reference.registers)
    # Neither does it matter how many there are.
    fewer = jets._replace(mask=visible)
    for one, two in zip(net.encoder(fewer, context), reference, strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=0)
    # The teacher notices.
    assert not torch.allclose(net.teacher(changed).values, net.teacher(jets).values, atol=1e-3)


def test_the_student_knows_no_scale_of_the_jet(config):
    net = network(config)
    jets = batch([20, 9])
    scaled = net.encoder(jets._replace(vectors=1024 * jets.vectors))  # rounds nothing
    torch.testing.assert_close(scaled.values, net.encoder(jets).values, atol=1e-4, rtol=0)


def test_targets_are_the_teachers_tokens_of_the_whole_jet(config):
    net = network(config)
    with torch.no_grad():
        for parameter in net.teacher.parameters():
            parameter.add_(0.01)
    jets = batch([20, 9, 33, 2])
    context, targets = masks(net, jets)
    prediction = net(jets, context, targets)
    tokens = net.encoder.tokens.mask(jets)
    answers = torch.full((*tokens.shape, config.encoder.width), torch.nan)
    answers[tokens] = net.teacher(jets).values
    expected = torch.cat([answers[target] for target in targets])
    expected = functional.layer_norm(expected, expected.shape[1:])
    torch.testing.assert_close(prediction.target, expected)
    assert prediction.jet.tolist() == [
        jet for target in targets for jet in target.nonzero()[:, 0].tolist()
    ]
    assert not prediction.target.requires_grad
    assert prediction.predicted.shape == prediction.target.shape


def test_a_set_of_targets_is_predicted_by_itself(config):
    net = network(config).eval()
    jets = batch([20, 9, 33, 2])
    context, targets = masks(net, jets)
    together = net(jets, context, targets).predicted
    alone = [net(jets, context, target[None]).predicted for target in targets]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=0)


def test_predictions_see_where_the_target_is_but_not_what_it_is(config):
    net = network(config).eval()
    jets = batch([20, 9, 33, 12])
    context, targets = masks(net, jets, TokenMasksConfig(targets=1))
    reference = net(jets, context, targets).predicted
    visible = context
    if config.encoder.tokens == "patches":
        visible = context.gather(1, jets.patches.of)
    hidden = (jets.mask & ~visible)[..., None]
    louder = jets._replace(
        features=torch.where(hidden, -jets.features, jets.features),
        vectors=torch.where(hidden, 3 * jets.vectors, jets.vectors),
    )
    torch.testing.assert_close(
        net(louder, context, targets).predicted, reference, atol=1e-5, rtol=0
    )
    turned = jets._replace(
        vectors=torch.where(hidden, jets.vectors[..., [1, 0, 2, 3]], jets.vectors)
    )
    assert not torch.allclose(net(turned, context, targets).predicted, reference, atol=1e-3)


def test_order_padding_and_company_do_not_matter(config):
    torch.manual_seed(1)
    classifier = TokenClassifier(
        TokenClassifierConfig(class_blocks=1), JetEncoder(config.encoder, FEATURES), 5
    ).eval()
    jets = batch([20, 9, 33, 1])
    reference = classifier(jets)
    order = torch.randperm(33)
    shuffled = divided(Jets(*(x[:, order] for x in jets[:3])))
    padded = divided(
        Jets(
            functional.pad(jets.features, (0, 0, 0, 50), value=3.0),
            functional.pad(jets.vectors, (0, 0, 0, 50), value=3.0),
            functional.pad(jets.mask, (0, 50)),
        )
    )
    for other in (classifier(shuffled), classifier(padded)):
        torch.testing.assert_close(other, reference, atol=1e-5, rtol=0)
    for i in range(4):
        patches = Patches(*(x[i : i + 1] for x in jets.patches))
        alone = classifier(Jets(*(x[i : i + 1] for x in jets[:3]), patches))
        torch.testing.assert_close(alone[0], reference[i], atol=1e-5, rtol=0)


def test_where_a_jet_lies_in_phi_does_not_matter(config):
    net = network(config)
    jets = batch([20, 9, 33, 2])
    px, py, pz, energy = jets.vectors.unbind(2)
    opposite = jets._replace(vectors=torch.stack((-px, -py, pz, energy), dim=2))
    reference, found = net.encoder(jets), net.encoder(opposite)
    torch.testing.assert_close(found.values, reference.values, atol=1e-4, rtol=0)


def test_jets_of_one_constituent_and_of_none(config):
    net = network(config)
    jets = batch([1, 0, 2])
    context, targets = masks(net, jets)
    prediction = net(jets, context, targets)
    assert prediction.predicted.isfinite().all()
    assert prediction.context.isfinite().all()
    assert set(prediction.jet.tolist()) == {2}


def test_gradients_reach_every_parameter_but_the_teachers(config):
    net = network(config)
    jets = batch([20, 9, 33, 7])
    prediction = net(jets, *masks(net, jets))
    functional.smooth_l1_loss(prediction.predicted, prediction.target).backward()
    for name, parameter in net.named_parameters():
        if name.startswith("teacher"):
            assert parameter.grad is None
        else:
            assert parameter.grad is not None, name
            # An offset of all scores of a query changes no attention.
            if parameter.numel() and name != "encoder.pair_bias.network.2.bias":
                assert parameter.grad.abs().sum() > 0, name


def test_the_teacher_follows_and_never_trains(config):
    net = network(config).train()
    assert net.encoder.training
    assert not net.teacher.training
    with torch.no_grad():
        for parameter in net.encoder.parameters():
            parameter.add_(1)
    before = [p.clone() for p in net.teacher.parameters()]
    net.update_teacher(0.9)
    for old, new in zip(before, net.teacher.parameters(), strict=True):
        torch.testing.assert_close(new, old + 0.1, atol=1e-5, rtol=1e-5)


def test_no_network_normalises_over_jets(config):
    names = {type(module).__name__ for module in network(config).modules()}
    assert not any("BatchNorm" in name for name in names)


@pytest.mark.parametrize("blocks", [0, 2])
def test_a_classifier_trains_all_of_its_parameters(config, blocks):
    torch.manual_seed(1)
    sizes = TokenClassifierConfig(class_blocks=blocks, head=(16,))
    classifier = TokenClassifier(sizes, JetEncoder(config.encoder, FEATURES), 5)
    functional.cross_entropy(classifier(batch([20, 9, 33])), torch.tensor([0, 1, 2])).backward()
    for name, parameter in classifier.named_parameters():
        assert parameter.grad is not None, name


@pytest.mark.parametrize("config", ["patches"], indirect=True)
def test_a_few_graphs_serve_batches_of_all_sizes(config):
    net, compiled = network(config), network(config)
    graphs = []

    def backend(graph, _inputs):
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    compiled.compile_parts(backend=backend, fullgraph=True)
    numbers = []
    for counts in ([20, 9, 33, 7] * 3, [12] * 9, [40, 3, 8, 9, 10] * 4):
        jets = batch(counts)
        drawn = masks(net, jets)
        expected, found = net(jets, *drawn), compiled(jets, *drawn)
        torch.testing.assert_close(found.predicted, expected.predicted, atol=1e-4, rtol=0)
        torch.testing.assert_close(found.target, expected.target, atol=1e-4, rtol=0)
        numbers.append(len(graphs))
    assert numbers[0] == numbers[-1]
    torch.compiler.reset()


def test_sixteen_bits_come_close(config):
    net = network(config).eval()
    jets = batch([20, 9, 33])
    drawn = masks(net, jets)
    reference = net(jets, *drawn)
    with torch.autocast("cpu", torch.bfloat16):
        half = net(jets, *drawn)
    torch.testing.assert_close(half.target.float(), reference.target, atol=0.2, rtol=0.1)
    torch.testing.assert_close(half.predicted.float(), reference.predicted, atol=0.2, rtol=0.1)
