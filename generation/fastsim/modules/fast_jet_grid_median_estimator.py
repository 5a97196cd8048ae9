"""Measures the energy density of pile-up (Delphes: FastJetGridMedianEstimator)."""

import math

import numpy as np
from numpy.typing import NDArray

from generation.fastsim.candidates import Candidates
from generation.fastsim.card import ModuleConfig
from generation.fastsim.kernels import kernel
from generation.fastsim.module import EventStore, Module
from substructure.recombination import rapidity

# Of a range.
MOST_CELLS = 10_000_000


class FastJetGridMedianEstimator(Module):
    """Takes ρ, in each range of rapidity, as the median pT per area over the cells of a grid."""

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.input = config.text("InputArray", "Calorimeter/towers")
        self.output = config.text("RhoOutputArray", "rho")
        values = config.array("GridRange")
        try:
            self.ranges = np.array(values, dtype=np.float64).reshape(-1, 4)
        except (TypeError, ValueError):
            raise config.error(
                "GridRange", "is not made of lowest and highest rapidity and two cell sizes"
            ) from None
        low, high, step, turn = self.ranges.T
        if not np.all((high > low) & (step > 0) & (turn > 0)):
            raise config.error("GridRange", "has an empty range or a cell without size")
        if not np.all((high - low) / step * 2.0 * np.pi / turn < MOST_CELLS):
            raise config.error("GridRange", f"has more than {MOST_CELLS} cells in a range")

    def run(self, store: EventStore) -> None:
        """Write one candidate for each event and range, with ρ as its pT and energy."""
        candidates = self.array(store, self.input)
        momenta = np.stack([candidates[name] for name in ("px", "py", "pz", "e")], axis=1)
        rho = np.stack(
            [_median_density(momenta, candidates.offsets, *limits) for limits in self.ranges],
            axis=1,
        )
        self.export(store, self.output, density_candidates(rho, self.ranges[:, :2]))


def density_candidates(rho: NDArray[np.float64], ranges: NDArray[np.float64]) -> Candidates:
    """Return one candidate for each event and range, with ρ as its pT and energy.

    Parameters
    ----------
    rho
        (n_events, k) energy densities.
    ranges
        (k, 2) the ranges in which they hold: the candidates' edges in η.
    """
    low, high = np.tile(ranges, (len(rho), 1)).T
    offsets = np.arange(len(rho) + 1, dtype=np.int64) * len(ranges)
    rho = rho.reshape(-1)
    zero = np.zeros_like(rho)
    columns = {"px": rho, "py": zero, "pz": zero, "e": rho}
    return Candidates(offsets, columns | {"edge_eta_min": low, "edge_eta_max": high})


@kernel()
def _median_density(momenta, offsets, low, high, step, turn):
    """Return the median scalar pT per area over FastJet's RectangularGrid, for each event."""
    n_rapidity = max(int((high - low) / step + 0.5), 1)
    n_azimuth = max(int(2.0 * math.pi / turn + 0.5), 1)
    area = (high - low) / n_rapidity * 2.0 * math.pi / n_azimuth
    densities = np.zeros(len(offsets) - 1)
    cells = np.empty(n_rapidity * n_azimuth)
    for event in range(len(densities)):
        cells[:] = 0.0
        for i in range(offsets[event], offsets[event + 1]):
            px, py, pz, e = momenta[i]
            row = math.floor((rapidity(px, py, pz, e) - low) * n_rapidity / (high - low))
            if 0 <= row < n_rapidity:
                azimuth = math.atan2(py, px) / (2.0 * math.pi) % 1.0
                column = min(int(azimuth * n_azimuth), n_azimuth - 1)
                cells[int(row) * n_azimuth + column] += math.hypot(px, py)
        densities[event] = np.median(cells) / area
    return densities
