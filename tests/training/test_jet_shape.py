"""What jets are like as a whole, against direct sums, and where it must not depend on anything."""

import itertools
import math

import pytest
import torch

from training.models.jet_shape import CENTRE, SCALE, SHAPES, SHARES, jet_shape, momentum_shares
from training.models.jet_tokens import Jets
from training.models.patch_tokens import Patches


def jets_of(constituents, features=None, length=6):
    """Return a jet of massless (pT, η, φ), padded."""
    vectors = torch.zeros(1, length, 4)
    for i, (pt, eta, phi) in enumerate(constituents):
        momentum = [pt * math.cos(phi), pt * math.sin(phi), pt * math.sinh(eta)]
        vectors[0, i] = torch.tensor([*momentum, pt * math.cosh(eta)])
    mask = (torch.arange(length) < len(constituents))[None]
    own = torch.zeros(1, length, 12) if features is None else features
    return Jets(own, vectors, mask)


def values(jets):
    scaled = jet_shape(jets)[0, : len(SHAPES)]
    return {
        name: float(x * scale + centre)
        for name, x, centre, scale in zip(SHAPES, scaled, CENTRE, SCALE, strict=True)
    }


TWO = [(100.0, 0.0, 0.1), (50.0, 0.3, -0.1)]
THREE = [*TWO, (30.0, -0.2, 0.05)]


def test_two_massless_constituents():
    found = values(jets_of(TWO))
    # m² = 2 pT pT' (cosh Δη − cos Δφ), and the vectors' sum gives pT.
    mass = math.sqrt(2 * 100 * 50 * (math.cosh(0.3) - math.cos(0.2)))
    total = math.hypot(*(sum(pt * f(phi) for pt, _, phi in TWO) for f in (math.cos, math.sin)))
    assert found["ln m/pT"] == pytest.approx(math.log(mass / total), abs=1e-4)
    assert found["ln n"] == pytest.approx(math.log(2), abs=1e-5)
    assert found["dispersion"] == pytest.approx(math.hypot(2 / 3, 1 / 3), abs=1e-5)
    assert found["ln e2"] == pytest.approx(math.log(2 / 9 * math.hypot(0.3, 0.2)), abs=1e-5)
    # All momentum is on a line.
    assert found["minor axis"] == pytest.approx(0, abs=5e-3)
    assert found["major axis"] == pytest.approx(math.sqrt(2 / 9) * math.hypot(0.3, 0.2), abs=5e-3)


def test_triples_are_summed_once():
    found = values(jets_of(THREE))
    total = sum(pt for pt, _, _ in THREE)
    sides = [math.hypot(a[1] - b[1], a[2] - b[2]) for a, b in itertools.combinations(THREE, 2)]
    three = math.prod(pt / total for pt, _, _ in THREE) * math.prod(sides)
    assert found["ln D2"] + 3 * found["ln e2"] == pytest.approx(math.log(three), abs=1e-4)


def test_shapes_stay_when_a_jet_is_turned_and_scaled():
    turned = [(3 * pt, eta, phi + 3.1) for pt, eta, phi in THREE]
    torch.testing.assert_close(jet_shape(jets_of(turned)), jet_shape(jets_of(THREE)), atol=1e-3,
                               rtol=0)  # fmt: skip
    longer = jet_shape(jets_of(THREE, length=9, features=torch.zeros(1, 9, 12)))
    torch.testing.assert_close(longer, jet_shape(jets_of(THREE)), atol=1e-5, rtol=0)


def test_features_count_by_momentum():
    features = torch.zeros(1, 6, 12)
    features[0, 1, 3] = 1.0
    found = jet_shape(jets_of(TWO, features))[0, len(SHAPES) :]
    assert found[3] == pytest.approx(SHARES * 50 / 150)
    assert found.count_nonzero() == 1


def test_shares_of_tokens_are_of_what_is_seen():
    jets = jets_of(THREE)
    context = torch.tensor([[True, True, False, False, False, False]])
    found = momentum_shares(jets, context)[0]
    visible = math.hypot(*(sum(pt * f(phi) for pt, _, phi in TWO) for f in (math.cos, math.sin)))
    assert found[2, 0] == pytest.approx((math.log(30 / visible) + 4) / 2, abs=1e-4)
    # Constituents 0 and 2 in one patch, 1 in the other: the first is hidden.
    patches = Patches(torch.tensor([[0, 1, 0, 0, 0, 0]]), torch.tensor([[0, 1]]),
                      torch.tensor([[True, True]]))  # fmt: skip
    found = momentum_shares(jets._replace(patches=patches), torch.tensor([[False, True]]))[0]
    assert found.shape == (2, 3)
    assert found[1, 0] == pytest.approx((0 + 4) / 2, abs=1e-4)
    assert found[0, 2] == pytest.approx(math.log(2))
