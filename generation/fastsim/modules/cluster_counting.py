"""Counts the clusters of ionisation along tracks in a drift chamber (Delphes: ClusterCounting)."""

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from generation.fastsim.card import ModuleConfig
from generation.fastsim.helix import helices, length_in_cylinder, momentum_at_approach
from generation.fastsim.module import EventStore, Module

# Clusters per centimetre of gas at some βγ, as in Delphes.
BETA_GAMMA = (
    0.5, 0.8, 1.0, 2.0, 3.0, 4.0, 5.0, 8.0, 10.0, 12.0, 15.0, 20.0, 50.0, 100.0, 200.0, 500.0,
    1000.0, 10000.0,
)  # fmt: skip
HELIUM_ISOBUTANE = (
    42.94, 23.6, 18.97, 12.98, 12.2, 12.13, 12.24, 12.73, 13.03, 13.29, 13.63, 14.08, 15.56, 16.43,
    16.8, 16.95, 16.98, 16.98,
)  # fmt: skip
HELIUM = (
    11.79, 6.5, 5.23, 3.59, 3.38, 3.37, 3.4, 3.54, 3.63, 3.7, 3.8, 3.92, 4.33, 4.61, 4.78, 4.87,
    4.89, 4.89,
)  # fmt: skip
ARGON_ETHANE = (
    130.04, 71.55, 57.56, 39.44, 37.08, 36.9, 37.25, 38.76, 39.68, 40.49, 41.53, 42.91, 46.8, 48.09,
    48.59, 48.85, 48.93, 48.93,
)  # fmt: skip
ARGON = (
    88.69, 48.93, 39.41, 27.09, 25.51, 25.43, 25.69, 26.78, 27.44, 28.02, 28.77, 29.78, 32.67,
    33.75, 34.24, 34.57, 34.68, 34.68,
)  # fmt: skip
# By the number that a card gives the gas.
GASES = (HELIUM_ISOBUTANE, HELIUM, ARGON_ETHANE, ARGON)


class ClusterCounting(Module):
    """Gives tracks a number of clusters, drawn from a Poisson distribution, and dN/dx per metre.

    Its mean is the density of clusters in the gas at the particle's βγ times the length of its path
    in the chamber. Tracks that do not cross the chamber have none.
    """

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.input = config.text("InputArray", "TrackMerger/tracks")
        self.output = config.text("OutputArray", "tracks")
        self.chamber = tuple(config.number(name, 0.0) for name in ("Rmin", "Rmax", "Zmin", "Zmax"))
        if self.chamber[2:] == (0.0, 0.0):
            raise config.error("Zmin", "and 'Zmax' describe no chamber")
        self.field = config.number("Bz", 0.0)
        if self.field == 0.0:
            raise config.error("Bz", "is 0: tracks have no curvature")
        gas = config.integer("GasOption", 0)
        if not 0 <= gas < len(GASES):
            raise config.error("GasOption", "is not 0, 1, 2 or 3")
        self.gas = GASES[gas]

    def run(self, store: EventStore) -> None:
        """Write clones with the number of clusters."""
        tracks = self.array(store, self.input)
        particles = tracks.origin
        helix = helices(particles, tracks["charge"], self.field)
        length = length_in_cylinder(helix, *self.chamber)
        momentum = np.sqrt(np.sum(momentum_at_approach(helix, self.field) ** 2, axis=0))
        mass = particles["m"]
        beta_gamma = np.divide(momentum, mass, out=np.full_like(mass, np.inf), where=mass > 0.0)
        mean = cluster_density(self.gas, beta_gamma) * length
        clusters = store.rng.poisson(mean).astype(np.float64)
        density = np.divide(clusters, length, out=np.zeros_like(length), where=length > 0.0)
        rows = np.arange(len(tracks))
        self.export(store, self.output, tracks.clone(rows, n_clusters=clusters, dn_dx=density))


def cluster_density(gas: tuple[float, ...], beta_gamma: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the clusters per metre of a gas; 0 where βγ is beyond what is known.

    Parameters
    ----------
    gas
        One of `GASES`.
    beta_gamma
        (n,) momentum over mass.
    """
    known = (beta_gamma > BETA_GAMMA[0]) & (beta_gamma < BETA_GAMMA[-1])
    density = CubicSpline(BETA_GAMMA, gas)(np.where(known, beta_gamma, 1.0))
    return 100.0 * np.where(known, np.maximum(density, 0.0), 0.0)
