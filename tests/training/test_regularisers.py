"""Terms against collapse: what they are for known clouds of points."""

import numpy as np
import pytest
import torch

from training.models.regularisers import effective_rank, sliced_gaussian, variance_covariance


def cloud(rows=4096, width=8, seed=0):
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))


def test_a_gaussian_is_what_both_want():
    torch.manual_seed(0)
    good = cloud()
    wrong = {"collapsed": 0 * good, "wide": 3 * good, "flat": good[:, :1].expand(-1, 8)}
    for term in (variance_covariance, lambda x: sliced_gaussian(x, 256, 17)):
        least = term(good)
        assert all(term(x) > 10 * least for name, x in wrong.items() if name != "wide")
    # A cloud that is too wide has no small variance, but is no standard Gaussian.
    assert sliced_gaussian(3 * good, 256, 17) > 10 * sliced_gaussian(good, 256, 17)


def test_terms_pull_a_collapsed_cloud_apart():
    for term in (variance_covariance, lambda x: sliced_gaussian(x, 64, 17)):
        torch.manual_seed(1)
        x = (0.01 * cloud(256)).requires_grad_()
        optimizer = torch.optim.Adam([x], 0.05)
        for _ in range(100):
            optimizer.zero_grad()
            term(x).backward()
            optimizer.step()
        assert x.std(dim=0).min() > 0.5


def test_the_statistic_is_that_of_epps_and_pulley():
    torch.manual_seed(2)
    x = torch.full((50, 1), 0.7)
    # All points at 0.7: the integral of |exp(0.7 i t) - g(t)|² g(t) over both halves of the axis,
    # of which the tail beyond 3 is left out.
    t = np.linspace(0, 3, 20001)
    g = np.exp(-(t**2) / 2)
    integrand = ((np.cos(0.7 * t) - g) ** 2 + np.sin(0.7 * t) ** 2) * g
    assert float(sliced_gaussian(x, 4, 17)) == pytest.approx(
        2 * 50 * np.trapezoid(integrand, t), rel=1e-2
    )


def test_effective_rank_counts_directions():
    assert float(effective_rank(cloud(20000, 8))) == pytest.approx(8, rel=0.01)
    basis = torch.linalg.qr(cloud(32, 32))[0][:3]
    assert float(effective_rank(cloud(20000, 3) @ basis)) == pytest.approx(3, rel=0.01)
    shifted = 100 + torch.zeros(50, 16) + 1e-6 * cloud(50, 16)
    assert float(effective_rank(shifted)) == pytest.approx(1, abs=0.05)
    assert float(effective_rank(torch.ones(50, 16))) == pytest.approx(1)
