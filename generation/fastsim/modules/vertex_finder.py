"""Finds vertices along the beam line from tracks (Delphes: VertexFinder)."""

import math

import numpy as np

from generation.fastsim.candidates import Candidates
from generation.fastsim.card import ModuleConfig
from generation.fastsim.kernels import kernel
from generation.fastsim.module import EventStore, Module

# What Delphes takes for an error of zero, in mm and GeV.
NO_ERROR = 1e-15

# Tracks that are further than this many times `Sigma` at first are not looked at again.
REACH = 10.0

# Rows of what the kernel knows of a cluster.
SUM_Z, SUM_ERROR, SUM_WEIGHT, Z, ERROR, SUM_PT2 = range(6)


class VertexFinder(Module):
    """Grows a vertex from each hard track: the nearest track within `Sigma` joins, one by one.

    Seeds are the tracks above `SeedMinPT`, or the hardest one. The hardest seed starts; it
    may take tracks that only seed later vertices. A vertex with less than `MinNDF` tracks gives
    them free. Writes the tracks, marked with their vertex, and the vertices by falling Σ pT².
    """

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.input = config.text("InputArray", "TrackSmearing/tracks")
        self.marks = {self.input: ("cluster_index",)}
        self.output = config.text("OutputArray", "tracks")
        self.vertex_output = config.text("VertexOutputArray", "vertices")
        self.sigma = config.number("Sigma", 3.0)
        self.pt_min = config.number("MinPT", 0.1)
        self.eta_max = config.number("MaxEta", 10.0)
        self.seed_pt_min = config.number("SeedMinPT", 5.0)
        self.tracks_min = config.integer("MinNDF", 4)
        self.grow = config.flag("GrowSeeds", True)

    def run(self, store: EventStore) -> None:
        """Write the tracks and the vertices."""
        tracks = self.array(store, self.input)
        kept = (tracks["pt"] >= self.pt_min) & (np.abs(tracks["eta"]) <= self.eta_max)
        tracks = tracks.select(kept)
        pt, z = tracks["pt"], tracks["dz"].astype(np.float64)
        error_pt, error_z = (_error(tracks[f"error_{name}"]) for name in ("pt", "dz"))
        weight = (pt / (error_pt * error_z)) ** 2
        # The hardest first; clusters are numbered in this order.
        order = np.lexsort((-pt, tracks.event_of_row()))
        n_hard = tracks.sum_by_event((pt >= self.seed_pt_min).astype(np.float64))
        n_seeds = np.minimum(np.maximum(n_hard, 1), tracks.counts).astype(np.int64)

        cluster = np.full(len(tracks), -1)
        sizes = np.zeros(int(n_seeds.sum()), np.int64)
        sums = np.zeros((6, len(sizes)))
        _find(
            order, tracks.offsets, n_seeds, pt, z, error_z, weight,
            self.sigma, self.tracks_min, self.grow,
            np.empty(len(tracks), np.bool_), np.empty(len(tracks), np.int64), cluster, sizes, sums,
        )  # fmt: skip
        tracks.mark("cluster_index", cluster.astype(np.int32))
        self.export(store, self.output, tracks)

        offsets = np.concatenate(([0], np.cumsum(n_seeds))).astype(np.int64)
        clusters = Candidates(
            offsets,
            {
                "x": np.zeros(len(sizes)),
                "y": np.zeros(len(sizes)),
                "z": sums[Z],
                "t": np.zeros(len(sizes)),
                "position_error_z": sums[ERROR],
                "cluster_index": np.arange(len(sizes)) - np.repeat(offsets[:-1], n_seeds),
                "cluster_ndf": sizes,
                "cluster_sigma": np.full(len(sizes), self.sigma),
                "sum_pt2": sums[SUM_PT2],
            },
        )
        found = clusters.select(sizes >= max(self.tracks_min, 1))
        falling = np.lexsort((-found["sum_pt2"], found.event_of_row()))
        self.export(store, self.vertex_output, found.at(falling))


def _error(values: np.ndarray) -> np.ndarray:
    return np.where(values == 0.0, NO_ERROR, values)


@kernel()
def _find(
    order, offsets, n_seeds, pt, z, error, weight, sigma, tracks_min, grow,
    claimed, near, cluster, sizes, sums,
):  # fmt: skip
    """Fill in the cluster of each track, and the size and sums of each cluster.

    `claimed` and `near` are working memory.
    """
    claimed[:] = False
    start = 0
    for event in range(len(n_seeds)):
        first, last = offsets[event], offsets[event + 1]
        for k in range(n_seeds[event]):
            _move(order[first + k], k, start, 1, pt, z, error, weight, cluster, sizes, sums)
        for k in range(n_seeds[event]):
            if sizes[start + k] == 0:
                continue
            if grow:
                _grow(
                    k, start, first, last, pt, z, error, weight, sigma,
                    claimed, near, cluster, sizes, sums,
                )  # fmt: skip
            if sizes[start + k] < tracks_min:
                for i in range(first, last):
                    if cluster[i] == k:
                        cluster[i] = -1
                        claimed[i] = False
            else:
                claimed[order[first + k]] = True
        start += n_seeds[event]


@kernel()
def _move(i, k, start, sign, pt, z, error, weight, cluster, sizes, sums):
    """Add track i to cluster k, or take it away."""
    c = start + k
    cluster[i] = k if sign > 0 else -1
    sizes[c] += sign
    sums[SUM_Z, c] += sign * weight[i] * z[i]
    sums[SUM_ERROR, c] += sign * weight[i] * error[i] * error[i]
    sums[SUM_WEIGHT, c] += sign * weight[i]
    sums[SUM_PT2, c] += sign * pt[i] * pt[i]
    if sizes[c] > 0 and sums[SUM_WEIGHT, c] > 0.0:
        sums[Z, c] = sums[SUM_Z, c] / sums[SUM_WEIGHT, c]
        spread = max(sums[SUM_ERROR, c] / sums[SUM_WEIGHT, c], 0.0)
        sums[ERROR, c] = math.sqrt(spread / sizes[c])


@kernel()
def _grow(k, start, first, last, pt, z, error, weight, sigma, claimed, near, cluster, sizes, sums):
    """Let the nearest track join cluster k, until none is within `sigma`."""
    n_near = 0
    while True:
        # Only what is near at first is looked at again, or everything where nothing is.
        everything = n_near == 0
        nearest, shortest = -1, math.inf
        for j in range(last - first if everything else n_near):
            i = first + j if everything else near[j]
            if claimed[i] or cluster[i] == k:
                continue
            c = start + k
            distance = abs(sums[Z, c] - z[i]) / math.hypot(sums[ERROR, c], error[i])
            if distance < shortest:
                nearest, shortest = i, distance
            if everything and distance < REACH * sigma:
                near[n_near] = i
                n_near += 1
        if not shortest < sigma:
            return
        if cluster[nearest] >= 0:
            _move(nearest, cluster[nearest], start, -1, pt, z, error, weight, cluster, sizes, sums)
        claimed[nearest] = True
        _move(nearest, k, start, 1, pt, z, error, weight, cluster, sizes, sums)
