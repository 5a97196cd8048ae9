"""N-subjettiness (arXiv:1011.2268): how well N axes describe a jet."""

import math

import numpy as np
from numpy.typing import NDArray

from substructure.kernels import kernel
from substructure.recombination import EVERYTHING, KT, Clusterings, cluster, distance2

# fjcontrib: OnePass axes stop after so many steps, or when the axes move less than this (mean ΔR).
AXES_STEPS = 1000
AXES_ACCURACY = 1e-4


def n_subjettiness(
    constituents: NDArray[np.float64],
    offsets: NDArray[np.int64],
    n_max: int,
    radius: float,
    beta: float,
    minimise: bool,
) -> NDArray[np.float64]:
    """Return τ₁, τ₂, … of jets with exclusive kT axes and the normalised measure.

    Parameters
    ----------
    constituents, offsets
        (n, 4) px, py, pz, E in GeV of the constituents of all jets, and the rows of each jet.
    n_max
        Largest number of axes.
    radius, beta
        Of the measure: τ = Σ pT min(ΔR)^beta / (Σ pT radius^beta).
    minimise
        Whether the axes are moved to the next minimum of τ (one pass, arXiv:1108.2701).

    Returns
    -------
    numpy.ndarray
        (jets, n_max) float64; 0 where there are not more constituents than axes.
    """
    history = cluster(constituents, offsets, KT, EVERYTHING)
    pt = np.hypot(history.momenta[:, 0], history.momenta[:, 1])
    stop = history.start + history.members
    taus = np.zeros((len(stop), n_max))
    axes = np.empty((len(stop), n_max), np.int64)
    for n_axes in range(1, n_max + 1):
        jets = np.flatnonzero(history.members > n_axes)
        _add_axis(history, jets, n_axes, axes)
        chosen, measured = axes[jets, :n_axes], np.empty(len(jets))
        _measure(
            history.rapidity, history.azimuth, pt, history.start[jets], stop[jets],
            history.rapidity[chosen], history.azimuth[chosen], np.zeros((3, n_axes)), beta,
            AXES_STEPS if minimise else 0, measured,
        )  # fmt: skip
        taus[jets, n_axes - 1] = measured
    owner = np.repeat(np.arange(len(stop)), history.members)
    total = np.bincount(
        owner, np.hypot(constituents[:, 0], constituents[:, 1]), minlength=len(stop)
    )
    return taus / np.maximum(total * radius**beta, 1e-300)[:, None]


def _add_axis(
    history: Clusterings, jets: NDArray[np.int64], n_axes: int, axes: NDArray[np.int64]
) -> None:
    """Make the `n_axes` exclusive kT jets of each jet out of one less, in place.

    Undoing the last recombination, whose node has the highest number, leaves one more.
    """
    if n_axes == 1:
        axes[jets, 0] = history.end[jets] - 1
        return
    latest = axes[jets, : n_axes - 1].argmax(axis=1)
    parents = history.parents[axes[jets, latest]]
    axes[jets, latest], axes[jets, n_axes - 1] = parents.T


@kernel()
def _measure(rap, phi, pt, start, stop, axis_rap, axis_phi, sums, beta, steps, measured):
    """Measure Σ pT min(ΔR)^beta of each jet, after moving its axes to a minimum of that.

    A step moves each axis to the weighted mean of the points nearest to it (arXiv:1108.2701,
    section 3). `sums` is working memory, zero: rapidity, azimuth and weight of each axis.
    """
    n_axes = axis_rap.shape[1]
    for jet in range(len(start)):
        total, left = 0.0, steps
        while True:
            for i in range(start[jet], stop[jet]):
                near, shortest = 0, math.inf
                for k in range(n_axes):
                    square = distance2(axis_rap[jet, k], axis_phi[jet, k], rap[i], phi[i])
                    if square < shortest:
                        near, shortest = k, square
                if left == 0:
                    total += pt[i] * (
                        math.sqrt(shortest) if beta == 1.0 else shortest ** (0.5 * beta)
                    )
                    continue
                weight = AXES_ACCURACY * AXES_ACCURACY + shortest
                if beta == 1.0:
                    weight = pt[i] / math.sqrt(weight)
                else:
                    weight = pt[i] * weight ** (0.5 * beta - 1.0)
                azimuth = phi[i]
                if azimuth - axis_phi[jet, near] > math.pi:
                    azimuth -= 2.0 * math.pi
                elif azimuth - axis_phi[jet, near] < -math.pi:
                    azimuth += 2.0 * math.pi
                sums[0, near] += weight * rap[i]
                sums[1, near] += weight * azimuth
                sums[2, near] += weight
            if left == 0:
                break
            left -= 1
            moved = 0.0
            for k in range(n_axes):
                if sums[2, k] != 0.0:  # or no point is nearest to this axis
                    x, y = sums[0, k] / sums[2, k], sums[1, k] / sums[2, k]
                    y = (y + 2.0 * math.pi) % (2.0 * math.pi)
                    moved += math.sqrt(distance2(axis_rap[jet, k], axis_phi[jet, k], x, y))
                    axis_rap[jet, k], axis_phi[jet, k] = x, y
                sums[0, k] = sums[1, k] = sums[2, k] = 0.0
            if moved / n_axes <= AXES_ACCURACY:
                left = 0
        measured[jet] = total
