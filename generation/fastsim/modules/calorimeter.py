"""Towers and energy flow of an ECAL and HCAL with the same towers (Delphes: Calorimeter)."""

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
from generation.fastsim.tower_grid import read_grid
from generation.fastsim.tower_hits import FRACTION_MIN, Hits, fill_depths, sum_by_tower

ELECTRON, PHOTON = 11, 22

# mm/c; what Delphes sets for a tower without a timed deposit.
NO_TIME = 999999.9

# Where a track goes: it leaves nothing, or showers in one of the two depths.
PASSES, IN_ECAL, IN_HCAL, LOST = range(4)


class Calorimeter(Module):
    """Sums the energy of particles in towers of two depths, smears it, and shares it with tracks.

    Each depth is a `SimpleCalorimeter` of its own; towers hold both. Tracks that leave energy
    in neither pass, those that leave it in both are lost, as in Delphes. Towers that photons or
    electrons but no track have hit are listed as photons too. The time of a tower is that of its
    electromagnetic deposits above `TimingEnergyMin`.
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
        self.timing_energy_min = config.number("TimingEnergyMin", 4.0)
        self.smear_centre = config.flag("SmearTowerCenter", True)
        self.grid = read_grid(config)
        self.compartments = [
            Compartment(
                self.grid,
                self.formula(f"{depth}ResolutionFormula", "0"),
                config.number(f"{depth}EnergyMin", 0.0),
                config.number(f"{depth}EnergySignificanceMin", 0.0),
            )
            for depth in ("ECal", "HCal")
        ]
        self.fractions = EnergyFractions(config, (0.0, 1.0))

    def run(self, store: EventStore) -> None:
        """Write towers, photons, and the energy flow: tracks, photons, neutral hadrons."""
        particles, tracks = self.array(store, self.particles), self.array(store, self.tracks)
        fractions = self.fractions(particles["pid"])
        track_fractions = self.fractions(tracks["pid"])
        hits = fill_depths(self.grid, particles, fractions, tracks, track_fractions)
        deposits = particles["e"][hits.particle] * fractions[:, hits.particle]
        target = _target(track_fractions)[hits.track]

        measured, sharings = np.zeros((2, len(hits.cell))), []
        for depth, compartment in enumerate(self.compartments):
            true = sum_by_tower(hits.particle_tower, deposits[depth], len(hits.cell))
            measured[depth], sigma = compartment.measure(hits.cell, true, store.rng)
            here = target == (IN_ECAL, IN_HCAL)[depth]
            rows = hits.track[here]
            sums = compartment.track_sums(
                hits.cell,
                hits.track_tower[here],
                tracks["e"][rows],
                track_fractions[depth, rows],
                tracks["track_resolution"][rows],
            )
            sharings.append(compartment.share(measured[depth], sigma, *sums))

        # Of towers without energy there is no neutral excess either.
        seen = np.flatnonzero(measured.sum(axis=0) > 0.0)
        towers = self._towers(hits, seen, measured[:, seen], deposits[0], particles, store)
        self.export(store, self.outputs["towers"], towers)
        code = np.abs(particles["pid"][hits.particle])
        is_photon = np.full(len(hits.cell), False)
        is_photon[hits.particle_tower[(code == ELECTRON) | (code == PHOTON)]] = True
        is_photon[hits.track_tower] = False
        self.export(store, self.outputs["photons"], towers.select(is_photon[seen]))

        for name, sharing in zip(("em", "had"), sharings, strict=True):
            rows = np.flatnonzero(sharing.excess[seen])
            energy = sharing.neutral[seen][rows]
            nothing = np.zeros_like(energy)
            depths = (energy, nothing) if name == "em" else (nothing, energy)
            pid = np.full(len(rows), PHOTON if name == "em" else 0, np.int32)
            neutral = neutral_towers(towers, rows, energy, *depths, pid=pid)
            self.export(store, self.outputs[name], neutral)

        tower = hits.track_tower
        scales = [np.ones(len(tower)), *(sharing.scale[tower] for sharing in sharings)]
        order = np.lexsort((target, tower))
        order = order[target[order] != LOST]
        scale = np.choose(target[order], [scale[order] for scale in scales])
        flow = scaled_tracks(tracks, hits.track[order], scale)
        self.export(store, self.outputs["tracks"], flow)

    def _towers(
        self,
        hits: Hits,
        rows: NDArray[np.int64],
        energy: NDArray[np.float64],
        em_deposits: NDArray[np.float64],
        particles: Candidates,
        store: EventStore,
    ) -> Candidates:
        """Return the towers `rows` with the measured (2, n) `energy` of both depths."""
        timed = em_deposits > self.timing_energy_min
        tower, weight = hits.particle_tower[timed], em_deposits[timed] ** 2
        moment = weight * particles["t"][hits.particle[timed]]
        total, moment = (sum_by_tower(tower, v, len(hits.cell))[rows] for v in (weight, moment))
        time = np.divide(moment, total, out=np.full(len(rows), NO_TIME), where=total > 0.0)
        size = (2, len(rows))
        return make_towers(
            self.grid,
            hits,
            rows,
            energy.sum(axis=0),
            particles,
            store.rng.random(size) if self.smear_centre else np.full(size, 0.5),
            t=time,
            e_em=energy[0],
            e_had=energy[1],
            n_time_hits=np.bincount(tower, minlength=len(hits.cell))[rows],
        )


def _target(fractions: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return where the tracks with these (2, n) fractions go."""
    in_ecal, in_hcal = fractions > FRACTION_MIN
    return np.where(in_ecal, np.where(in_hcal, LOST, IN_ECAL), np.where(in_hcal, IN_HCAL, PASSES))
