"""Towers and energy flow of a calorimeter with dual readout (Delphes: DualReadoutCalorimeter)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from generation.fastsim.candidates import Candidates
from generation.fastsim.card import ModuleConfig
from generation.fastsim.energy_flow import (
    EnergyFractions,
    combined_scale,
    make_towers,
    scaled_tracks,
)
from generation.fastsim.formula import Formula
from generation.fastsim.module import EventStore, Module
from generation.fastsim.random import log_normal
from generation.fastsim.tower_grid import read_grid
from generation.fastsim.tower_hits import FRACTION_MIN, Hits, fill_depths, sum_by_tower

ELECTRON, PHOTON, K_LONG, PION = 11, 22, 130, 211
# What Delphes takes hadronic towers and neutral hadrons for, GeV.
PION_MASS, K_LONG_MASS = 0.13957, 0.497611


class DualReadoutCalorimeter(Module):
    """Sums the energy of particles in towers, smears it, and shares it with the tracks.

    A tower without hadronic energy is measured as well as an electromagnetic calorimeter does it,
    every other one with the resolution of hadrons for all of its energy. Where it exceeds the
    energy of its tracks significantly, the excess is a photon or a neutral kaon with its mass, and
    the tracks stay as they are; otherwise the tracks are scaled to the combination of both
    measurements. Tracks that leave no energy here pass.
    """

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.particles = config.text("ParticleInputArray", "ParticlePropagator/particles")
        self.tracks = config.text("TrackInputArray", "ParticlePropagator/tracks")
        self.outputs = {
            "towers": config.text("TowerOutputArray", "towers"),
            "photons": config.text("PhotonOutputArray", "photons"),
            "tracks": config.text("EFlowTrackOutputArray", "eflowTracks"),
            "em": config.text("EFlowPhotonOutputArray", "eflowPhotons"),
            "had": config.text("EFlowNeutralHadronOutputArray", "eflowNeutralHadrons"),
        }
        self.new_arrays = frozenset(self.outputs.values())
        self.smear_centre = config.flag("SmearTowerCenter", True)
        self.log_normal = config.flag("SmearLogNormal", True)
        self.grid = read_grid(config)
        self.em_resolution = self.formula("ECalResolutionFormula", "0")
        self.had_resolution = self.formula("HCalResolutionFormula", "0")
        self.em_significance = config.number("ECalMinSignificance", 0.0)
        self.had_significance = config.number("HCalMinSignificance", 0.0)
        self.fractions = EnergyFractions(config, (0.0, 1.0))
        # Of times that no branch holds.
        config.ignore("TimingEnergyMin", "ElectronsFromTrack")

    def run(self, store: EventStore) -> None:
        """Write towers, photons, and the energy flow: tracks, photons, neutral hadrons."""
        particles, tracks = self.array(store, self.particles), self.array(store, self.tracks)
        fractions = self.fractions(particles["pid"])
        track_fractions = self.fractions(tracks["pid"])
        hits = fill_depths(self.grid, particles, fractions, tracks, track_fractions)
        n_towers = len(hits.cell)
        deposits = particles["e"][hits.particle] * fractions[:, hits.particle]
        em, had = (sum_by_tower(hits.particle_tower, depth, n_towers) for depth in deposits)
        is_em = had <= 0.0
        energy, sigma = self._measure(hits, em, had, is_em, store.rng)
        track_energy, track_sigma2 = self._track_sums(hits, tracks, track_fractions)

        neutral = np.maximum(energy - track_energy, 0.0)
        spread = np.sqrt(track_sigma2 + sigma**2)
        least = np.where(is_em, self.em_significance, self.had_significance)
        excess = (spread > 0.0) & (neutral > least * spread)

        seen = np.flatnonzero(energy > 0.0)
        towers = self._towers(hits, seen, energy, is_em, (em, had, track_energy), particles, store)
        self.export(store, self.outputs["towers"], towers)
        code = np.abs(particles["pid"][hits.particle])
        is_photon = np.full(n_towers, False)
        is_photon[hits.particle_tower[(code == ELECTRON) | (code == PHOTON)]] = True
        is_photon[hits.track_tower] = False
        self.export(store, self.outputs["photons"], towers.select(is_photon[seen]))

        rows = np.flatnonzero(excess[seen] & is_em[seen])
        photons = _neutral(towers, rows, neutral[seen][rows], PHOTON, 0.0)
        self.export(store, self.outputs["em"], photons)
        massive = neutral[seen] > K_LONG_MASS
        rows = np.flatnonzero(excess[seen] & ~is_em[seen] & massive)
        kaons = _neutral(towers, rows, neutral[seen][rows], K_LONG, K_LONG_MASS)
        self.export(store, self.outputs["had"], kaons)

        combined = combined_scale(energy, sigma, track_energy, track_sigma2)
        scale = np.where(excess, 1.0, combined)[hits.track_tower]
        scale = np.where(hits.track_showers, scale, 1.0)
        self.export(store, self.outputs["tracks"], scaled_tracks(tracks, hits.track, scale))

    def _sigma(
        self, cell: NDArray[np.int64], energy: NDArray[np.float64], is_em: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Return the resolution of energies, GeV, at the centres of the towers in η."""
        eta = self.grid.eta_centre[cell]

        def of(formula: Formula) -> NDArray[np.float64]:
            given: dict[str, Any] = {"eta": eta, "energy": energy}
            values = {name: given.get(name, 0.0) for name in formula.names}
            return np.broadcast_to(formula(**values), len(cell))

        return np.where(is_em, of(self.em_resolution), of(self.had_resolution))

    def _measure(
        self,
        hits: Hits,
        em: NDArray[np.float64],
        had: NDArray[np.float64],
        is_em: NDArray[np.bool_],
        rng: np.random.Generator,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the measured energy of each tower and its resolution, GeV."""
        true = np.where(is_em, em, em + had)
        sigma = self._sigma(hits.cell, true, is_em)
        if self.log_normal:
            drawn = np.zeros_like(true)
            hit = np.flatnonzero(true > 0.0)
            drawn[hit] = log_normal(true[hit], sigma[hit], rng)
        else:
            drawn = np.maximum(true + sigma * rng.standard_normal(len(true)), 0.0)
        sigma = self._sigma(hits.cell, drawn, is_em)
        least = np.where(is_em, self.em_significance, self.had_significance)
        return np.where(drawn > least * sigma, drawn, 0.0), sigma

    def _track_sums(
        self, hits: Hits, tracks: Candidates, fractions: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the energy that tracks leave in each tower, GeV, and its variance."""
        rows, tower = hits.track[hits.track_showers], hits.track_tower[hits.track_showers]
        full, resolution = tracks["e"][rows], tracks["track_resolution"][rows]
        left = full * fractions[:, rows].sum(axis=0)
        is_em = fractions[1, rows] <= 0.0
        coarse = self._sigma(hits.cell[tower], full, is_em) < resolution * full
        deviation = resolution * np.where(coarse, left, full)
        n_towers = len(hits.cell)
        return sum_by_tower(tower, left, n_towers), sum_by_tower(tower, deviation**2, n_towers)

    def _towers(
        self,
        hits: Hits,
        rows: NDArray[np.int64],
        energy: NDArray[np.float64],
        is_em: NDArray[np.bool_],
        sums: tuple[NDArray[np.float64], ...],
        particles: Candidates,
        store: EventStore,
    ) -> Candidates:
        """Return the towers `rows`; `sums` are the true energies and that of the tracks."""
        deposit = particles["e"][hits.particle]
        deposit = deposit * self.fractions(particles["pid"])[:, hits.particle].sum(axis=0)
        moment = deposit * particles["t"][hits.particle]
        total, moment = (
            sum_by_tower(hits.particle_tower, values, len(hits.cell))[rows]
            for values in (deposit, moment)
        )
        time = np.divide(moment, total, out=np.zeros_like(total), where=total > FRACTION_MIN)
        energy, is_em = energy[rows], is_em[rows]
        mass = np.where(is_em, 0.0, PION_MASS)
        momentum = np.sqrt(np.maximum(energy**2 - mass**2, 0.0))
        size = (2, len(rows))
        em, had, track_energy = (values[rows] for values in sums)
        return make_towers(
            self.grid,
            hits,
            rows,
            momentum,
            particles,
            store.rng.random(size) if self.smear_centre else np.full(size, 0.5),
            e=energy,
            m=np.sqrt(energy**2 - momentum**2),
            t=time,
            pid=np.where(is_em, PHOTON, PION).astype(np.int32),
            e_em=em,
            e_had=had,
            e_trk=track_energy,
        )


def _neutral(
    towers: Candidates, rows: NDArray[np.int64], energy: NDArray[np.float64], pid: int, mass: float
) -> Candidates:
    """Return clones of the towers `rows` with the energy that no track explains."""
    momentum = np.sqrt(energy**2 - mass**2)
    size = towers["pt"][rows] * np.cosh(towers["eta"][rows])
    components = {name: towers[name][rows] * momentum / size for name in ("px", "py", "pz", "pt")}
    is_photon = pid == PHOTON
    nothing = np.zeros_like(energy)
    return towers.clone(
        rows,
        **components,
        e=energy,
        m=np.full_like(energy, mass),
        eta=towers["eta"][rows],
        phi=towers["phi"][rows],
        e_em=energy if is_photon else nothing,
        e_had=nothing if is_photon else energy,
        pid=np.full(len(rows), pid, np.int32),
    )
