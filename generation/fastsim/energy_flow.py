"""What calorimeters have in common: fractions, resolutions, and the sharing with tracks."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from generation.fastsim.candidates import Candidates, reduce_by_event
from generation.fastsim.card import ModuleConfig
from generation.fastsim.formula import Formula
from generation.fastsim.random import log_normal
from generation.fastsim.tower_grid import TowerGrid, numbers
from generation.fastsim.tower_hits import Hits, sum_by_tower

# PDG codes below this one have their energy fractions in a table.
FREQUENT_CODES = 4096

# How close to the largest radius of the event a particle is that has reached the barrel, in mm.
BARREL_TOLERANCE = 1e-6


class EnergyFractions:
    """The fractions of its energy that each species leaves in each depth of a calorimeter.

    Parameters
    ----------
    config
        The module, with `EnergyFraction`: pairs of |PDG code| and fractions; code 0 is all others.
    default
        The fractions of code 0 where the card gives none, one for each depth.
    """

    def __init__(self, config: ModuleConfig, default: tuple[float, ...]) -> None:
        values = config.array("EnergyFraction")
        if len(values) % 2:
            raise config.error("EnergyFraction", "is not made of pairs of code and fraction")
        fractions = {0: list(default)}
        try:
            for code, given in zip(values[::2], values[1::2], strict=True):
                fractions[int(code)] = numbers(given)[: len(default)]
        except (TypeError, ValueError):
            raise config.error(
                "EnergyFraction", "holds something that is neither a code nor a fraction"
            ) from None
        if any(len(given) < len(default) for given in fractions.values()):
            raise config.error("EnergyFraction", f"needs {len(default)} fractions for each code")
        codes = sorted(fractions)
        self._codes = np.array(codes)
        self._fractions = np.array([fractions[code] for code in codes]).T
        self._table = self._look_up(np.arange(FREQUENT_CODES))

    def __call__(self, pid: NDArray[np.int32]) -> NDArray[np.float64]:
        """Return the (depths, n) fractions of particles with the PDG codes `pid`."""
        code = np.abs(pid)
        fractions = self._table[:, np.minimum(code, FREQUENT_CODES - 1)]
        rare = np.flatnonzero(code >= FREQUENT_CODES)
        fractions[:, rare] = self._look_up(code[rare])
        return fractions

    def _look_up(self, code: NDArray[np.int64]) -> NDArray[np.float64]:
        place = np.minimum(np.searchsorted(self._codes, code), len(self._codes) - 1)
        return self._fractions[:, np.where(self._codes[place] == code, place, 0)]


@dataclass(frozen=True)
class Compartment:
    """One depth of a calorimeter.

    Attributes
    ----------
    grid
        Its towers.
    resolution
        Formula of (eta, energy): the standard deviation of the measured energy, GeV.
    energy_min
        Least energy that is seen, GeV.
    significance_min
        Least energy that is seen, in units of its resolution.
    """

    grid: TowerGrid
    resolution: Formula
    energy_min: float
    significance_min: float

    def measure(
        self, cell: NDArray[np.int64], true: NDArray[np.float64], rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the measured energy of each tower and its resolution.

        Parameters
        ----------
        cell
            (n,) number of each tower in the grid.
        true
            (n,) energy left in it, GeV.
        rng
            Random stream.
        """
        energy, sigma = np.zeros(len(cell)), np.zeros(len(cell))
        # A tower that only tracks have crossed measures nothing, and nothing is its resolution.
        hit = np.flatnonzero(true > 0.0)
        eta, true = self.grid.eta_centre[cell[hit]], true[hit]
        drawn = log_normal(true, self.sigma(eta, true), rng)
        resolution = self.sigma(eta, drawn)
        below = (drawn < self.energy_min) | (drawn < self.significance_min * resolution)
        energy[hit] = np.where(below, 0.0, drawn)
        sigma[hit] = resolution
        return energy, sigma

    def sigma(self, eta: NDArray[np.float64], energy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the resolution for energies at the towers' centres in η."""
        given: dict[str, Any] = {"eta": eta, "energy": energy}
        values = {name: given.get(name, 0.0) for name in self.resolution.names}
        return np.broadcast_to(self.resolution(**values), len(eta))

    def track_sums(
        self,
        cell: NDArray[np.int64],
        tower: NDArray[np.int64],
        full: NDArray[np.float64],
        fraction: NDArray[np.float64],
        resolution: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the energy that tracks leave in each tower, and its variance.

        Parameters
        ----------
        cell
            (n_towers,) number of each tower in the grid.
        tower
            (n,) tower of each track that showers here.
        full, fraction
            (n,) its energy, GeV, and the fraction of it that it leaves here.
        resolution
            (n,) its relative resolution.
        """
        energy = full * fraction
        variance = np.zeros_like(energy)
        # A track of resolution zero adds nothing; after TrackSmearing that is often all of them.
        known = np.flatnonzero(resolution > 0.0)
        eta = self.grid.eta_centre[cell[tower[known]]]
        coarse = self.sigma(eta, full[known]) < resolution[known] * full[known]
        guess = np.where(coarse, energy[known], full[known])
        variance[known] = (resolution[known] * guess) ** 2
        return sum_by_tower(tower, energy, len(cell)), sum_by_tower(tower, variance, len(cell))

    def share(
        self,
        energy: NDArray[np.float64],
        sigma: NDArray[np.float64],
        track_energy: NDArray[np.float64],
        track_sigma2: NDArray[np.float64],
    ) -> "Sharing":
        """Return how the energy of each tower is shared with the tracks that shower in it."""
        neutral = np.maximum(energy - track_energy, 0.0)
        spread = np.sqrt(track_sigma2 + sigma**2)
        excess = (neutral > self.energy_min) & (neutral > self.significance_min * spread)
        combined = combined_scale(energy, sigma, track_energy, track_sigma2)
        return Sharing(neutral, excess, np.where(excess, 1.0, combined))


@dataclass(frozen=True)
class Sharing:
    """How towers and tracks share the energy.

    Attributes
    ----------
    neutral
        (n_towers,) energy beyond that of the tracks, GeV.
    excess
        (n_towers,) whether it is significant: then it becomes a neutral tower.
    scale
        (n_towers,) factor for the tracks: 1 beside an excess, else the combination of both
        measurements.
    """

    neutral: NDArray[np.float64]
    excess: NDArray[np.bool_]
    scale: NDArray[np.float64]


def combined_scale(
    energy: NDArray[np.float64],
    sigma: NDArray[np.float64],
    track_energy: NDArray[np.float64],
    track_sigma2: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the combination of tower and track energy, as a factor of the track energy.

    Tracks without a resolution have no weight in Delphes: the tower decides alone, and where it
    is below threshold the tracks have no momentum left. Where nothing has a resolution, the tracks
    stay as they are (Delphes divides zero by zero).
    """
    weight_track = np.divide(1.0, track_sigma2, out=np.zeros_like(sigma), where=track_sigma2 > 0.0)
    weight_tower = np.divide(1.0, sigma**2, out=np.zeros_like(sigma), where=sigma > 0.0)
    total = (weight_track + weight_tower) * track_energy
    best = weight_track * track_energy + weight_tower * energy
    return np.divide(best, total, out=np.ones_like(sigma), where=total > 0.0)


def scaled_tracks(
    tracks: Candidates, rows: NDArray[np.int64], factor: NDArray[np.float64]
) -> Candidates:
    """Return clones of the tracks `rows`, their momenta multiplied; the masses stay."""
    px, py, pz, e = (tracks[name][rows] for name in ("px", "py", "pz", "e"))
    mass = tracks["m"][rows]
    changed = factor != 1.0
    px, py, pz = px * factor, py * factor, pz * factor
    e[changed] = np.sqrt(px**2 + py**2 + pz**2 + mass**2)[changed]
    pt = tracks["pt"][rows] * factor
    return tracks.clone(rows, px=px, py=py, pz=pz, e=e, pt=pt, m=mass)


def make_towers(
    grid: TowerGrid,
    hits: Hits,
    rows: NDArray[np.int64],
    energy: NDArray[np.float64],
    particles: Candidates,
    centres: NDArray[np.float64],
    **columns: NDArray,
) -> Candidates:
    """Return towers as candidates.

    Parameters
    ----------
    grid, hits
        All towers, and those that were hit.
    rows
        (n,) rows of the towers in `hits`.
    energy
        (n,) measured energy, GeV.
    particles
        What has reached the calorimeter.
    centres
        (2, n) where in η and φ the towers are put, as a fraction of the way between their edges.
    columns
        Further columns, such as the energies by depth.
    """
    cell = hits.cell[rows]
    eta = grid.eta_low[cell] + centres[0] * (grid.eta_high - grid.eta_low)[cell]
    phi = grid.phi_low[cell] + centres[1] * (grid.phi_high - grid.phi_low)[cell]
    cosine, sine, sinh = np.cos(phi), np.sin(phi), np.sinh(eta)
    pt = energy / np.sqrt(1.0 + sinh**2)
    r = _radius(hits, rows, particles, sinh)
    towers = Candidates(
        # Only ascending rows of each event are kept.
        np.searchsorted(rows, hits.offsets),
        {
            "pid": np.zeros(len(rows), np.int32),
            "charge": np.zeros(len(rows), np.int32),
            "px": pt * cosine,
            "py": pt * sine,
            "pz": pt * sinh,
            "e": energy,
            "pt": pt,
            "eta": eta,
            "phi": phi,
            "m": np.zeros_like(energy),
            "x": r * cosine,
            "y": r * sine,
            "z": r * sinh,
            "position_eta": eta,
            "position_phi": phi,
            "path_length": np.abs(r) * np.sqrt(1.0 + sinh**2),
            "edge_eta_min": grid.eta_low[cell],
            "edge_eta_max": grid.eta_high[cell],
            "edge_phi_min": grid.phi_low[cell],
            "edge_phi_max": grid.phi_high[cell],
        }
        | columns,
    )
    row_of_tower = np.full(len(hits.cell), -1)
    row_of_tower[rows] = np.arange(len(rows))
    owner = row_of_tower[hits.particle_tower]
    inside = owner >= 0
    towers.parts = particles.at(hits.particle[inside]), owner[inside]
    return towers


def neutral_towers(
    towers: Candidates,
    rows: NDArray[np.int64],
    energy: NDArray[np.float64],
    e_em: NDArray[np.float64],
    e_had: NDArray[np.float64],
    **columns: NDArray,
) -> Candidates:
    """Return clones of the towers `rows` with the energy that no track explains.

    Parameters
    ----------
    towers
        The towers.
    rows
        (n,) which of them.
    energy, e_em, e_had
        (n,) this energy, and what of it belongs to each depth, GeV.
    columns
        Further columns.
    """
    share = energy / towers["e"][rows]
    momentum = {name: towers[name][rows] * share for name in ("px", "py", "pz", "pt")}
    return towers.clone(
        rows,
        **momentum,
        e=energy,
        m=np.zeros_like(energy),
        eta=towers["eta"][rows],
        phi=towers["phi"][rows],
        e_em=e_em,
        e_had=e_had,
        **columns,
    )


def _radius(
    hits: Hits, rows: NDArray[np.int64], particles: Candidates, sinh: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how far from the beam each tower is: on the surface its last particle has hit."""
    radius = particles["position_r"]
    last = hits.last_particle[rows]
    outer = reduce_by_event(np.maximum, radius, particles.offsets)
    event = np.searchsorted(hits.offsets, rows, side="right") - 1
    r = radius[last]
    end_cap = (np.abs(r - outer[event]) > BARREL_TOLERANCE) & (sinh != 0.0)
    r[end_cap] = particles["z"][last[end_cap]] / sinh[end_cap]
    return r
