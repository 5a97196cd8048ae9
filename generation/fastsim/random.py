"""Random variables that several modules draw."""

import numpy as np
from numpy.typing import NDArray


def log_normal(
    mean: NDArray[np.float64], sigma: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw from log-normal distributions of the given mean and standard deviation.

    Parameters
    ----------
    mean, sigma
        (n,). Where the mean is not positive, the result is 0.
    rng
        Random stream; n normal numbers are drawn from it.

    Returns
    -------
    numpy.ndarray
        (n,) float64.
    """
    positive = mean > 0.0
    safe = np.where(positive, mean, 1.0)
    width2 = np.log1p((sigma / safe) ** 2)
    draw = safe * np.exp(np.sqrt(width2) * rng.standard_normal(len(mean)) - 0.5 * width2)
    return np.where(positive, draw, 0.0)
