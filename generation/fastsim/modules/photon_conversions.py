"""Converts photons into pairs in the material (Delphes: PhotonConversions)."""

import numpy as np
from numpy.typing import NDArray

from generation.fastsim.candidates import Candidates, consecutive_runs, merge
from generation.fastsim.card import ModuleConfig
from generation.fastsim.module import EventStore, Module

PHOTON, ELECTRON = 22, 11

# Pair production per radiation length.
PAIRS_PER_LENGTH = 7.0 / 9.0

# Photons that are followed at a time: they take hundreds of steps each.
BLOCK = 2048

# The share of the energy that one lepton gets, with density 1 - 4/3 x (1 - x), and its integral.
_SHARE = np.linspace(0.0, 1.0, 4097)
_INTEGRAL = (_SHARE - 2.0 / 3.0 * _SHARE**2 + 4.0 / 9.0 * _SHARE**3) * (9.0 / 7.0)


class PhotonConversions(Module):
    """Follows photons to the end of a cylinder, and converts some of them into e⁺e⁻ on their way.

    `ConversionMap` is a formula of (r, phi, z), in metres: the radiation lengths per metre there.
    As in Delphes, photons that start outside the cylinder or fly outside `EtaMin` to `EtaMax` are
    lost, and a pair gets the time at which the photon would have left the cylinder.
    """

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.input = config.text("InputArray", "Delphes/stableParticles")
        self.output = config.text("OutputArray", "stableParticles")
        self.radius = config.number("Radius", 1.0)
        self.half_length = config.number("HalfLength", 3.0)
        self.eta_min = config.number("EtaMin", 2.0)
        self.eta_max = config.number("EtaMax", 5.0)
        self.step = config.number("Step", 0.1)
        if self.step <= 0.0:
            raise config.error("Step", "is not a length")
        self.material = self.formula("ConversionMap", "0.0", ("r", "phi", "z"))

    def run(self, store: EventStore) -> None:
        """Write what is left of the particles, and behind them the pairs."""
        particles = self.array(store, self.input)
        is_photon = particles["pid"] == PHOTON
        eta, inside = particles["eta"], particles["position_r"] * 1e-3 <= self.radius
        inside &= np.abs(particles["z"]) * 1e-3 <= self.half_length
        inside &= (eta >= self.eta_min) & (eta <= self.eta_max) & (particles["pt"] > 0.0)
        photons = particles.select(is_photon & inside)
        converted, place, time = self._follow(photons, store.rng)

        left = ~is_photon | inside
        left[photons.index[converted]] = False
        pairs = _pairs(photons.at(converted), place, time, store.rng)
        self.export(store, self.output, merge([particles.select(left), pairs]))

    def _follow(
        self, photons: Candidates, rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        """Return the rows of photons that convert, where (m), and the flight per momentum (m)."""
        start = np.stack([photons[name] for name in ("x", "y", "z")]) * 1e-3
        momentum = np.stack([photons[name] for name in ("px", "py", "pz")])
        flight = self._flight(start, momentum)
        way = momentum * flight
        # As in Delphes, the steps are counted by how far from the origin the flight ends.
        n_steps = (np.sqrt(np.sum((start + way) ** 2, axis=0)) / self.step).astype(np.int64)
        stride = way / np.maximum(n_steps, 1)
        step = np.zeros(len(flight), np.int64)
        for first in range(0, len(flight), BLOCK):
            block = slice(first, first + BLOCK)
            step[block] = self._convert(start[:, block], stride[:, block], n_steps[block], rng)
        converted = np.flatnonzero(step)
        place = start[:, converted] + stride[:, converted] * step[converted]
        return converted, place, flight[converted]

    def _convert(
        self,
        start: NDArray[np.float64],
        stride: NDArray[np.float64],
        n_steps: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> NDArray[np.int64]:
        """Return the step, from 1 on, at which each photon converts; 0 for none."""
        photon = np.repeat(np.arange(len(n_steps)), n_steps)
        step = consecutive_runs(np.ones(len(n_steps), np.int64), n_steps)
        x, y, z = start[:, photon] + stride[:, photon] * step
        place = {"r": np.hypot(x, y), "phi": np.arctan2(y, x), "z": z}
        rate = self.material(**{name: place[name] for name in self.material.names})
        length = self.step * np.cumsum(np.maximum(np.broadcast_to(rate, len(step)), 0.0))
        before = np.concatenate(([0.0], length))[np.cumsum(n_steps) - n_steps]
        depth = rng.exponential(1.0 / PAIRS_PER_LENGTH, len(n_steps))
        deep = np.flatnonzero(length - before[photon] > depth[photon])
        found, earliest = np.unique(photon[deep], return_index=True)
        result = np.zeros(len(n_steps), np.int64)
        result[found] = step[deep[earliest]]
        return result

    def _flight(
        self, start: NDArray[np.float64], momentum: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the flight of each photon to the end of the cylinder, per momentum, m/GeV."""
        x, y, z = start
        px, py, pz = momentum
        pt2 = px**2 + py**2
        cross = px * y - py * x
        flight = (np.sqrt(np.maximum(pt2 * self.radius**2 - cross**2, 0)) - px * x - py * y) / pt2
        to_end = np.divide(
            np.copysign(self.half_length, pz) - z, pz, out=np.full_like(pz, np.inf), where=pz != 0.0
        )
        return np.minimum(flight, to_end)


def _pairs(
    photons: Candidates,
    place: NDArray[np.float64],
    flight: NDArray[np.float64],
    rng: np.random.Generator,
) -> Candidates:
    """Return an electron and a positron for each photon, at the (3, n) places.

    They are particles of their own: what propagates them later must start here.
    """
    n = len(photons)
    share = np.interp(rng.random(n), _INTEGRAL, _SHARE)
    shares = np.stack([1.0 - share, share], axis=1).ravel()
    columns = {name: np.repeat(photons[name], 2) * shares for name in ("px", "py", "pz", "e")}
    columns |= dict(zip(("x", "y", "z"), np.repeat(place * 1e3, 2, axis=1), strict=True))
    columns["t"] = np.repeat(photons["t"] + flight * photons["e"] * 1e3, 2)
    columns["pid"] = np.tile(np.array([ELECTRON, -ELECTRON], np.int32), n)
    columns["charge"] = np.tile(np.array([-1, 1], np.int32), n)
    for name in ("status", "m1", "m2", "d1", "d2", "is_pu"):
        columns[name] = np.repeat(photons[name], 2)
    return Candidates(2 * photons.offsets, columns)
