"""Gathers generated particles in vertices (Delphes: TruthVertexFinder)."""

import numpy as np

from generation.fastsim.candidates import Candidates
from generation.fastsim.card import ModuleConfig
from generation.fastsim.kernels import kernel
from generation.fastsim.module import EventStore, Module


class TruthVertexFinder(Module):
    """Makes a vertex of all particles that were made at the same distance from the origin.

    Delphes compares distances, not places. A particle near to several vertices, all of which a
    card with a coarse `Resolution` may have, belongs to each of them. The first particle of a
    vertex counts in `cluster_ndf` and `gen_sum_pt2`, but is none of its parts.
    """

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.input = config.text("InputArray", "Delphes/stableParticles")
        self.output = config.text("VertexOutputArray", "vertices")
        self.new_arrays = frozenset({self.output})
        self.resolution = 1e3 * config.number("Resolution", 1e-6)

    def run(self, store: EventStore) -> None:
        """Write the vertices of each event in the order of their first particles."""
        particles = self.array(store, self.input)
        place = {name: particles[name].astype(np.float64) for name in ("x", "y", "z", "t")}
        distance = np.sqrt(place["x"] ** 2 + place["y"] ** 2 + place["z"] ** 2)
        first, members, owners = _gather(distance, particles.offsets, self.resolution)
        offsets = np.searchsorted(first, particles.offsets)
        charged = particles["charge"] != 0
        n_charged = charged[first].astype(np.int64)
        n_charged += np.bincount(owners, charged[members], len(first)).astype(np.int64)
        pt2 = np.where(charged, particles["pt"] ** 2, 0.0)
        sum_pt2 = pt2[first] + np.bincount(owners, pt2[members], len(first))
        number = np.arange(len(first)) - np.repeat(offsets[:-1], np.diff(offsets))
        columns = {name: values[first] for name, values in place.items()}
        columns |= {"cluster_index": number, "cluster_ndf": n_charged, "gen_sum_pt2": sum_pt2}
        vertices = Candidates(offsets, columns)
        vertices.parts = (particles.at(members), owners)
        self.export(store, self.output, vertices)


def _gather(
    distance: np.ndarray, offsets: np.ndarray, resolution: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the first particle of each vertex, and pairs of a particle and its vertex."""
    first = np.empty(len(distance), np.int64)
    # Without a bound on how many vertices a particle has, count before writing.
    nothing = np.empty(0, np.int64)
    _, n_pairs = _fill(distance, offsets, resolution, first, nothing, nothing)
    members, owners = np.empty(n_pairs, np.int64), np.empty(n_pairs, np.int64)
    n_vertices, _ = _fill(distance, offsets, resolution, first, members, owners)
    return first[:n_vertices], members, owners


@kernel()
def _fill(distance, offsets, resolution, first, members, owners):
    """Find the vertices; return how many there are, and how many pairs. Pairs are optional."""
    n_vertices, n_pairs = 0, 0
    for event in range(len(offsets) - 1):
        start = n_vertices
        for i in range(offsets[event], offsets[event + 1]):
            found = False
            for vertex in range(start, n_vertices):
                if abs(distance[i] - distance[first[vertex]]) < resolution:
                    found = True
                    if len(members) > 0:
                        members[n_pairs] = i
                        owners[n_pairs] = vertex
                    n_pairs += 1
            if not found:
                first[n_vertices] = i
                n_vertices += 1
    return n_vertices, n_pairs
