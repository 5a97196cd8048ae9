"""Marks and removes charged candidates from other vertices (Delphes: TrackPileUpSubtractor)."""

import numpy as np

from generation.fastsim.candidates import Candidates
from generation.fastsim.card import ModuleConfig
from generation.fastsim.module import EventStore, Module, evaluate


class TrackPileUpSubtractor(Module):
    """Marks charged pile-up whose production point lies away in z from the hard vertex.

    The mark (`is_reco_pu`) is set on the input candidates themselves, so that later readers of
    the input array see it too; the output arrays hold those that are not marked.
    """

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        names = config.texts("InputArray")
        if len(names) % 2:
            raise config.error("InputArray", "is not made of pairs of an input and an output array")
        self.arrays = list(zip(names[::2], names[1::2], strict=True))
        self.marks = dict.fromkeys(names[::2], ("is_reco_pu",))
        self.vertices = config.text("VertexInputArray", "PileUpMerger/vertices")
        self.resolution = self.formula("ZVertexResolution", "0.001")
        self.pt_min = config.number("PTMin", 0.0)

    def run(self, store: EventStore) -> None:
        """Mark the input arrays and write the unmarked candidates of each."""
        vertex_z = _hard_vertex_z(self.array(store, self.vertices))
        for input_name, output_name in self.arrays:
            candidates = self.array(store, input_name)
            distance = np.abs(candidates.origin["z"] - np.repeat(vertex_z, candidates.counts))
            # The formula, of the particle's momentum, is in metres.
            resolution = 1e3 * evaluate(self.resolution, candidates.origin)
            charged_pileup = (candidates["charge"] != 0) & (candidates["is_pu"] != 0)
            marked = charged_pileup & (distance > resolution)
            candidates.mark("is_reco_pu", marked.astype(np.int32))
            kept = ~marked & (candidates["pt"] > self.pt_min)
            self.export(store, output_name, candidates.select(kept))


def _hard_vertex_z(vertices: Candidates) -> np.ndarray:
    """Return the z of the last vertex of each event that is not pile-up; 0 without one."""
    hard = np.flatnonzero(vertices["is_pu"] == 0)
    z = np.zeros(vertices.n_events)
    z[vertices.event_of_row()[hard]] = vertices["z"][hard]
    return z
