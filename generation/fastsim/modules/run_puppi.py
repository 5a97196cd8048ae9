"""Weights neutral candidates by how much they look like pile-up (Delphes: RunPUPPI)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from generation.fastsim import puppi
from generation.fastsim.candidates import Candidates, merge
from generation.fastsim.card import ModuleConfig
from generation.fastsim.module import EventStore, Module
from generation.fastsim.tower_grid import numbers

NEUTRAL, FROM_VERTEX, FROM_PILEUP = 0, 1, 2

# Parameters with one value for each algorithm.
LISTS = (
    "EtaMinBin", "EtaMaxBin", "PtMinBin", "ConeSizeBin", "RMSPtMinBin", "RMSScaleFactorBin",
    "NeutralMinEBin", "NeutralPtSlope", "MetricId", "CombId",
)  # fmt: skip
FLAGS = ("UseCharged", "ApplyLowPUCorr")

# Delphes counts this fraction of the vertices as reconstructed.
VERTEX_EFFICIENCY = 0.7


class RunPUPPI(Module):
    """Keeps tracks of the hard vertex, drops those of pile-up, and weights neutral candidates.

    Three peculiarities of Delphes are kept because they shape its events:

    - the charge of tracks is never handed to the algorithm, which selects pile-up tracks by it:
      it takes all tracks, those of the hard vertex too, as the sample whose shapes are pile-up,
      and its correction for low pile-up finds no tracks of the hard vertex;
    - pseudorapidities serve as rapidities when momenta are rebuilt, in single precision;
    - a candidate outside all η ranges is dropped.
    """

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.tracks = config.text("TrackInputArray", "Calorimeter/towers")
        self.neutrals = config.text("NeutralInputArray", "Calorimeter/towers")
        self.vertices = config.text("PVInputArray", "PV")
        self.output = config.text("OutputArray", "puppiParticles")
        self.track_output = config.text("OutputArrayTracks", "puppiTracks")
        self.neutral_output = config.text("OutputArrayNeutrals", "puppiNeutrals")
        self.weight_min = config.number("MinPuppiWeight", 0.01)
        # The vertex constraint of UseExp changes the weights of tracks only, which are 0 or 1.
        config.ignore("ApplyCHS", "UseExp", "UseNoLep")
        self._read_algorithms(config)

    def _read_algorithms(self, config: ModuleConfig) -> None:
        columns: dict[str, NDArray[Any]] = {}
        for name in LISTS:
            try:
                columns[name] = np.array([numbers(value)[0] for value in config.array(name)])
            except (IndexError, TypeError, ValueError):
                raise config.error(name, "is not a list of numbers") from None
        for name in FLAGS:
            flags = [value.lower() in ("true", "yes", "on", "1") for value in config.texts(name)]
            columns[name] = np.array(flags)
        for name, values in columns.items():
            if values.shape != columns["EtaMinBin"].shape or not len(values):
                raise config.error(name, "needs one value for each of EtaMinBin, at least one")
        self.algorithms = columns
        self.metrics = columns["MetricId"].astype(np.int64)
        if not set(self.metrics) <= set(range(-1, 6)):
            raise config.error("MetricId", "is not between -1 and 5")
        # Neighbouring algorithms with the same η range are combined.
        low, high = columns["EtaMinBin"], columns["EtaMaxBin"]
        first = np.flatnonzero(np.append(True, (low[1:] != low[:-1]) | (high[1:] != high[:-1])))
        last = np.append(first, len(low))
        self.n_steps = int(np.diff(last).max())
        self.ranges = np.zeros((4, len(last)))
        for row, name in enumerate(("EtaMinBin", "EtaMaxBin", "PtMinBin")):
            self.ranges[row, :-1] = columns[name][first]
        self.ranges[3] = last

    def run(self, store: EventStore) -> None:
        """Write clones with the weighted momentum."""
        tracks, neutrals = self.array(store, self.tracks), self.array(store, self.neutrals)
        tracks = tracks.select(tracks["charge"] != 0)
        neutrals = neutrals.select(neutrals["charge"] == 0)
        merged = merge([tracks, neutrals])
        kind = np.where(merged["is_reco_pu"] != 0, FROM_PILEUP, FROM_VERTEX)
        kind[merged["charge"] == 0] = NEUTRAL

        pt, eta, phi, mass = (
            merged[name].astype(np.float32).astype(np.float64) for name in ("pt", "eta", "phi", "m")
        )
        transverse_mass = np.hypot(pt, mass)
        momentum = {
            "px": pt * np.cos(phi),
            "py": pt * np.sin(phi),
            "pz": transverse_mass * np.sinh(eta),
            "e": transverse_mass * np.cosh(eta),
            "pt": pt,
        }
        weight = self._weights(store, merged, kind, eta, phi, momentum)
        rows = np.flatnonzero(weight > 0.0)
        weighted = {name: weight[rows] * column[rows] for name, column in momentum.items()}
        result = merged.clone(rows, puppi_weight=weight[rows], **weighted)
        neutral = kind[rows] == NEUTRAL
        self.export(store, self.output, result)
        self.export(store, self.track_output, result.select(~neutral))
        self.export(store, self.neutral_output, result.select(neutral))

    def _weights(
        self,
        store: EventStore,
        merged: Candidates,
        kind: np.ndarray,
        eta: np.ndarray,
        phi: np.ndarray,
        momentum: dict[str, np.ndarray],
    ) -> np.ndarray:
        """Return the weight of each candidate, 0 where it is dropped."""
        columns, offsets = self.algorithms, merged.offsets
        pt = momentum["pt"]
        rebuilt_eta = np.arcsinh(
            np.divide(momentum["pz"], pt, out=np.zeros_like(pt), where=pt > 0.0)
        )
        shape = np.zeros((self.n_steps, len(pt)))
        references = []
        for step in range(self.n_steps):
            algorithm = puppi.algorithm_of(pt, rebuilt_eta, self.ranges, step)
            charged = (algorithm >= 0) & columns["UseCharged"][algorithm]
            for uses_charged in np.unique(charged):
                chosen = np.where(charged == uses_charged, algorithm, -1)
                source = kind == FROM_VERTEX if uses_charged else np.full(len(kind), True)
                shape[step] += puppi.shapes(
                    offsets, pt, eta, rebuilt_eta, phi, source, chosen,
                    self.metrics, columns["ConeSizeBin"],
                )  # fmt: skip
            in_sample = (pt >= columns["RMSPtMinBin"][algorithm]) & (~charged | (kind != NEUTRAL))
            references.append(
                puppi.reference_shapes(
                    offsets, shape[step], algorithm, in_sample,
                    columns["ApplyLowPUCorr"], columns["RMSScaleFactorBin"],
                )
            )  # fmt: skip
            # Delphes marks a candidate without an algorithm here by this shape.
            shape[step, algorithm < 0] = -1.0
        algorithms = np.array(
            [puppi.algorithm_of(pt, eta, self.ranges, step) for step in range(self.n_steps)]
        )
        weight = puppi.weights(
            merged.event_of_row(),
            shape,
            algorithms,
            np.sum(references, axis=0),
            self.metrics,
            columns["CombId"],
        )
        inside = algorithms[0] >= 0
        weight[inside & (kind == FROM_VERTEX)] = 1.0
        weight[inside & (kind == FROM_PILEUP)] = 0.0
        weight[weight < self.weight_min] = 0.0

        has_pileup = merged.sum_by_event(kind == FROM_PILEUP) > 0.0
        reconstructed = (VERTEX_EFFICIENCY * self.array(store, self.vertices).counts).astype(int)
        n_vertices = np.where(has_pileup, np.maximum(reconstructed, 1), 1)
        threshold = (
            columns["NeutralMinEBin"][algorithms[0]]
            + np.repeat(n_vertices, merged.counts) * columns["NeutralPtSlope"][algorithms[0]]
        )
        weight[(kind == NEUTRAL) & (weight * pt < threshold)] = 0.0
        return weight
