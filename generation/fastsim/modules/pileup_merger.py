"""Adds minimum-bias events to each hard event (Delphes: PileUpMerger)."""

import math

import numpy as np
from numpy.typing import NDArray

from generation.fastsim.candidates import Candidates, consecutive_runs
from generation.fastsim.card import ModuleConfig
from generation.fastsim.formula import Formula
from generation.fastsim.kernels import kernel
from generation.fastsim.kinematics import SPEED_OF_LIGHT
from generation.fastsim.module import EventStore, Module
from provenance.errors import UserError

# Cells along z and t in which Delphes (ROOT's TF2) tabulates the vertex density.
VERTEX_CELLS = 100

POISSON, UNIFORM, FIXED = 0, 1, 2
# Of Delphes, for a card that does not say.
MEAN_PILEUP = 10.0
# More particles would not fit into memory.
MOST_PILEUP = 100_000.0


class PileUpMerger(Module):
    """Places the hard event and a random number of minimum-bias events along the beam line.

    Every interaction has a vertex (z, t) drawn from the card's density; minimum-bias events are
    drawn from the library with replacement and turned by a random angle around the beam. Writes
    the particles of all interactions and the list of vertices, the hard one first.
    """

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.input = config.text("InputArray", "Delphes/stableParticles")
        self.marks = {self.input: ("z", "t")}
        self.particle_output = config.text("ParticleOutputArray", "stableParticles")
        self.vertex_output = config.text("VertexOutputArray", "vertices")
        self.distribution = config.integer("PileUpDistribution", POISSON)
        self.interactions = config.number("MeanPileUp", MEAN_PILEUP)
        if self.interactions < 0.0:
            raise config.error("MeanPileUp", "is negative")
        if self.interactions > MOST_PILEUP:
            raise config.error("MeanPileUp", f"is more than {MOST_PILEUP:g}")
        self.beam_spot = [
            config.number(name, 0.0)
            for name in ("InputBeamSpotX", "InputBeamSpotY", "OutputBeamSpotX", "OutputBeamSpotY")
        ]
        spreads = [
            config.number(name, default)
            for name, default in (("ZVertexSpread", 0.15), ("TVertexSpread", 1.5e-9))
        ]
        formula = self.formula("VertexDistributionFormula", "0.0", ("z", "t"))
        self.vertex_density = VertexDensity(formula, *spreads)
        if not np.isfinite(self.vertex_density.cumulative).all():
            raise config.error("VertexDistributionFormula", "is not finite everywhere")
        config.ignore("PileUpFile")  # the library is given to the detector, not found by the card

    def run(self, store: EventStore) -> None:
        """Write the particles and the vertices of all interactions."""
        if store.pileup is None and self.interactions > 0.0:
            raise UserError(
                f"{self.config.path}: the card asks for {self.interactions:g} pile-up "
                "interactions per event; give a minimum-bias library "
                "(python -m generation pileup)"
            )
        hard = self.array(store, self.input)
        counts = self._pileup_counts(store)
        n_pileup = int(counts.sum())
        z, t = self.vertex_density.draw(store.n_events + n_pileup, store.rng)
        angle = store.rng.uniform(-math.pi, math.pi, n_pileup)
        if n_pileup and store.pileup is not None:
            entries = store.rng.integers(0, len(store.pileup.offsets) - 1, n_pileup)
        else:
            entries = np.zeros(0, np.int64)

        _shift_hard_event(hard, z[: store.n_events], t[: store.n_events])
        particles, sums = _collect(hard, store, counts, entries, z, t, angle, self.beam_spot)
        self.export(store, self.particle_output, particles)
        self.export(store, self.vertex_output, _vertices(counts, z, t, sums))

    def _pileup_counts(self, store: EventStore) -> NDArray[np.int64]:
        if self.distribution == UNIFORM:
            return store.rng.integers(0, int(2 * self.interactions) + 1, store.n_events)
        if self.distribution == FIXED:
            return np.full(store.n_events, int(self.interactions))
        return store.rng.poisson(self.interactions, store.n_events)


class VertexDensity:
    """The density of vertices in z (m) and t (s), tabulated in cells as ROOT's TF2 does.

    Parameters
    ----------
    density
        Formula of z and t.
    z_spread, t_spread
        Half the ranges, m and s.
    """

    def __init__(self, density: Formula, z_spread: float, t_spread: float) -> None:
        self.low = -np.array([z_spread, t_spread])
        self.width = 2.0 * np.array([z_spread, t_spread]) / VERTEX_CELLS
        centre = np.arange(VERTEX_CELLS) + 0.5
        z, t = (
            grid.ravel()
            for grid in np.meshgrid(
                self.low[0] + centre * self.width[0],
                self.low[1] + centre * self.width[1],
                indexing="ij",
            )
        )
        self.cumulative = np.cumsum(np.maximum(density(z=z, t=t), 0.0))
        if self.cumulative[-1] == 0.0:
            # A density that is zero everywhere leaves ROOT nothing to draw from: no spread.
            self.cumulative = np.zeros(0)

    def draw(
        self, size: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return `size` vertices: z in mm and t in mm/c."""
        if not len(self.cumulative):
            return np.zeros(size), np.zeros(size)
        cell = np.searchsorted(
            self.cumulative, rng.random(size) * self.cumulative[-1], side="right"
        )
        within = rng.random((2, size))
        z = self.low[0] + (cell // VERTEX_CELLS + within[0]) * self.width[0]
        t = self.low[1] + (cell % VERTEX_CELLS + within[1]) * self.width[1]
        return z * 1e3, t * (SPEED_OF_LIGHT * 1e3)


def _shift_hard_event(
    hard: Candidates, vertex_z: NDArray[np.float64], vertex_t: NDArray[np.float64]
) -> None:
    """Move the hard particles so that the first one of each event starts at its vertex.

    The particles themselves move, as in Delphes: the generator record shows it.
    """
    first = np.minimum(hard.offsets[:-1], max(len(hard) - 1, 0))
    for column, vertex in (("z", vertex_z), ("t", vertex_t)):
        values = hard[column]
        if len(values):
            values = values + np.repeat(vertex - values[first], hard.counts)
        hard.mark(column, values)


def _collect(
    hard: Candidates,
    store: EventStore,
    counts: NDArray[np.int64],
    entries: NDArray[np.int64],
    z: NDArray[np.float64],
    t: NDArray[np.float64],
    angle: NDArray[np.float64],
    beam_spot: list[float],
) -> tuple[Candidates, NDArray[np.float64]]:
    """Return the particles of all interactions; and x, y, charged particles, Σ pT² per vertex."""
    library, n_events = store.pileup, store.n_events
    first = stop = np.zeros(0, np.int64)
    if library is not None and len(entries):
        starts = library.offsets.astype(np.int64)
        first, stop = starts[entries], starts[entries + 1]
    before = np.concatenate(([0], np.cumsum(stop - first)))
    interactions = np.concatenate(([0], np.cumsum(counts)))
    offsets = hard.offsets + before[interactions]

    integers = np.ones((4, offsets[-1]), np.int32)
    reals = np.empty((9, offsets[-1]))
    hard_rows = consecutive_runs(offsets[:-1], hard.counts)
    for row, name in enumerate(INTEGERS):
        integers[row, hard_rows] = hard[name]
    for row, name in enumerate(REALS):
        reals[row, hard_rows] = hard[name]
    sums = np.zeros((4, len(entries)))
    if library is not None and len(entries):
        _copy_events(
            first, stop, before[:-1] + np.repeat(hard.offsets[1:], counts),
            library.pid, library.charge, library.mass, library.px, library.py, library.pz,
            library.e, library.x, library.y, library.z, library.t,
            z[n_events:], t[n_events:], angle, np.array(beam_spot), integers, reals, sums,
        )  # fmt: skip
        sums[:2] /= np.maximum(stop - first, 1)
    sums = np.insert(sums, interactions[:-1], _hard_sums(hard), axis=1)
    columns = dict(zip(INTEGERS, integers, strict=True)) | dict(zip(REALS, reals, strict=True))
    return Candidates(offsets, columns), sums


# Columns of the merged particles, in the order of the rows that the kernel fills.
INTEGERS = ("pid", "charge", "status", "is_pu")
REALS = ("px", "py", "pz", "e", "x", "y", "z", "t", "mass")


def _vertices(
    counts: NDArray[np.int64],
    z: NDArray[np.float64],
    t: NDArray[np.float64],
    sums: NDArray[np.float64],
) -> Candidates:
    """Return the vertices: the hard one, then pile-up, as Delphes fills them."""
    n_events = len(counts)
    offsets = np.concatenate(([0], np.cumsum(counts + 1))).astype(np.int64)
    is_pu = np.ones(len(z), np.int32)
    is_pu[offsets[:-1]] = 0
    place = np.empty((2, len(z)))
    for row, drawn in enumerate((z, t)):
        place[row, is_pu == 0] = drawn[:n_events]
        place[row, is_pu == 1] = drawn[n_events:]
    x, y, n_charged, sum_pt2 = sums
    # Delphes does not reset its counter of charged particles between the vertices of an event.
    running = np.cumsum(n_charged)
    before = np.concatenate(([0.0], running))[offsets[:-1]]
    return Candidates(
        offsets,
        {
            "x": x,
            "y": y,
            "z": place[0],
            "t": place[1],
            "is_pu": is_pu,
            "cluster_index": np.arange(len(z)) - np.repeat(offsets[:-1], counts + 1),
            "cluster_ndf": running - np.repeat(before, counts + 1),
            "sum_pt2": sum_pt2,
            "gen_sum_pt2": sum_pt2,
        },
    )


def _hard_sums(hard: Candidates) -> NDArray[np.float64]:
    """Return x, y, number of charged particles and Σ pT² of each hard vertex.

    Delphes divides the summed position of the hard vertex by Σ pT², not by the number of
    particles; a vertex without charged particles is put at the origin.
    """
    charged = hard["charge"] != 0
    sum_pt2 = hard.sum_by_event(np.where(charged, hard["pt"] ** 2, 0.0))
    scale = np.divide(1.0, sum_pt2, out=np.zeros_like(sum_pt2), where=sum_pt2 > 0.0)
    x, y = (hard.sum_by_event(hard[axis]) * scale for axis in "xy")
    return np.stack([x, y, hard.sum_by_event(charged), sum_pt2])


@kernel()
def _copy_events(
    first, stop, to, pid, charge, mass, lib_px, lib_py, pz, e, lib_x, lib_y, lib_z, lib_t,
    z, t, angle, beam_spot, integers, reals, sums,
):  # fmt: skip
    """Copy each drawn minimum-bias event to the rows from `to` on, turned and shifted."""
    for j in range(len(first)):
        cos, sin, k = math.cos(angle[j]), math.sin(angle[j]), to[j]
        for i in range(first[j], stop[j]):
            integers[0, k], integers[1, k] = pid[i], charge[i]
            px, py = lib_px[i], lib_py[i]
            reals[0, k] = cos * px - sin * py
            reals[1, k] = sin * px + cos * py
            reals[2, k], reals[3, k], reals[8, k] = pz[i], e[i], mass[i]
            x, y = lib_x[i] - beam_spot[0], lib_y[i] - beam_spot[1]
            reals[4, k] = cos * x - sin * y + beam_spot[2]
            reals[5, k] = sin * x + cos * y + beam_spot[3]
            reals[6, k], reals[7, k] = lib_z[i] + z[j], lib_t[i] + t[j]
            sums[0, j] += reals[4, k]
            sums[1, j] += reals[5, k]
            if charge[i] != 0:
                sums[2, j] += 1.0
                sums[3, j] += px * px + py * py
            k += 1
