"""VertexFinder: against a slow search by the same rules, and on vertices made by hand."""

import math

import numpy as np
import pytest
from test_jets import module
from test_objects import collection, store_of

from generation.fastsim.branches import make_branch
from generation.fastsim.modules.vertex_finder import VertexFinder

BODY = "VertexFinder set InputArray In/tracks"


def vertices_of(tmp_path, tracks, settings=""):
    store = store_of(tracks=tracks)
    VertexFinder(module(tmp_path, f"{BODY}\n{settings}")).run(store)
    return store.arrays["M/vertices"], store.arrays["M/tracks"]


class Cluster:
    """A set of tracks, with its weighted mean and the error of it."""

    def __init__(self, tracks, weight):
        self.tracks, self.weight = tracks, weight
        self.members = []

    def place(self):
        z, error = self.tracks["dz"][self.members], self.tracks["error_dz"][self.members]
        weight = self.weight[self.members]
        spread = np.sum(weight * error**2) / np.sum(weight) / len(z)
        return np.sum(weight * z) / np.sum(weight), math.sqrt(spread)


def expected_vertices(tracks, sigma=3.0, seed_pt_min=5.0, tracks_min=4):
    """Return the clusters of one event: members by falling Σ pT², and the cluster of each track."""
    pt, z, error = tracks["pt"], tracks["dz"], tracks["error_dz"]
    weight = (pt / (tracks["error_pt"] * error)) ** 2
    falling = sorted(range(len(pt)), key=lambda i: -pt[i])
    seeds = falling[: max(int(np.sum(pt >= seed_pt_min)), 1)]
    clusters = []
    for seed in seeds:
        clusters.append(Cluster(tracks, weight))
        clusters[-1].members.append(seed)
    claimed = set()
    for seed, cluster in zip(seeds, clusters, strict=True):
        if not cluster.members:
            continue
        near = []
        while True:
            centre, spread = cluster.place()
            candidates = {
                i: abs(centre - z[i]) / math.hypot(spread, error[i])
                for i in (near or range(len(pt)))
                if i not in claimed and i not in cluster.members
            }
            if not near:
                near = [i for i, distance in candidates.items() if distance < 10 * sigma]
            nearest = min(candidates, key=candidates.get, default=None)
            if nearest is None or candidates[nearest] >= sigma:
                break
            for other in clusters:
                if nearest in other.members:
                    other.members.remove(nearest)
            claimed.add(nearest)
            cluster.members.append(nearest)
        if len(cluster.members) < tracks_min:
            claimed -= set(cluster.members)
            cluster.members = []
        else:
            claimed.add(seed)
    return clusters


@pytest.mark.parametrize("seed", range(6))
def test_vertices_are_those_of_a_slow_search(tmp_path, seed):
    rng = np.random.default_rng(seed)
    counts = [80, 0, 3, 40]
    n = sum(counts)
    places = rng.normal(0, 50, 12)
    error = rng.uniform(0.05, 0.5, n)
    tracks = collection(
        counts, rng.exponential(3.0, n) + 0.2, rng.uniform(-2, 2, n), 0.0,
        dz=rng.choice(places, n) + error * rng.normal(0, 1, n), error_dz=error,
        error_pt=rng.uniform(0.01, 0.1, n),
    )  # fmt: skip
    vertices, marked = vertices_of(tmp_path, tracks)
    assert len(marked) == n
    for event in range(len(counts)):
        one = tracks.select(tracks.event_of_row() == event)
        rows = slice(vertices.offsets[event], vertices.offsets[event + 1])
        if not counts[event]:
            assert vertices.counts[event] == 0
            continue
        clusters = expected_vertices(one)
        kept = [i for i, cluster in enumerate(clusters) if cluster.members]
        kept.sort(key=lambda i: -np.sum(one["pt"][clusters[i].members] ** 2))
        assert vertices["cluster_index"][rows].tolist() == kept
        assert vertices["cluster_ndf"][rows].tolist() == [len(clusters[i].members) for i in kept]
        found = list(zip(vertices["z"][rows], vertices["position_error_z"][rows], strict=True))
        assert found == [pytest.approx(clusters[i].place()) for i in kept]
        index = marked["cluster_index"][tracks.offsets[event] : tracks.offsets[event + 1]]
        for i in kept:
            assert np.flatnonzero(index == i).tolist() == sorted(clusters[i].members)
        assert np.sum(index >= 0) == sum(len(clusters[i].members) for i in kept)


def vertex_tracks():
    z = [0.0, 0.1, -0.1, 0.05, 20.0, 20.1, 19.9, 20.0, 20.05, -30.0]
    pt = [9.0, 2.0, 2.0, 2.0, 3.0, 6.0, 3.0, 3.0, 3.0, 7.0]
    return collection([10, 1], [*pt, 0.05], 0.0, 0.0, dz=[*z, 1.0], error_dz=0.1, error_pt=0.1)


def test_vertices_by_hand(tmp_path):
    vertices, tracks = vertices_of(tmp_path, vertex_tracks())
    # The seed of 7 GeV stays alone; the track of the second event is too soft.
    assert vertices.counts.tolist() == [2, 0]
    assert vertices["cluster_ndf"].tolist() == [4, 5]
    assert vertices["sum_pt2"].tolist() == pytest.approx([81 + 12, 36 + 36])
    assert tracks.counts.tolist() == [10, 0]
    assert tracks["cluster_index"].tolist() == [0] * 4 + [2] * 5 + [-1]
    assert vertices["z"] == pytest.approx([0.0, 20.06], abs=0.05)
    branch = make_branch("Vertex", vertices)
    assert branch.columns["ErrorZ"] == pytest.approx([0.1 / 2, 0.1 / math.sqrt(5)])
    assert branch.columns["Sigma"].tolist() == [3.0, 3.0]


def test_settings_of_the_search(tmp_path):
    def sizes(settings):
        return vertices_of(tmp_path, vertex_tracks(), settings)[0]["cluster_ndf"].tolist()

    assert sizes("set MinNDF 5") == [5]
    assert sizes("set MinNDF 1") == [4, 5, 1]
    assert sizes("set SeedMinPT 100") == [4]
    assert sizes("set GrowSeeds 0; set MinNDF 1") == [1, 1, 1]
    assert sizes("set MinPT 2.5") == [5]
    assert sizes("set Sigma 1e5; set MinNDF 0") == [10]
    assert sizes("set MinPT 10") == []


def test_tracks_without_errors_are_exact(tmp_path):
    tracks = collection([6], [9.0] * 6, 0.0, 0.0, dz=[0.0, 0.0, 0.0, 0.0, 5.0, 5.0])
    vertices, _ = vertices_of(tmp_path, tracks)
    assert vertices["cluster_ndf"].tolist() == [4]
    assert np.isfinite(vertices["z"]).all()
