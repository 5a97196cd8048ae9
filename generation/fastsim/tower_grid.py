"""The segmentation of a calorimeter: rings in η, each with its own edges in φ."""

import math
from collections.abc import Mapping, Set
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from generation.fastsim.card import ModuleConfig, Plain
from generation.fastsim.kernels import kernel

# Cells of the table that gives a first guess of the ring.
GUESSES = 2048


def read_grid(config: ModuleConfig) -> "TowerGrid":
    """Return the towers of a module's `EtaPhiBins`.

    That is a list of pairs: one or several edges in η, and the edges in φ that each of them gets.
    As in Delphes, a number in place of the list of φ edges is a single edge, not a number of
    towers, and a ring with a single edge has no towers.
    """
    values = config.array("EtaPhiBins")
    if not values or len(values) % 2:
        raise config.error("EtaPhiBins", "is not made of pairs of eta and phi edges")
    # Fine grids repeat a list of thousands of edges thousands of times: read it once.
    known: dict[int, frozenset[float]] = {}
    edges: dict[float, frozenset[float]] = {}
    for etas, phis in zip(values[::2], values[1::2], strict=True):
        try:
            if id(phis) not in known:
                known[id(phis)] = frozenset(numbers(phis))
            ring = known[id(phis)]
            for eta in numbers(etas):
                edges[eta] = edges[eta] | ring if eta in edges else ring
        except ValueError:
            raise config.error("EtaPhiBins", "holds something that is not a number") from None
    if len(edges) < 2:
        raise config.error("EtaPhiBins", "needs two edges in eta at least")
    return TowerGrid(edges)


def read_insensitive(config: ModuleConfig, grid: "TowerGrid") -> NDArray[np.bool_] | None:
    """Return which towers `InsensitiveEtaPhiBins` switches off, (n_towers,); None without any.

    That is a list of pairs, an edge in η and one in φ. Each switches off the tower whose upper
    edges are closest to them.
    """
    pairs = config.array("InsensitiveEtaPhiBins")
    if not pairs:
        return None
    insensitive = np.zeros(grid.n_towers, bool)
    try:
        values = np.array([numbers(pair)[:2] for pair in pairs], np.float64).reshape(-1, 2)
    except ValueError:
        raise config.error("InsensitiveEtaPhiBins", "is not made of pairs of edges") from None
    rings = _closest(grid.eta_edges, values[:, 0])
    for ring in np.unique(rings[rings > 0]):
        edges = grid.phi_edges[grid.phi_start[ring] : grid.phi_stop[ring]]
        upper = _closest(edges, values[rings == ring, 1])
        insensitive[grid.first_tower[ring] + upper[upper > 0] - 1] = True
    return insensitive


def _closest(edges: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the number of the edge closest to each value, the lower of two."""
    upper = np.clip(np.searchsorted(edges, values), 1, len(edges) - 1)
    nearer_below = values - edges[upper - 1] <= edges[upper] - values
    return upper - nearer_below


def numbers(value: Plain) -> list[float]:
    """Return a number or a list of numbers of a card as a list; all of them are finite."""
    found = [float(item) for item in value] if isinstance(value, list) else [float(value)]
    if not all(map(math.isfinite, found)):
        raise ValueError("a number that is not finite")
    return found


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
        (n_towers,) float64 edges of each tower, and the middle of its edges in η. Made when asked
        for: the finest grids have tens of millions of towers.
    """

    def __init__(self, edges: Mapping[float, Set[float]]) -> None:
        self.eta_edges = np.array(sorted(edges))
        # Rings mostly share their edges in φ, and then their place in `phi_edges`.
        kinds: dict[frozenset[float], int] = {}
        kind = np.array([kinds.setdefault(frozenset(edges[e]), len(kinds)) for e in self.eta_edges])
        rings = [np.array(sorted(phis), dtype=np.float64) for phis in kinds]
        ends = np.cumsum([len(ring) for ring in rings])
        self.phi_edges = np.concatenate(rings)
        self.phi_stop = ends[kind]
        self.phi_start = self.phi_stop - np.array([len(ring) for ring in rings])[kind]
        self.sizes = np.maximum(self.phi_stop - self.phi_start - 1, 0)
        self.sizes[0] = 0
        self.first_tower = np.cumsum(self.sizes) - self.sizes
        self.n_towers = int(self.sizes.sum())

        self.guess_scale = GUESSES / (self.eta_edges[-1] - self.eta_edges[0])
        starts = self.eta_edges[0] + np.arange(GUESSES) / self.guess_scale
        self.guess = np.searchsorted(self.eta_edges, starts)

    @cached_property
    def _ring(self) -> NDArray[np.int64]:
        """The ring of each tower: the number of its upper edge in η."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    @cached_property
    def _phi_edge(self) -> NDArray[np.int64]:
        """Where the lower edge in φ of each tower stands in `phi_edges`."""
        return np.arange(self.n_towers) + (self.phi_start - self.first_tower)[self._ring]

    @cached_property
    def eta_low(self) -> NDArray[np.float64]:  # noqa: D102
        return self.eta_edges[self._ring - 1]

    @cached_property
    def eta_high(self) -> NDArray[np.float64]:  # noqa: D102
        return self.eta_edges[self._ring]

    @cached_property
    def eta_centre(self) -> NDArray[np.float64]:  # noqa: D102
        return 0.5 * (self.eta_low + self.eta_high)

    @cached_property
    def phi_low(self) -> NDArray[np.float64]:  # noqa: D102
        return self.phi_edges[self._phi_edge]

    @cached_property
    def phi_high(self) -> NDArray[np.float64]:  # noqa: D102
        return self.phi_edges[self._phi_edge + 1]

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
            self.phi_start, self.phi_stop, self.phi_edges, self.first_tower, towers,
        )  # fmt: skip
        return towers


@kernel()
def _find(
    x, y, z, wanted, eta_edges, guess, guess_scale,
    phi_start, phi_stop, phi_edges, first_tower, towers,
):  # fmt: skip
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
        cell = int((eta - lowest) * guess_scale)
        ring = guess[cell] if cell < len(guess) else guess[-1]
        while eta_edges[ring] < eta:
            ring += 1
        while eta_edges[ring - 1] >= eta:
            ring -= 1
        phi = math.atan2(y[i], x[i])
        first, last = phi_start[ring], phi_stop[ring] - 1
        # A ring may have no edges at all.
        if first > last or not (phi_edges[first] < phi <= phi_edges[last]):
            continue
        # Edges are usually equidistant: the guess is right or next to right.
        scale = (last - first) / (phi_edges[last] - phi_edges[first])
        edge = first + int((phi - phi_edges[first]) * scale) + 1
        edge = edge if edge < last else last
        while phi_edges[edge] < phi:
            edge += 1
        while phi_edges[edge - 1] >= phi:
            edge -= 1
        towers[i] = first_tower[ring] + edge - first - 1
