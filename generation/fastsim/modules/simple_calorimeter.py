"""Towers and energy flow of one calorimeter (Delphes: SimpleCalorimeter)."""

import numpy as np
from numpy.typing import NDArray

from generation.fastsim.candidates import Candidates
from generation.fastsim.card import ModuleConfig
from generation.fastsim.energy_flow import (
    Compartment,
    EnergyFractions,
    make_towers,
    neutral_towers,
    scaled_tracks,
)
from generation.fastsim.module import EventStore, Module
from generation.fastsim.tower_grid import read_grid, read_insensitive
from generation.fastsim.tower_hits import FRACTION_MIN, Hits, fill_towers

PHOTON = 22


class SimpleCalorimeter(Module):
    """Sums the energy of particles in towers, smears it, and shares it with the tracks.

    A tower's energy is drawn from a log-normal; below `EnergyMin` or `EnergySignificanceMin`
    times its resolution it is zero. Where it exceeds the energy of the tracks that shower here
    significantly, the excess becomes a neutral tower and the tracks stay as they are; otherwise
    the tracks are scaled to the combination of both measurements. Tracks that leave no energy
    here pass.

    A tower of `InsensitiveEtaPhiBins` sees nothing, and tracks that shower in it are lost, as in
    Delphes after 3.5.1.

    `HardEnergyFraction` and `IsPU` of a neutral tower are those of all deposits in the tower, of
    charged particles too, as in Delphes after 3.5.1. Delphes 3.5.1 looks the energy fractions of
    particles up in the list of the tracks, and beyond its end, so that chance decides; 3.5.0 has
    neither.
    """

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.particles = config.text("ParticleInputArray", "ParticlePropagator/particles")
        self.tracks = config.text("TrackInputArray", "ParticlePropagator/tracks")
        self.tower_output = config.text("TowerOutputArray", "towers")
        self.track_output = config.text("EFlowTrackOutputArray", "eflowTracks")
        self.neutral_output = config.text("EFlowTowerOutputArray", "eflowTowers")
        self.is_ecal = config.flag("IsEcal", False)
        self.smear_centre = config.flag("SmearTowerCenter", True)
        self.grid = read_grid(config)
        self.insensitive = read_insensitive(config, self.grid)
        self.compartment = Compartment(
            self.grid,
            self.formula("ResolutionFormula", "0"),
            config.number("EnergyMin", 0.0),
            config.number("EnergySignificanceMin", 0.0),
        )
        self.fractions = EnergyFractions(config, (1.0,))
        # So written in a card of Delphes, which does not read them.
        config.ignore("TowerMinEnergy", "TowerMinSignificance")

    def run(self, store: EventStore) -> None:
        """Write towers, energy-flow tracks and energy-flow towers."""
        particles = self.array(store, self.particles)
        tracks = self.array(store, self.tracks)
        hits = self._fill(particles, tracks)
        energy, sigma = self.compartment.measure(hits.cell, hits.energy, store.rng)
        showering = hits.track[hits.track_showers]
        track_energy, track_sigma2 = self.compartment.track_sums(
            hits.cell,
            hits.track_tower[hits.track_showers],
            tracks["e"][showering],
            hits.track_fraction[showering],
            tracks["track_resolution"][showering],
        )
        sharing = self.compartment.share(energy, sigma, track_energy, track_sigma2)

        seen = np.flatnonzero(energy > 0.0)
        towers = self._towers(hits, seen, energy[seen], track_energy[seen], particles, store.rng)
        rows = np.flatnonzero(sharing.excess[seen])
        neutral = self._neutral(towers, rows, sharing.neutral[seen][rows])
        scale = np.where(hits.track_showers, sharing.scale[hits.track_tower], 1.0)
        self.export(store, self.tower_output, towers)
        self.export(store, self.neutral_output, neutral)
        self.export(store, self.track_output, scaled_tracks(tracks, hits.track, scale))

    def _fill(self, particles: Candidates, tracks: Candidates) -> Hits:
        (fraction,), (track_fraction,) = (
            self.fractions(particles["pid"]),
            self.fractions(tracks["pid"]),
        )
        cell = self.grid.find(*_place(particles), fraction >= FRACTION_MIN)
        # Tracks that leave nothing pass through a tower too.
        track_cell = self.grid.find(*_place(tracks), np.full(len(tracks), True))
        if self.insensitive is not None:
            cell[(cell >= 0) & self.insensitive[cell]] = -1
            lost = (track_cell >= 0) & self.insensitive[track_cell]
            track_cell[lost & (track_fraction > FRACTION_MIN)] = -1
        return fill_towers(
            self.grid.n_towers, particles, fraction, cell, tracks, track_fraction, track_cell
        )

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
        size = (2, len(rows))
        weight = hits.time_weight[rows]
        time = np.divide(
            hits.time[rows], weight, out=np.zeros_like(weight), where=weight > FRACTION_MIN
        )
        zero = np.zeros_like(energy)
        return make_towers(
            self.grid,
            hits,
            rows,
            energy,
            particles,
            rng.random(size) if self.smear_centre else np.full(size, 0.5),
            t=time,
            e_em=energy if self.is_ecal else zero,
            e_had=zero if self.is_ecal else energy,
            e_trk=track_energy,
            hard_energy_fraction=hits.hard_fraction[rows],
        )

    def _neutral(
        self,
        towers: Candidates,
        rows: NDArray[np.int64],
        energy: NDArray[np.float64],
    ) -> Candidates:
        """Return clones of the towers in `rows` with the energy that no track explains."""
        hard_fraction = towers["hard_energy_fraction"][rows]
        zero = np.zeros_like(energy)
        return neutral_towers(
            towers,
            rows,
            energy,
            e_em=energy if self.is_ecal else zero,
            e_had=zero if self.is_ecal else energy,
            pid=np.full(len(rows), PHOTON if self.is_ecal else 0, np.int32),
            hard_energy_fraction=hard_fraction,
            is_pu=(hard_fraction < 0.5).astype(np.int32),
        )


def _place(candidates: Candidates) -> tuple[NDArray, NDArray, NDArray]:
    return candidates["x"], candidates["y"], candidates["z"]
