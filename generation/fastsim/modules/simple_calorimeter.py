"""Towers and energy flow of one calorimeter (Delphes: SimpleCalorimeter)."""

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from generation.fastsim.candidates import Candidates
from generation.fastsim.card import ModuleConfig
from generation.fastsim.module import EventStore, Module
from generation.fastsim.random import log_normal
from generation.fastsim.tower_grid import TowerGrid

# Smallest energy fraction that counts as a deposit.
FRACTION_MIN = 1e-9

ELECTRON, PHOTON = 11, 22


class SimpleCalorimeter(Module):
    """Sums the energy of particles in towers, smears it, and shares it with the tracks.

    A tower's energy is drawn from a log-normal; below `EnergyMin` or `EnergySignificanceMin`
    times its resolution it is zero. Where it exceeds the energy of the tracks that shower here
    significantly, the excess becomes a neutral tower and the tracks stay as they are; otherwise
    the tracks are scaled to the combination of both measurements. Tracks that leave no energy
    here pass.
    """

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.particles = config.text("ParticleInputArray", "ParticlePropagator/particles")
        self.tracks = config.text("TrackInputArray", "ParticlePropagator/tracks")
        self.tower_output = config.text("TowerOutputArray", "towers")
        self.track_output = config.text("EFlowTrackOutputArray", "eflowTracks")
        self.neutral_output = config.text("EFlowTowerOutputArray", "eflowTowers")
        self.energy_min = config.number("EnergyMin", 0.0)
        self.significance_min = config.number("EnergySignificanceMin", 0.0)
        self.is_ecal = config.flag("IsEcal", False)
        self.smear_centre = config.flag("SmearTowerCenter", True)
        self.resolution = self.formula("ResolutionFormula", "0")
        self.grid = self._grid()
        self.codes, self.fractions = self._energy_fractions()

    def _grid(self) -> TowerGrid:
        values = self.config.array("EtaPhiBins")
        if not values or len(values) % 2:
            raise self.config.error("EtaPhiBins", "is not made of pairs of eta and phi edges")
        edges: dict[float, set[float]] = {}
        for eta, phi in zip(values[::2], values[1::2], strict=True):
            for edge in _numbers(eta):
                edges.setdefault(edge, set()).update(_numbers(phi))
        if len(edges) < 2 or any(len(phi) < 2 for phi in edges.values()):
            raise self.config.error("EtaPhiBins", "needs two edges in eta and two in phi at least")
        return TowerGrid(edges)

    def _energy_fractions(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the listed |PDG codes|, sorted, and their fractions; code 0 is all others."""
        values = self.config.array("EnergyFraction")
        if len(values) % 2:
            raise self.config.error("EnergyFraction", "is not made of pairs of code and fraction")
        fractions = {0: 1.0}
        for code, fraction in zip(values[::2], values[1::2], strict=True):
            fractions[int(code)] = float(_numbers(fraction)[0])
        codes = sorted(fractions)
        return np.array(codes), np.array([fractions[code] for code in codes])

    def _fraction(self, pid: NDArray) -> NDArray[np.float64]:
        """Return the fraction of its energy that each particle leaves here."""
        code = np.abs(pid)
        place = np.minimum(np.searchsorted(self.codes, code), len(self.codes) - 1)
        other = self.fractions[np.searchsorted(self.codes, 0)]
        return np.where(self.codes[place] == code, self.fractions[place], other)

    def run(self, store: EventStore) -> None:
        """Write towers, energy-flow tracks and energy-flow towers."""
        particles = self.array(store, self.particles)
        tracks = self.array(store, self.tracks)
        towers = self._fill(particles, tracks)
        energy, sigma = self._measure(towers, store.rng)
        centres = self._centres(towers, store.rng)
        position = self._position(towers, particles, *centres)

        track_energy, track_sigma2 = self._track_sums(towers, tracks)
        neutral = np.maximum(energy - track_energy, 0.0)
        spread = np.sqrt(track_sigma2 + sigma**2)
        excess = (neutral > self.energy_min) & (neutral > self.significance_min * spread)
        scale = np.where(excess, 1.0, _combined_scale(energy, sigma, track_energy, track_sigma2))

        hard = towers.hard_fraction
        self.export(
            store,
            self.tower_output,
            self._candidates(towers, energy > 0.0, energy, *centres, position, track_energy, hard),
        )
        self.export(
            store,
            self.neutral_output,
            self._candidates(
                towers, excess, neutral, *centres, position, track_energy,
                towers.neutral_hard_fraction, pid=PHOTON if self.is_ecal else 0,
            ),
        )  # fmt: skip
        self.export(store, self.track_output, _scaled_tracks(towers, tracks, scale))

    def _fill(self, particles: Candidates, tracks: Candidates) -> "Towers":
        fraction = self._fraction(particles["pid"])
        cell = self.grid.find(particles["position_eta"], particles["position_phi"])
        cell[fraction < FRACTION_MIN] = -1
        code = np.abs(particles["pid"])
        track_fraction = self._fraction(tracks["pid"])
        return Towers(
            *_fill(
                self.grid.n_towers,
                particles.offsets, cell, particles["e"] * fraction, particles["t"],
                particles["is_pu"] != 0, particles["charge"] == 0,
                (code == ELECTRON) | (code == PHOTON),
                tracks.offsets,
                self.grid.find(tracks["position_eta"], tracks["position_phi"]),
                track_fraction > FRACTION_MIN,
            ),
            track_fraction=track_fraction,
        )  # fmt: skip

    def _measure(
        self, towers: "Towers", rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the measured energy of each tower and its resolution."""
        eta = 0.5 * (self.grid.eta_low + self.grid.eta_high)[towers.cell]
        sigma = self._sigma(eta, towers.energy)
        energy = log_normal(towers.energy, sigma, rng)
        sigma = self._sigma(eta, energy)
        energy[(energy < self.energy_min) | (energy < self.significance_min * sigma)] = 0.0
        return energy, sigma

    def _sigma(self, eta: NDArray[np.float64], energy: NDArray[np.float64]) -> NDArray[np.float64]:
        zero = np.zeros_like(eta)
        return self.resolution(pt=zero, eta=eta, phi=zero, energy=energy)

    def _centres(
        self, towers: "Towers", rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return where in its edges each tower is said to be: η and φ."""
        grid, cell = self.grid, towers.cell
        within = rng.random((2, len(cell))) if self.smear_centre else np.full((2, len(cell)), 0.5)
        eta = grid.eta_low[cell] + within[0] * (grid.eta_high - grid.eta_low)[cell]
        phi = grid.phi_low[cell] + within[1] * (grid.phi_high - grid.phi_low)[cell]
        return eta, phi

    def _position(
        self,
        towers: "Towers",
        particles: Candidates,
        eta: NDArray[np.float64],
        phi: NDArray[np.float64],
    ) -> dict[str, NDArray[np.float64]]:
        """Return the columns that place each tower on the surface its last particle has hit."""
        hit = towers.last_particle >= 0
        last = towers.last_particle[hit]
        r, z = np.zeros_like(eta), np.zeros_like(eta)
        radius = particles["position_r"]
        r[hit], z[hit] = radius[last], particles["z"][last]
        outer = _largest_by_event(radius, particles.offsets)
        barrel = np.abs(r - np.repeat(outer, np.diff(towers.offsets))) <= 1e-6
        sinh = np.sinh(eta)
        end_cap = ~barrel & (sinh != 0.0)
        r[end_cap] = z[end_cap] / sinh[end_cap]
        weight = towers.time_weight
        time = np.divide(towers.time, weight, out=np.zeros_like(eta), where=weight > FRACTION_MIN)
        return {"x": r * np.cos(phi), "y": r * np.sin(phi), "z": r * sinh, "t": time}

    def _track_sums(
        self, towers: "Towers", tracks: Candidates
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the energy of the showering tracks in each tower, and its variance."""
        rows, tower = towers.track[towers.track_showers], towers.track_tower[towers.track_showers]
        full = tracks["e"][rows]
        energy = full * towers.track_fraction[rows]
        resolution = tracks["track_resolution"][rows]
        variance = np.zeros_like(energy)
        # A track of resolution zero adds nothing; after TrackSmearing that is often all of them.
        known = np.flatnonzero(resolution > 0.0)
        eta = 0.5 * (self.grid.eta_low + self.grid.eta_high)[towers.cell[tower[known]]]
        coarse = self._sigma(eta, full[known]) < resolution[known] * full[known]
        guess = np.where(coarse, energy[known], full[known])
        variance[known] = (resolution[known] * guess) ** 2
        size = len(towers.cell)
        return (
            np.bincount(tower, weights=energy, minlength=size),
            np.bincount(tower, weights=variance, minlength=size),
        )

    def _candidates(
        self,
        towers: "Towers",
        kept: NDArray[np.bool_],
        energy: NDArray[np.float64],
        eta: NDArray[np.float64],
        phi: NDArray[np.float64],
        position: dict[str, NDArray[np.float64]],
        track_energy: NDArray[np.float64],
        hard_fraction: NDArray[np.float64],
        pid: int = 0,
    ) -> Candidates:
        """Return the towers in `kept` as candidates with `energy`."""
        rows = np.flatnonzero(kept)
        energy, eta, phi, cell = energy[rows], eta[rows], phi[rows], towers.cell[rows]
        pt = energy / np.cosh(eta)
        zero = np.zeros_like(energy)
        columns = {name: column[rows] for name, column in position.items()}
        columns |= {
            "pid": np.full(len(rows), pid, np.int32),
            "charge": np.zeros(len(rows), np.int32),
            "px": pt * np.cos(phi),
            "py": pt * np.sin(phi),
            "pz": pt * np.sinh(eta),
            "e": energy,
            "pt": pt,
            "eta": eta,
            "phi": phi,
            "m": zero,
            "position_eta": eta,
            "position_phi": phi,
            "path_length": np.sqrt(sum(columns[axis] ** 2 for axis in "xyz")),
            "e_em": energy if self.is_ecal else zero,
            "e_had": zero if self.is_ecal else energy,
            "e_trk": track_energy[rows],
            "hard_energy_fraction": hard_fraction[rows],
            "is_pu": (hard_fraction[rows] < 0.5).astype(np.int32),
            "edge_eta_min": self.grid.eta_low[cell],
            "edge_eta_max": self.grid.eta_high[cell],
            "edge_phi_min": self.grid.phi_low[cell],
            "edge_phi_max": self.grid.phi_high[cell],
        }
        events = np.searchsorted(towers.offsets, rows, side="right") - 1
        counts = np.bincount(events, minlength=len(towers.offsets) - 1)
        return Candidates(np.concatenate(([0], np.cumsum(counts))), columns)


@dataclass(frozen=True)
class Towers:
    """The hit towers of a batch: event by event, ring by ring, with rising φ.

    Attributes
    ----------
    offsets
        (n_events + 1,) rows of each event.
    cell
        (n,) number in the grid.
    energy, time, time_weight
        (n,) energy left by the particles, GeV; sums for the mean time.
    hard_fraction, neutral_hard_fraction
        (n,) fraction of the energy (of neutral particles) that is not pile-up; 1 without energy.
    last_particle
        (n,) row of the last particle hit, electrons and photons after all others; -1 without.
    track, track_tower, track_showers
        (n_tracks,) tracks by tower, those that only pass first; their tower; and which shower.
    track_fraction
        (n_all_tracks,) fraction of its energy that each track leaves here.
    """

    offsets: NDArray[np.int64]
    cell: NDArray[np.int64]
    energy: NDArray[np.float64]
    time: NDArray[np.float64]
    time_weight: NDArray[np.float64]
    hard_fraction: NDArray[np.float64]
    neutral_hard_fraction: NDArray[np.float64]
    last_particle: NDArray[np.int64]
    track: NDArray[np.int64]
    track_tower: NDArray[np.int64]
    track_showers: NDArray[np.bool_]
    track_fraction: NDArray[np.float64]


def _largest_by_event(
    values: NDArray[np.float64], offsets: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the largest of the non-negative `values` in each event; 0 in an empty one."""
    filled = np.flatnonzero(np.diff(offsets))
    largest = np.zeros(len(offsets) - 1)
    largest[filled] = np.maximum.reduceat(values, offsets[filled]) if len(filled) else 0.0
    return largest


def _numbers(value: object) -> list[float]:
    """Return a number or a list of numbers as a list."""
    return [float(item) for item in value] if isinstance(value, list) else [float(value)]


def _combined_scale(
    energy: NDArray[np.float64],
    sigma: NDArray[np.float64],
    track_energy: NDArray[np.float64],
    track_sigma2: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the combination of tower and track energy, as a factor of the track energy.

    Tracks without a resolution have no weight in Delphes: the tower decides alone, and where it
    is below threshold the tracks have no momentum left.
    """
    weight_track = np.divide(1.0, track_sigma2, out=np.zeros_like(sigma), where=track_sigma2 > 0.0)
    weight_tower = np.divide(1.0, sigma**2, out=np.zeros_like(sigma), where=sigma > 0.0)
    total = (weight_track + weight_tower) * track_energy
    best = weight_track * track_energy + weight_tower * energy
    return np.divide(best, total, out=np.zeros_like(sigma), where=total > 0.0)


def _scaled_tracks(towers: Towers, tracks: Candidates, scale: NDArray[np.float64]) -> Candidates:
    """Return the tracks in the order of the towers, the showering ones scaled."""
    rows = towers.track
    factor = np.where(towers.track_showers, scale[towers.track_tower], 1.0)
    px, py, pz, e = (tracks[name][rows] for name in ("px", "py", "pz", "e"))
    mass = tracks["m"][rows]
    changed = factor != 1.0
    px, py, pz = px * factor, py * factor, pz * factor
    e[changed] = np.sqrt(px**2 + py**2 + pz**2 + mass**2)[changed]
    pt = tracks["pt"][rows] * factor
    return tracks.clone(rows, px=px, py=py, pz=pz, e=e, pt=pt, m=mass)


@numba.njit(cache=True)
def _fill(
    n_cells, particle_offsets, particle_cell, deposit, time, is_pu, is_neutral, is_em,
    track_offsets, track_cell, track_showers,
):  # fmt: skip
    """Sum particles and sort tracks into the towers of each event."""
    n_events = len(particle_offsets) - 1
    n_hits = len(particle_cell) + len(track_cell)
    hit = np.zeros(n_cells, np.bool_)
    tower_of_cell = np.empty(n_cells, np.int64)
    offsets = np.zeros(n_events + 1, np.int64)
    cell = np.empty(n_hits, np.int64)
    sums = np.zeros((6, n_hits))  # energy, time, time weight, hard, neutral, hard neutral
    last = np.full(n_hits, -1)
    # Tracks by key: twice the tower, plus one for those that shower.
    key = np.full(len(track_cell), -1)
    n_keys = np.zeros(2 * n_hits + 1, np.int64)
    n_towers = 0
    for event in range(n_events):
        first, stop = particle_offsets[event], particle_offsets[event + 1]
        first_track, stop_track = track_offsets[event], track_offsets[event + 1]
        for i in range(first, stop):
            if particle_cell[i] >= 0:
                hit[particle_cell[i]] = True
        for i in range(first_track, stop_track):
            if track_cell[i] >= 0:
                hit[track_cell[i]] = True
        for c in range(n_cells):
            if hit[c]:
                hit[c] = False
                tower_of_cell[c] = n_towers
                cell[n_towers] = c
                n_towers += 1
        offsets[event + 1] = n_towers
        for i in range(first, stop):
            if particle_cell[i] < 0:
                continue
            tower = tower_of_cell[particle_cell[i]]
            energy = deposit[i]
            sums[0, tower] += energy
            sums[1, tower] += energy * energy * time[i]
            sums[2, tower] += energy * energy
            if is_neutral[i]:
                sums[4, tower] += energy
            if not is_pu[i]:
                sums[3, tower] += energy
                if is_neutral[i]:
                    sums[5, tower] += energy
            if is_em[i] or last[tower] < 0 or not is_em[last[tower]]:
                last[tower] = i
        for i in range(first_track, stop_track):
            if track_cell[i] >= 0:
                key[i] = 2 * tower_of_cell[track_cell[i]] + track_showers[i]
                n_keys[key[i] + 1] += 1
    for k in range(1, 2 * n_towers + 1):
        n_keys[k] += n_keys[k - 1]
    n_inside = n_keys[2 * n_towers]
    order = np.empty(n_inside, np.int64)
    tower_of_track = np.empty(n_inside, np.int64)
    showers = np.empty(n_inside, np.bool_)
    for i in range(len(key)):
        if key[i] >= 0:
            place = n_keys[key[i]]
            n_keys[key[i]] += 1
            order[place] = i
            tower_of_track[place] = key[i] >> 1
            showers[place] = track_showers[i]
    hard = np.ones((2, n_towers))
    for tower in range(n_towers):
        for k in range(2):
            total, part = sums[4 * k, tower], sums[3 + 2 * k, tower]
            if total > FRACTION_MIN:
                hard[k, tower] = part / total
    return (
        offsets, cell[:n_towers], sums[0, :n_towers], sums[1, :n_towers], sums[2, :n_towers],
        hard[0], hard[1], last[:n_towers], order, tower_of_track, showers,
    )  # fmt: skip
