"""Loses tracks that are too close to others (Delphes: DenseTrackFilter)."""

import numpy as np

from generation.fastsim.card import ModuleConfig
from generation.fastsim.module import EventStore, Module
from generation.fastsim.modules.angular_smearing import turned
from generation.fastsim.tower_grid import read_grid

ELECTRON, MUON = 11, 13


class DenseTrackFilter(Module):
    """Keeps the track of the highest pT in each cell of a grid, by the tracks' positions.

    What is written are clones of the *mothers* of these tracks, as in Delphes: the tracks as they
    were before the module that has propagated them to the grid. Their η and φ are smeared with
    a Gaussian of width `EtaPhiRes`.
    """

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.input = config.text("TrackInputArray", "TrackMergerProp/tracks")
        self.outputs = {
            "all": config.text("TrackOutputArray", "tracks"),
            "hadron": config.text("ChargedHadronOutputArray", "chargedHadrons"),
            "electron": config.text("ElectronOutputArray", "electrons"),
            "muon": config.text("MuonOutputArray", "muons"),
        }
        self.resolution = config.number("EtaPhiRes", 0.003)
        self.grid = read_grid(config)
        config.ignore("DenseChargedInputArray")  # of an older Delphes

    def run(self, store: EventStore) -> None:
        """Write the surviving tracks, all together and by kind."""
        tracks = self.array(store, self.input)
        pt = tracks["pt"]
        cell = self.grid.find(tracks["x"], tracks["y"], tracks["z"], pt > 0.0)
        event = tracks.event_of_row()
        order = np.lexsort((-pt, cell, event))
        order = order[cell[order] >= 0]
        # The hardest of each cell comes first, of several as hard the one listed first.
        change = (np.diff(cell[order]) != 0) | (np.diff(event[order]) != 0)
        best = tracks.at(order[np.concatenate(([True], change))[: len(order)]])
        mothers, _ = best.mothers()

        shift = self.resolution * store.rng.standard_normal((2, len(mothers)))
        smeared = turned(mothers, shift)
        code = np.abs(smeared["pid"])
        electron, muon = code == ELECTRON, code == MUON
        kinds = {"hadron": ~electron & ~muon, "electron": electron, "muon": muon}
        self.export(store, self.outputs["all"], smeared)
        for kind, mask in kinds.items():
            self.export(store, self.outputs[kind], smeared.select(mask))
