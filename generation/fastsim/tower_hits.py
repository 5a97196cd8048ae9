"""Deposits of particles and crossings of tracks, tower by tower."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from generation.fastsim.candidates import Candidates
from generation.fastsim.kernels import kernel

# Smallest energy fraction that counts as a deposit.
FRACTION_MIN = 1e-9

# What Delphes lists after all other particles of a tower.
ELECTRON, PHOTON = 11, 22


@dataclass(frozen=True)
class Hits:
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
    particle, particle_tower
        (n_hits,) rows of the particles that leave energy, and the tower of each.
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
    particle: NDArray[np.int64]
    particle_tower: NDArray[np.int64]
    last_particle: NDArray[np.int64]
    track: NDArray[np.int64]
    track_tower: NDArray[np.int64]
    track_showers: NDArray[np.bool_]
    track_fraction: NDArray[np.float64]


def fill_towers(
    n_towers_of_grid: int,
    particles: Candidates,
    fraction: NDArray[np.float64],
    cell: NDArray[np.int32],
    tracks: Candidates,
    track_fraction: NDArray[np.float64],
    track_cell: NDArray[np.int32],
) -> Hits:
    """Sum particles, and sort tracks, into towers.

    Parameters
    ----------
    n_towers_of_grid
        Number of towers of the calorimeter.
    particles, tracks
        What reaches the calorimeter.
    fraction, track_fraction
        (n,) fraction of its energy that each of them leaves.
    cell, track_cell
        (n,) tower of each of them; -1 for none.
    """
    hits, hit_tracks = np.flatnonzero(cell >= 0), np.flatnonzero(track_cell >= 0)
    offsets = np.zeros(particles.n_events + 1, np.int64)
    tower_cell = np.empty(len(hits) + len(hit_tracks), np.int64)
    tower, track_tower = np.empty(len(cell), np.int64), np.empty(len(tracks), np.int64)
    n_towers = _number_towers(
        particles.offsets, cell, tracks.offsets, track_cell,
        np.zeros(n_towers_of_grid, np.int64), offsets, tower_cell, tower, track_tower,
    )  # fmt: skip
    tower = tower[hits]

    def total(values: NDArray[np.float64]) -> NDArray[np.float64]:
        # Of nothing at all, numpy counts integers.
        return np.bincount(tower, weights=values, minlength=n_towers).astype(np.float64, copy=False)

    deposit = particles["e"][hits] * fraction[hits]
    weight = deposit * deposit
    hard = np.where(particles["is_pu"][hits] == 0, deposit, 0.0)
    is_neutral = particles["charge"][hits] == 0
    neutral, neutral_hard = np.where(is_neutral, (deposit, hard), 0.0)
    energy = total(deposit)

    code = np.abs(particles["pid"][hits])
    electromagnetic = (code == ELECTRON) | (code == PHOTON)
    last = np.full(n_towers, -1)
    for group in (~electromagnetic, electromagnetic):
        # Of several particles in a tower, the one written last stays.
        last[tower[group]] = hits[group]
    showers = track_fraction > FRACTION_MIN
    order = np.lexsort((showers[hit_tracks], track_tower[hit_tracks]))
    hit_tracks = hit_tracks[order]
    return Hits(
        offsets=offsets,
        cell=tower_cell[:n_towers],
        energy=energy,
        time=total(weight * particles["t"][hits]),
        time_weight=total(weight),
        hard_fraction=_share(total(hard), energy),
        neutral_hard_fraction=_share(total(neutral_hard), total(neutral)),
        particle=hits,
        particle_tower=tower,
        last_particle=last,
        track=hit_tracks,
        track_tower=track_tower[hit_tracks],
        track_showers=showers[hit_tracks],
        track_fraction=track_fraction,
    )


def _share(part: NDArray[np.float64], total: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return part / total, 1 where there is nothing."""
    return np.divide(part, total, out=np.ones_like(total), where=total > FRACTION_MIN)


@kernel()
def _number_towers(
    particle_offsets, particle_cell, track_offsets, track_cell,
    tower_of_cell, offsets, cell, tower, track_tower,
):  # fmt: skip
    """Give the hit towers numbers, event by event, and find that of each particle and track.

    Fills the arrays from `offsets` on, as `Hits` has them; `tower_of_cell` is zero and working
    memory. Returns the number of towers.
    """
    n_towers = 0
    for event in range(len(offsets) - 1):
        first_tower = n_towers
        first, stop = particle_offsets[event], particle_offsets[event + 1]
        first_track, stop_track = track_offsets[event], track_offsets[event + 1]
        for i in range(first, stop):
            if particle_cell[i] >= 0:
                tower_of_cell[particle_cell[i]] = -1
        for i in range(first_track, stop_track):
            if track_cell[i] >= 0:
                tower_of_cell[track_cell[i]] = -1
        for c in range(len(tower_of_cell)):
            if tower_of_cell[c] < 0:
                tower_of_cell[c] = n_towers
                cell[n_towers] = c
                n_towers += 1
        offsets[event + 1] = n_towers
        for i in range(first, stop):
            if particle_cell[i] >= 0:
                tower[i] = tower_of_cell[particle_cell[i]]
        for i in range(first_track, stop_track):
            if track_cell[i] >= 0:
                track_tower[i] = tower_of_cell[track_cell[i]]
        for k in range(first_tower, n_towers):
            tower_of_cell[cell[k]] = 0
    return n_towers
