"""The segmentation of a calorimeter: rings in η, each with its own edges in φ."""

import math

import numpy as np
from numpy.typing import NDArray

from generation.fastsim.kernels import kernel

# Cells of the table that gives a first guess of the ring.
GUESSES = 2048


class TowerGrid:
    """Towers between consecutive η edges and, in each ring, consecutive φ edges.

    As in Delphes, the φ edges of a ring are those given with its upper η edge, and a tower holds
    its upper edges: (low, high].

    Parameters
    ----------
    edges
        η edge to the φ edges given with it; both in any order.

    Attributes
    ----------
    n_towers
        Number of towers; they are numbered ring by ring with rising η, then with rising φ.
    eta_low, eta_high, phi_low, phi_high, eta_centre
        (n_towers,) float64 edges of each tower, and the middle of its edges in η.
    """

    def __init__(self, edges: dict[float, set[float]]) -> None:
        self.eta_edges = np.array(sorted(edges))
        rings = [np.array(sorted(edges[eta])) for eta in self.eta_edges]
        self.phi_start = np.cumsum([0, *(len(ring) for ring in rings)])
        self.phi_edges = np.concatenate(rings)
        sizes = [0, *(len(ring) - 1 for ring in rings[1:])]
        self.first_tower = np.cumsum([0, *sizes])[:-1]
        self.n_towers = int(sum(sizes))

        ring_of_tower = np.repeat(np.arange(len(rings)), sizes)
        self.eta_low = self.eta_edges[ring_of_tower - 1]
        self.eta_high = self.eta_edges[ring_of_tower]
        self.phi_low = np.concatenate([ring[:-1] for ring in rings[1:]])
        self.phi_high = np.concatenate([ring[1:] for ring in rings[1:]])

        self.eta_centre = 0.5 * (self.eta_low + self.eta_high)

        self.guess_scale = GUESSES / (self.eta_edges[-1] - self.eta_edges[0])
        starts = self.eta_edges[0] + np.arange(GUESSES) / self.guess_scale
        self.guess = np.searchsorted(self.eta_edges, starts)

    def find(
        self,
        x: NDArray[np.float64],
        y: NDArray[np.float64],
        z: NDArray[np.float64],
        wanted: NDArray[np.bool_],
    ) -> NDArray[np.int32]:
        """Return the number of the tower that each point lies in.

        Parameters
        ----------
        x, y, z
            (n,) points.
        wanted
            (n,) which of them matter.

        Returns
        -------
        numpy.ndarray
            (n,) int32; -1 outside and for points that do not matter.
        """
        towers = np.full(len(x), -1, np.int32)
        _find(
            x, y, z, wanted, self.eta_edges, self.guess, self.guess_scale,
            self.phi_start, self.phi_edges, self.first_tower, towers,
        )  # fmt: skip
        return towers


@kernel()
def _find(
    x, y, z, wanted, eta_edges, guess, guess_scale, phi_start, phi_edges, first_tower, towers
):
    """Fill the tower of each point that has one."""
    lowest, highest = eta_edges[0], eta_edges[-1]
    # Most particles of a hadron collision are outside: sort them out without a logarithm.
    steepest, flattest = math.sinh(lowest) - 1e-9, math.sinh(highest) + 1e-9
    for i in range(len(x)):
        if not wanted[i]:
            continue
        r = math.sqrt(x[i] * x[i] + y[i] * y[i])
        if not (r > 0.0 and steepest * r <= z[i] <= flattest * r):
            continue
        eta = math.asinh(z[i] / r)
        if not (lowest < eta <= highest):
            continue
        ring = guess[min(int((eta - lowest) * guess_scale), len(guess) - 1)]
        while eta_edges[ring] < eta:
            ring += 1
        while eta_edges[ring - 1] >= eta:
            ring -= 1
        phi = math.atan2(y[i], x[i])
        first, last = phi_start[ring], phi_start[ring + 1] - 1
        if not (phi_edges[first] < phi <= phi_edges[last]):
            continue
        # Edges are usually equidistant: the guess is right or next to right.
        scale = (last - first) / (phi_edges[last] - phi_edges[first])
        edge = first + min(int((phi - phi_edges[first]) * scale) + 1, last - first)
        while phi_edges[edge] < phi:
            edge += 1
        while phi_edges[edge - 1] >= phi:
            edge -= 1
        towers[i] = first_tower[ring] + edge - first - 1
