"""Deposits of particles and crossings of tracks, tower by tower."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from generation.fastsim.candidates import Candidates
from generation.fastsim.tower_grid import TowerGrid

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
    hard_fraction
        (n,) fraction of the energy that is not pile-up; 1 without energy.
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
    particle: NDArray[np.int64]
    particle_tower: NDArray[np.int64]
    last_particle: NDArray[np.int64]
    track: NDArray[np.int64]
    track_tower: NDArray[np.int64]
    track_showers: NDArray[np.bool_]
    track_fraction: NDArray[np.float64]


def sum_by_tower(
    tower: NDArray[np.int64], values: NDArray[np.float64], n_towers: int
) -> NDArray[np.float64]:
    """Return the sum of the `values` that belong to each tower."""
    # Of nothing at all, numpy counts integers.
    return np.bincount(tower, weights=values, minlength=n_towers).astype(np.float64, copy=False)


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
    offsets, tower_cell, (tower, track_tower) = _number_towers(
        n_towers_of_grid,
        [
            (np.searchsorted(hits, particles.offsets), cell[hits]),
            (np.searchsorted(hit_tracks, tracks.offsets), track_cell[hit_tracks]),
        ],
    )
    n_towers = len(tower_cell)

    def total(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return sum_by_tower(tower, values, n_towers)

    deposit = particles["e"][hits] * fraction[hits]
    weight = deposit * deposit
    hard = np.where(particles["is_pu"][hits] == 0, deposit, 0.0)
    energy = total(deposit)

    code = np.abs(particles["pid"][hits])
    electromagnetic = (code == ELECTRON) | (code == PHOTON)
    last = np.full(n_towers, -1)
    for group in (~electromagnetic, electromagnetic):
        # Of several particles in a tower, the one written last stays.
        last[tower[group]] = hits[group]
    showers = track_fraction > FRACTION_MIN
    order = np.lexsort((showers[hit_tracks], track_tower))
    hit_tracks, track_tower = hit_tracks[order], track_tower[order]
    return Hits(
        offsets=offsets,
        cell=tower_cell,
        energy=energy,
        time=total(weight * particles["t"][hits]),
        time_weight=total(weight),
        hard_fraction=_share(total(hard), energy),
        particle=hits,
        particle_tower=tower,
        last_particle=last,
        track=hit_tracks,
        track_tower=track_tower,
        track_showers=showers[hit_tracks],
        track_fraction=track_fraction,
    )


def _share(part: NDArray[np.float64], total: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return part / total, 1 where there is nothing."""
    return np.divide(part, total, out=np.ones_like(total), where=total > FRACTION_MIN)


def _number_towers(
    n_cells: int, collections: Sequence[tuple[NDArray[np.int64], NDArray[np.int32]]]
) -> tuple[NDArray[np.int64], NDArray[np.int64], list[NDArray[np.int64]]]:
    """Give the hit towers of each event numbers, rising with their cell.

    Parameters
    ----------
    n_cells
        Number of cells of the grid.
    collections
        Offsets of the events, and the cell of each candidate, all of which have one.

    Returns
    -------
    offsets, cell
        (n_events + 1,) towers of each event, and (n,) the cell of each tower.
    towers
        For each collection, the tower of each of its candidates.
    """
    n_events = len(collections[0][0]) - 1
    offsets = np.zeros(n_events + 1, np.int64)
    cells = [np.zeros(0, np.int64)]
    towers = [np.empty(len(cell), np.int64) for _, cell in collections]
    is_hit, number = np.zeros(n_cells, bool), np.empty(n_cells, np.int64)
    for event in range(n_events):
        here = [slice(*rows[event : event + 2]) for rows, _ in collections]
        for (_, cell), candidates in zip(collections, here, strict=True):
            is_hit[cell[candidates]] = True
        hit = np.flatnonzero(is_hit)
        offsets[event + 1] = offsets[event] + len(hit)
        number[hit] = np.arange(offsets[event], offsets[event + 1])
        for (_, cell), candidates, tower in zip(collections, here, towers, strict=True):
            tower[candidates] = number[cell[candidates]]
        is_hit[hit] = False
        cells.append(hit)
    return offsets, np.concatenate(cells), towers


def fill_depths(
    grid: TowerGrid,
    particles: Candidates,
    fractions: NDArray[np.float64],
    tracks: Candidates,
    track_fractions: NDArray[np.float64],
) -> Hits:
    """Fill the towers of a calorimeter with several depths.

    Parameters
    ----------
    grid
        Its towers.
    particles, tracks
        What leaves energy, and what crosses it, at the calorimeter's surface.
    fractions, track_fractions
        (depths, n) fractions of the energy that each leaves in each depth.
    """
    leaves_energy = np.any(fractions >= FRACTION_MIN, axis=0)
    # Tracks that leave nothing pass through a tower too.
    everywhere = np.full(len(tracks), True)
    return fill_towers(
        grid.n_towers,
        particles,
        fractions.sum(axis=0),
        grid.find(particles["x"], particles["y"], particles["z"], leaves_energy),
        tracks,
        track_fractions.sum(axis=0),
        grid.find(tracks["x"], tracks["y"], tracks["z"], everywhere),
    )
