"""Terms that keep embeddings of a batch apart from each other; in 32 bits."""

import torch
from torch import Tensor
from torch.nn import functional

EPSILON = 1e-4
LAST_KNOT = 3.0


def variance_covariance(embeddings: Tensor, real: Tensor | None = None) -> Tensor:
    """Return how far (B, D) is from unit variances and vanishing covariances.

    The two terms of arXiv:2105.04906: the mean shortfall of the standard deviations from one, and
    the sum of the squared covariances over D. Rows count of which `real`, (B,), is true.
    """
    real = _all(embeddings) if real is None else real
    rows, counted = real.sum().clamp(min=1), real[:, None]
    x = torch.where(counted, embeddings.float(), 0)
    centred = torch.where(counted, x - x.sum(dim=0) / rows, 0)
    others = (rows - 1).clamp(min=1)
    deviation = (centred.square().sum(dim=0) / others + EPSILON).sqrt()
    covariance = centred.T @ centred / others
    mixed = covariance.square().sum() - covariance.diagonal().square().sum()
    return functional.relu(1 - deviation).mean() + mixed / x.shape[1]


def sliced_gaussian(
    embeddings: Tensor, slices: int, knots: int, real: Tensor | None = None
) -> Tensor:
    """Return how far (B, D) is from a standard Gaussian along random directions.

    The statistic of Epps and Pulley, which compares characteristic functions with a Gaussian
    weight, at `knots` points from 0 to 3, averaged over `slices` directions (arXiv:2511.08544).
    Rows count of which `real`, (B,), is true.
    """
    x = embeddings.float()
    real = _all(embeddings) if real is None else real
    rows, counted = real.sum().clamp(min=1), real[:, None, None]
    directions = functional.normalize(torch.randn(x.shape[1], slices, device=x.device), dim=0)
    points = torch.linspace(0, LAST_KNOT, knots, device=x.device)
    gaussian = torch.exp(-points.square() / 2)
    phases = (x @ directions)[..., None] * points
    even, odd = (
        torch.where(counted, wave, 0).sum(dim=0) / rows for wave in (phases.cos(), phases.sin())
    )
    distance = ((even - gaussian).square() + odd.square()) * gaussian
    # The integrand is even: both halves of the axis.
    return 2 * rows * torch.trapezoid(distance, points, dim=1).mean()


def _all(embeddings: Tensor) -> Tensor:
    return torch.ones(len(embeddings), dtype=torch.bool, device=embeddings.device)


def effective_rank(embeddings: Tensor) -> Tensor:
    """Return the exponential of the entropy of the variances' shares along principal axes.

    Of (B, D) embeddings, between 1 and min(B - 1, D). Where all are equal it is 1.
    """
    centred = embeddings.double() - embeddings.double().mean(dim=0)
    variances = torch.linalg.svdvals(centred).square() / len(centred)
    # Rounding noise of equal embeddings spreads over all axes.
    floor = torch.finfo(torch.float32).eps ** 2 * embeddings.double().square().mean()
    variances = torch.where(variances > floor, variances, 0)
    share = variances / variances.sum().clamp(min=1e-300)
    return torch.special.entr(share).sum().exp()
