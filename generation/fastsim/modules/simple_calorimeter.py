"""Towers and energy flow of one calorimeter (Delphes: SimpleCalorimeter)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from generation.fastsim.candidates import Candidates, reduce_by_event
from generation.fastsim.card import ModuleConfig
from generation.fastsim.module import EventStore, Module
from generation.fastsim.random import log_normal
from generation.fastsim.tower_grid import numbers, read_grid
from generation.fastsim.tower_hits import FRACTION_MIN, Hits, fill_towers

# PDG codes below this one have their energy fraction in a table.
FREQUENT_CODES = 4096

# How close to the largest radius of the event a particle is that has reached the barrel, in mm.
BARREL_TOLERANCE = 1e-6

PHOTON = 22


class SimpleCalorimeter(Module):
    """Sums the energy of particles in towers, smears it, and shares it with the tracks.

    A tower's energy is drawn from a log-normal; below `EnergyMin` or `EnergySignificanceMin`
    times its resolution it is zero. Where it exceeds the energy of the tracks that shower here
    significantly, the excess becomes a neutral tower and the tracks stay as they are; otherwise
    the tracks are scaled to the combination of both measurements. Tracks that leave no energy
    here pass.

    The fraction of a neutral tower's energy that is not pile-up is what its name says. Delphes 3.5
    looks the energy fractions of neutral particles up in the list of the tracks, and beyond its
    end, so that its `HardEnergyFraction` and `IsPU` of neutral towers hold chance values.
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
        self.grid = read_grid(config)
        self.codes, self.fractions = self._energy_fractions()
        self.fraction_table = self._look_up(np.arange(FREQUENT_CODES))

    def _energy_fractions(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the listed |PDG codes|, sorted, and their fractions; code 0 is all others."""
        values = self.config.array("EnergyFraction")
        if len(values) % 2:
            raise self.config.error("EnergyFraction", "is not made of pairs of code and fraction")
        fractions = {0: 1.0}
        for code, fraction in zip(values[::2], values[1::2], strict=True):
            fractions[int(code)] = float(numbers(fraction)[0])
        codes = sorted(fractions)
        return np.array(codes), np.array([fractions[code] for code in codes])

    def _look_up(self, code: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the fraction of its energy that a particle of each |PDG code| leaves here."""
        place = np.minimum(np.searchsorted(self.codes, code), len(self.codes) - 1)
        return self.fractions[np.where(self.codes[place] == code, place, 0)]

    def run(self, store: EventStore) -> None:
        """Write towers, energy-flow tracks and energy-flow towers."""
        particles = self.array(store, self.particles)
        tracks = self.array(store, self.tracks)
        hits = self._fill(particles, tracks)
        energy, sigma = self._measure(hits, store.rng)
        track_energy, track_sigma2 = self._track_sums(hits, tracks)

        neutral = np.maximum(energy - track_energy, 0.0)
        spread = np.sqrt(track_sigma2 + sigma**2)
        excess = (neutral > self.energy_min) & (neutral > self.significance_min * spread)
        combined = _combined_scale(energy, sigma, track_energy, track_sigma2)

        seen = np.flatnonzero(energy > 0.0)
        towers = self._towers(hits, seen, energy[seen], track_energy[seen], particles, store.rng)
        rows = np.flatnonzero(excess[seen])
        self.export(store, self.tower_output, towers)
        self.export(
            store, self.neutral_output, self._neutral(towers, rows, neutral[seen][rows], hits, seen)
        )
        scale = np.where(excess, 1.0, combined)
        self.export(store, self.track_output, _scaled_tracks(hits, tracks, scale))

    def _fill(self, particles: Candidates, tracks: Candidates) -> Hits:
        fraction, cell = self._deposits(particles)
        track_fraction, track_cell = self._deposits(tracks, everywhere=True)
        return fill_towers(
            self.grid.n_towers, particles, fraction, cell, tracks, track_fraction, track_cell
        )

    def _deposits(
        self, candidates: Candidates, everywhere: bool = False
    ) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """Return the fraction of its energy that each candidate leaves, and the tower.

        The tower is that of candidates which leave something, or of all of them; -1 outside.
        """
        code = np.abs(candidates["pid"])
        fraction = self.fraction_table[np.minimum(code, FREQUENT_CODES - 1)]
        rare = np.flatnonzero(code >= FREQUENT_CODES)
        fraction[rare] = self._look_up(code[rare])
        wanted = fraction >= (-1.0 if everywhere else FRACTION_MIN)
        return fraction, self.grid.find(candidates["x"], candidates["y"], candidates["z"], wanted)

    def _measure(
        self, hits: Hits, rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the measured energy of each tower and its resolution."""
        energy, sigma = np.zeros(len(hits.cell)), np.zeros(len(hits.cell))
        # A tower that only tracks have crossed measures nothing, and nothing is its resolution.
        hit = np.flatnonzero(hits.energy > 0.0)
        eta, true = self.grid.eta_centre[hits.cell[hit]], hits.energy[hit]
        drawn = log_normal(true, self._sigma(eta, true), rng)
        resolution = self._sigma(eta, drawn)
        below = (drawn < self.energy_min) | (drawn < self.significance_min * resolution)
        energy[hit] = np.where(below, 0.0, drawn)
        sigma[hit] = resolution
        return energy, sigma

    def _sigma(self, eta: NDArray[np.float64], energy: NDArray[np.float64]) -> NDArray[np.float64]:
        given: dict[str, Any] = {"eta": eta, "energy": energy}
        values = {name: given.get(name, 0.0) for name in self.resolution.names}
        return np.broadcast_to(self.resolution(**values), len(eta))

    def _towers(
        self,
        hits: Hits,
        rows: NDArray[np.int64],
        energy: NDArray[np.float64],
        track_energy: NDArray[np.float64],
        particles: Candidates,
        rng: np.random.Generator,
    ) -> Candidates:
        """Return the towers `rows` with the measured `energy`."""
        grid, cell = self.grid, hits.cell[rows]
        within = rng.random((2, len(rows))) if self.smear_centre else np.full((2, len(rows)), 0.5)
        eta = grid.eta_low[cell] + within[0] * (grid.eta_high - grid.eta_low)[cell]
        phi = grid.phi_low[cell] + within[1] * (grid.phi_high - grid.phi_low)[cell]
        cosine, sine, sinh = np.cos(phi), np.sin(phi), np.sinh(eta)
        pt = energy / np.sqrt(1.0 + sinh**2)
        r = self._radius(hits, rows, particles, sinh)
        weight = hits.time_weight[rows]
        time = np.divide(hits.time[rows], weight, out=np.zeros_like(r), where=weight > FRACTION_MIN)
        zero = np.zeros_like(energy)
        return Candidates(
            _offsets(hits.offsets, rows),
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
                "m": zero,
                "x": r * cosine,
                "y": r * sine,
                "z": r * sinh,
                "t": time,
                "position_eta": eta,
                "position_phi": phi,
                "path_length": np.abs(r) * np.sqrt(1.0 + sinh**2),
                "e_em": energy if self.is_ecal else zero,
                "e_had": zero if self.is_ecal else energy,
                "e_trk": track_energy,
                "hard_energy_fraction": hits.hard_fraction[rows],
                "edge_eta_min": grid.eta_low[cell],
                "edge_eta_max": grid.eta_high[cell],
                "edge_phi_min": grid.phi_low[cell],
                "edge_phi_max": grid.phi_high[cell],
            },
        )

    def _radius(
        self,
        hits: Hits,
        rows: NDArray[np.int64],
        particles: Candidates,
        sinh: NDArray[np.float64],
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

    def _neutral(
        self,
        towers: Candidates,
        rows: NDArray[np.int64],
        energy: NDArray[np.float64],
        hits: Hits,
        seen: NDArray[np.int64],
    ) -> Candidates:
        """Return clones of the towers in `rows` with the energy that no track explains."""
        share = energy / towers["e"][rows]
        hard_fraction = hits.neutral_hard_fraction[seen][rows]
        momentum = {name: towers[name][rows] * share for name in ("px", "py", "pz", "pt")}
        zero = np.zeros_like(energy)
        return towers.clone(
            rows,
            **momentum,
            e=energy,
            m=zero,
            eta=towers["eta"][rows],
            phi=towers["phi"][rows],
            pid=np.full(len(rows), PHOTON if self.is_ecal else 0, np.int32),
            e_em=energy if self.is_ecal else zero,
            e_had=zero if self.is_ecal else energy,
            hard_energy_fraction=hard_fraction,
            is_pu=(hard_fraction < 0.5).astype(np.int32),
        )

    def _track_sums(
        self, hits: Hits, tracks: Candidates
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the energy of the showering tracks in each tower, and its variance."""
        rows, tower = hits.track[hits.track_showers], hits.track_tower[hits.track_showers]
        full = tracks["e"][rows]
        energy = full * hits.track_fraction[rows]
        resolution = tracks["track_resolution"][rows]
        variance = np.zeros_like(energy)
        # A track of resolution zero adds nothing; after TrackSmearing that is often all of them.
        known = np.flatnonzero(resolution > 0.0)
        eta = self.grid.eta_centre[hits.cell[tower[known]]]
        coarse = self._sigma(eta, full[known]) < resolution[known] * full[known]
        guess = np.where(coarse, energy[known], full[known])
        variance[known] = (resolution[known] * guess) ** 2
        size = len(hits.cell)
        return (
            np.bincount(tower, weights=energy, minlength=size),
            np.bincount(tower, weights=variance, minlength=size),
        )


def _offsets(offsets: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the offsets of the events when only ascending `rows` are kept."""
    return np.searchsorted(rows, offsets)


def _combined_scale(
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


def _scaled_tracks(hits: Hits, tracks: Candidates, scale: NDArray[np.float64]) -> Candidates:
    """Return the tracks in the order of the towers, the showering ones scaled."""
    rows = hits.track
    factor = np.where(hits.track_showers, scale[hits.track_tower], 1.0)
    px, py, pz, e = (tracks[name][rows] for name in ("px", "py", "pz", "e"))
    mass = tracks["m"][rows]
    changed = factor != 1.0
    px, py, pz = px * factor, py * factor, pz * factor
    e[changed] = np.sqrt(px**2 + py**2 + pz**2 + mass**2)[changed]
    pt = tracks["pt"][rows] * factor
    return tracks.clone(rows, px=px, py=py, pz=pz, e=e, pt=pt, m=mass)
