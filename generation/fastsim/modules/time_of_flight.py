"""Gives tracks the time at which they left their vertex (Delphes: TimeOfFlight)."""

import numpy as np
from numpy.typing import NDArray

from generation.fastsim.candidates import Candidates
from generation.fastsim.card import ModuleConfig
from generation.fastsim.module import EventStore, Module

GENERATED, ZERO, FLIGHT_OF_VERTEX = 0, 1, 2
MOMENTUM = ("px", "py", "pz", "e")


class TimeOfFlight(Module):
    """Sets the time at which each candidate was made, by `VertexTimeMode`.

    0 takes it from the generator, 1 takes it for zero. 2 estimates it: what decayed flew from the
    origin to where the track starts, with the velocity of all tracks of that vertex together.
    """

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.input = config.text("InputArray", "MuonMomentumSmearing/muons")
        self.vertices = config.text("VertexInputArray", "TruthVertexFinder/vertices")
        self.output = config.text("OutputArray", "tracks")
        self.mode = config.integer("VertexTimeMode", GENERATED)
        # Like Delphes, which adds to what an earlier module of this kind has summed.
        self.marks = {self.vertices: MOMENTUM}

    def run(self, store: EventStore) -> None:
        """Write clones with the time of production."""
        tracks = self.array(store, self.input)
        vertices = self.array(store, self.vertices)
        place = {name: tracks[f"initial_{name}"] for name in ("x", "y", "z")}
        velocity = self._velocities(tracks, vertices)
        if self.mode == GENERATED:
            time = tracks.origin["t"].astype(np.float64)
        elif self.mode == FLIGHT_OF_VERTEX:
            distance = np.sqrt(place["x"] ** 2 + place["y"] ** 2 + place["z"] ** 2)
            time = distance / velocity
        else:
            time = np.zeros(len(tracks))
        made = {f"initial_{name}": values for name, values in place.items()}
        rows = np.arange(len(tracks))
        self.export(store, self.output, tracks.clone(rows, initial_t=time, **made))

    def _velocities(self, tracks: Candidates, vertices: Candidates) -> NDArray[np.float64]:
        """Add the momenta of the tracks to their vertices; return the velocity of each's vertex.

        1, the speed of light, for tracks without one. Of several, the last one counts.
        """
        if vertices.parts is None:
            return np.ones(len(tracks))
        particles, owners = vertices.parts
        order = np.argsort(particles.identity, kind="stable")
        identity, wanted = particles.identity[order], tracks.origin.identity
        low, high = (np.searchsorted(identity, wanted, side) for side in ("left", "right"))
        track = np.repeat(np.arange(len(tracks)), high - low)
        starts = np.cumsum(high - low) - (high - low)
        vertex = owners[order[np.arange(len(track)) + np.repeat(low - starts, high - low)]]
        momentum = {}
        for name in MOMENTUM:
            added = np.bincount(vertex, tracks[name][track], len(vertices))
            momentum[name] = vertices[name] + added
            vertices.mark(name, momentum[name])
        p = np.sqrt(sum(momentum[name] ** 2 for name in ("px", "py", "pz")))
        beta = np.divide(p, momentum["e"], out=np.ones(len(p)), where=momentum["e"] > 0.0)
        velocity = np.ones(len(tracks))
        velocity[track] = beta[vertex]
        return velocity
