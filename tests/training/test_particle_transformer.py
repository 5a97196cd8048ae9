"""The network: size, masking, symmetry."""

import pytest
import torch

from ntuplizer.labels import LABELS
from training.models.dropout import Dropout
from training.models.particle_transformer import ParticleTransformer
from training.models.sizes import ParticleTransformerConfig

SMALL = ParticleTransformerConfig(
    embedding=(32, 16), pair_embedding=(8,), heads=4, blocks=2, class_blocks=1, head=(16,)
)


def batch(jets: int, length: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(jets)
    lengths = torch.randint(1, length + 1, (jets,), generator=generator)
    mask = torch.arange(length) < lengths[:, None]
    features = torch.randn(jets, length, 17, generator=generator)
    momenta = torch.randn(jets, length, 3, generator=generator)
    energy = momenta.square().sum(2, keepdim=True).add(0.01).sqrt()
    vectors = torch.cat((momenta, energy), dim=2)
    return features * mask[..., None], vectors * mask[..., None], mask


@pytest.fixture
def network() -> ParticleTransformer:
    torch.manual_seed(1)
    network = ParticleTransformer(SMALL, 17, 5)
    network(*batch(64, 20))  # batch norms see something
    return network.eval()


def test_size_is_that_of_the_released_sophon():
    network = ParticleTransformer(ParticleTransformerConfig(), 17, len(LABELS))
    assert sum(p.numel() for p in network.parameters()) == 2_304_688


def test_output_depends_on_nothing_but_the_jet(network):
    features, vectors, mask = batch(9, 12)
    together = network(features, vectors, mask)
    garbage = torch.full((9, 7, 17), 3.0), torch.full((9, 7, 4), 2.0), torch.zeros(9, 7) > 0
    padded = network(
        *(torch.cat(pair, dim=1) for pair in zip((features, vectors, mask), garbage, strict=True))
    )
    alone = torch.cat(
        [network(features[i : i + 1], vectors[i : i + 1], mask[i : i + 1]) for i in range(9)]
    )
    torch.testing.assert_close(padded, together, rtol=0, atol=1e-5)
    torch.testing.assert_close(alone, together, rtol=0, atol=1e-5)
    assert (together[0] - together[1]).abs().max() > 1e-3


def test_output_does_not_depend_on_the_order_of_constituents(network):
    features, vectors, mask = batch(1, 12)
    order = torch.randperm(12)
    torch.testing.assert_close(
        network(features[:, order], vectors[:, order], mask[:, order]),
        network(features, vectors, mask),
        rtol=0,
        atol=1e-5,
    )


def test_padding_gets_no_gradient_and_gives_no_nan(network):
    features, vectors, mask = batch(6, 10)
    features.requires_grad_()
    network.train()
    network(features, vectors, mask).square().sum().backward()
    assert features.grad[~mask].abs().max() == 0
    # Every constituent has a say.
    assert features.grad[mask].abs().amax(dim=1).min() > 0
    for name, parameter in network.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


def test_groups_of_length_do_not_change_the_result(network):
    inputs = batch(7, 15)
    one_by_one = network(*inputs)
    network.length_groups = 1
    torch.testing.assert_close(network(*inputs), one_by_one, rtol=0, atol=1e-5)


def test_dropout_keeps_share_and_mean():
    torch.manual_seed(0)
    drop = Dropout(0.1)
    x = torch.ones(1001, 999)
    dropped = drop(x)
    assert (dropped == 0).float().mean() == pytest.approx(0.1, abs=0.002)
    assert dropped.mean() == pytest.approx(1, abs=0.002)
    assert (drop.eval()(x) == x).all()
