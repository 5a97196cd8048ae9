"""Clusters jets and measures their substructure (Delphes: FastJetFinder)."""

from dataclasses import replace
from typing import Any

import fastjet
import numpy as np
from numpy.typing import NDArray

from generation.fastsim.candidates import Candidates
from generation.fastsim.card import ModuleConfig
from generation.fastsim.exclusive_jets import (
    DURHAM,
    EE_GENKT,
    HADRON,
    VALENCIA,
    Recombination,
    find_jets,
)
from generation.fastsim.jet_areas import read_areas
from generation.fastsim.module import EventStore, Module
from generation.fastsim.modules.fast_jet_grid_median_estimator import density_candidates
from substructure.grooming import prune, soft_drop, trim
from substructure.recombination import FASTJET_RADIUS_MAX
from substructure.subjettiness import n_subjettiness

ALGORITHMS = {
    4: fastjet.kt_algorithm,
    5: fastjet.cambridge_algorithm,
    6: fastjet.antikt_algorithm,
}
# The exponent of each in exclusive clustering. That of Cambridge/Aachen would depend on the order
# in which FastJet looks at equal distances.
EXCLUSIVE_POWERS = {4: 1.0, 6: -1.0}
VALENCIA_ALGORITHM, EE_GENKT_ALGORITHM, DURHAM_ALGORITHM = 9, 10, 11
MERGING_SCALES = ("12", "23", "34", "45", "56")
# Columns of the area, a four-vector.
AREA = ("area_px", "area_py", "area_pz", "area_e")

# Of Delphes' `Tau[5]`.
N_TAUS = 5

KT_AXES = 3
ONE_PASS_KT_AXES = 4

# Candidates of an event. What FastJet chooses by itself costs N² where they lie close together;
# from here on its N ln N strategy costs no more, wherever they lie.
LARGE = 20_000

# Delphes looks for the radius of soft drop under a misspelt name, so that its default holds.
SOFT_DROP_RADIUS = 0.8

Constituents = tuple[NDArray[np.float64], NDArray[np.int64]]


class FastJetFinder(Module):
    """Finds the jets of each event; grooms them as far as it is told to.

    Inclusive jets above `JetPTMin`, or exclusive ones: `NJets` of them, or as many as are farther
    apart than `DCut` (GeV).
    """

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.input = config.text("InputArray", "Calorimeter/towers")
        self.output = config.text("OutputArray", "jets")
        self.constituents_output = config.text("ConstituentsOutputArray", "constituents")
        self.new_arrays = frozenset((self.output,))
        self.radius = config.number("ParameterR", 0.5)
        if not 0.0 <= self.radius <= FASTJET_RADIUS_MAX:
            raise config.error("ParameterR", f"is not between 0 and {FASTJET_RADIUS_MAX:g}")
        self.pt_min = config.number("JetPTMin", 10.0)
        algorithm = config.integer("JetAlgorithm", 6)
        self.recombination = self._recombination(algorithm)
        if self.recombination is None and algorithm not in ALGORITHMS:
            raise config.error(
                "JetAlgorithm",
                "is not implemented; 4 (kT), 5 (Cambridge/Aachen), 6 (anti-kT), 9 (Valencia), 10 "
                "(ee_genkt) and 11 (Durham) are",
            )
        hadron = ALGORITHMS.get(algorithm, fastjet.antikt_algorithm)
        self.definition = fastjet.JetDefinition(hadron, self.radius)
        self.definition_for_large = fastjet.JetDefinition(
            hadron, self.radius, fastjet.NlnN, fastjet.E_scheme
        )
        self.areas = read_areas(config, self.definition)
        if self.areas is not None and self.recombination is not None:
            raise config.error("AreaAlgorithm", "is implemented for inclusive jets of 4, 5 and 6")
        self.rho_output = config.text("RhoOutputArray", "rho")
        self.rho_ranges = self._rho_ranges()
        # What belongs to the algorithms that are not implemented, and what Delphes does not read.
        config.ignore("RhoEtaMax")
        config.ignore("ConeRadius", "SeedThreshold", "ConeAreaFraction", "MaxIterations", "Iratch")
        config.ignore("MaxPairSize", "AdjacencyCut", "OverlapThreshold", "N", "RcutOff")
        self.soft_drop = self._soft_drop()
        self.trimming = self._trimming()
        self.pruning = self._pruning()
        self.subjettiness = self._subjettiness()

    def _recombination(self, algorithm: int) -> Recombination | None:
        """Return what FastJet's own clustering of many events cannot do; None where it can."""
        config = self.config
        exclusive = config.flag("ExclusiveClustering", False)
        n_jets, distance = config.integer("NJets", 2), config.number("DCut", 0.0)
        beta, gamma = config.number("Beta", 1.0), config.number("Gamma", 1.0)
        power = config.number("ParameterP", -1.0)
        if algorithm == VALENCIA_ALGORITHM:
            family, power = VALENCIA, beta
        elif algorithm == EE_GENKT_ALGORITHM:
            family = EE_GENKT
        elif algorithm == DURHAM_ALGORITHM:
            family, power = DURHAM, 1.0
        elif exclusive and algorithm in EXCLUSIVE_POWERS:
            family, power = HADRON, EXCLUSIVE_POWERS[algorithm]
        elif exclusive and algorithm in ALGORITHMS:
            raise config.error("ExclusiveClustering", "is not implemented for Cambridge/Aachen")
        else:
            return None
        how = Recombination(family, self.radius, power, gamma, self.pt_min)
        if not exclusive:
            return how
        if distance <= 0.0 and n_jets < 1:
            raise config.error("NJets", "must be at least 1")
        if distance > 0.0:
            return replace(how, distance_max=distance**2)
        return replace(how, n_jets=n_jets)

    def _rho_ranges(self) -> NDArray[np.float64]:
        """Return the (k, 2) ranges of rapidity to measure ρ in; none without areas, as Delphes."""
        values = self.config.array("RhoEtaRange")
        try:
            ranges = np.array(values, dtype=np.float64).reshape(-1, 2)
        except (TypeError, ValueError):
            raise self.config.error("RhoEtaRange", "is not made of pairs of rapidities") from None
        if np.any(ranges[:, 0] >= ranges[:, 1]):
            raise self.config.error("RhoEtaRange", "has an empty range")
        wanted = self.config.flag("ComputeRho", False) and self.areas is not None
        return ranges if wanted else ranges[:0]

    def _soft_drop(self) -> dict[str, float] | None:
        parameters = {
            "symmetry_cut": self.config.number("SymmetryCutSoftDrop", 0.1),
            "beta": self.config.number("BetaSoftDrop", 0.0),
            "radius": SOFT_DROP_RADIUS,
        }
        self.config.ignore("R0SoftDrop")
        return parameters if self.config.flag("ComputeSoftDrop", False) else None

    def _trimming(self) -> dict[str, float] | None:
        parameters = {
            "radius": self.config.number("RTrim", 0.2),
            "fraction": self.config.number("PtFracTrim", 0.05),
        }
        return parameters if self.config.flag("ComputeTrimming", False) else None

    def _pruning(self) -> dict[str, float] | None:
        parameters = {
            "radius": self.config.number("RPrun", 0.8),
            "radius_factor": self.config.number("RcutPrun", 0.5),
            "symmetry_cut": self.config.number("ZcutPrun", 0.1),
        }
        return parameters if self.config.flag("ComputePruning", False) else None

    def _subjettiness(self) -> dict[str, Any] | None:
        axes = self.config.integer("AxisMode", 1)
        parameters = {
            "n_max": N_TAUS,
            "radius": self.radius,
            "beta": self.config.number("Beta", 1.0),
            "minimise": axes == ONE_PASS_KT_AXES,
        }
        if not self.config.flag("ComputeNsubjettiness", False):
            return None
        if axes not in (KT_AXES, ONE_PASS_KT_AXES):
            raise self.config.error("AxisMode", "is not implemented; 3 (kT), 4 (one-pass kT) are")
        return parameters

    def run(self, store: EventStore) -> None:
        """Write the jets of each event by falling pT, and the candidates that they are made of."""
        candidates = self.array(store, self.input)
        momenta = np.stack([candidates[name] for name in ("px", "py", "pz", "e")], axis=1)
        # A momentum that is not finite would take FastJet, and the process, down.
        momenta = np.where(np.isfinite(momenta).all(axis=1)[:, None], momenta, 0.0)
        merging = {}
        if self.recombination is None:
            jets, jet_offsets, rows, row_offsets = self._cluster(momenta, candidates.offsets)
        else:
            jets, jet_offsets, rows, row_offsets, scales = find_jets(
                momenta, candidates.offsets, self.recombination
            )
            if self.recombination.exclusive:
                merging = {
                    f"excl_ymerge_{step}": scales[:, i] for i, step in enumerate(MERGING_SCALES)
                }
        columns = dict(zip(("px", "py", "pz", "e"), jets.T.copy(), strict=True))
        columns |= _sums(candidates, rows, row_offsets, columns, jet_offsets)
        columns |= self._substructure(momenta[rows], row_offsets) | merging
        rho = np.zeros((store.n_events, 0))
        if self.areas is not None:
            areas, rho = self.areas.measure(
                momenta, candidates.offsets, jets, jet_offsets, self.rho_ranges
            )
            columns |= dict(zip(AREA, areas.T.copy(), strict=True))
        members = candidates.at(rows)
        found = Candidates(jet_offsets, columns)
        found.parts = members, np.repeat(np.arange(len(found)), np.diff(row_offsets))
        self.export(store, self.output, found)
        self.export(store, self.constituents_output, members)
        self.export(store, self.rho_output, density_candidates(rho, self.rho_ranges))

    def _cluster(self, momenta: NDArray[np.float64], offsets: NDArray[np.int64]) -> tuple:
        """Cluster every event.

        Returns
        -------
        jets
            (n, 4) px, py, pz, E, each event's by falling pT.
        jet_offsets
            (n_events + 1,) the jets of each event.
        rows, row_offsets
            The rows of the constituents, and (n + 1,) those of each jet.
        """
        large = np.diff(offsets).max(initial=0) > LARGE
        result = fastjet._ext.interfacemulti(
            *momenta.T.copy(),
            offsets[:-1].astype(np.int32),
            offsets[1:].astype(np.int32),
            self.definition_for_large if large else self.definition,
        )
        *components, jet_offsets = result.to_numpy(self.pt_min)
        starts, places, _ = result.to_numpy_with_constituents(self.pt_min)
        jets = np.stack(components, axis=1)
        jet_offsets = jet_offsets.astype(np.int64)
        event = np.repeat(np.arange(len(offsets) - 1), np.diff(jet_offsets))
        order = np.lexsort((-np.hypot(jets[:, 0], jets[:, 1]), event))
        sizes = np.diff(starts)[order]
        row_offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
        # Places count from the first candidate of the event.
        within = np.arange(row_offsets[-1]) - np.repeat(row_offsets[:-1], sizes)
        rows = places[np.repeat(starts[:-1][order], sizes) + within]
        rows = rows.astype(np.int64) + np.repeat(offsets[event], sizes)
        return jets[order], jet_offsets, rows, row_offsets

    def _substructure(
        self, constituents: NDArray[np.float64], offsets: NDArray[np.int64]
    ) -> dict[str, NDArray]:
        columns: dict[str, NDArray] = {}
        for name, groom, parameters in (
            ("soft_dropped", soft_drop, self.soft_drop),
            ("trimmed", trim, self.trimming),
            ("pruned", prune, self.pruning),
        ):
            if parameters is not None:
                momenta, counts = groom(constituents, offsets, *parameters.values())
                columns |= {f"{name}_p4": momenta, f"n_subjets_{name}": counts}
        if self.subjettiness is not None:
            columns["tau"] = n_subjettiness(constituents, offsets, **self.subjettiness)
        return columns


def _sums(
    candidates: Candidates,
    rows: NDArray[np.int64],
    row_offsets: NDArray[np.int64],
    jets: dict[str, NDArray],
    jet_offsets: NDArray[np.int64],
) -> dict[str, NDArray]:
    """Return what the constituents of each jet add up to."""
    sizes = np.diff(row_offsets)
    jet = np.repeat(np.arange(len(sizes)), sizes)
    members = candidates.at(rows)

    def total(values: NDArray) -> NDArray:
        return np.bincount(jet, weights=values, minlength=len(sizes))

    energy, charge = members["e"], members["charge"]
    neutral = charge == 0
    weight = np.sqrt(np.maximum(energy, 0.0))
    jet_energy = np.where(jets["e"] > 0.0, jets["e"], np.inf)
    direction = Candidates(jet_offsets, jets)
    delta_eta = np.abs(direction["eta"][jet] - members["eta"])
    delta_phi = np.abs(direction["phi"][jet] - members["phi"])
    delta_phi = np.minimum(delta_phi, 2.0 * np.pi - delta_phi)
    event = direction.event_of_row()
    return {
        "t": total(weight * members["t"]) / np.maximum(total(weight), 1e-300),
        "delta_eta": _widest(delta_eta, row_offsets, event),
        "delta_phi": _widest(delta_phi, row_offsets, event),
        "charge": total(charge).astype(np.int32),
        "n_charged": total(~neutral).astype(np.int32),
        "n_neutrals": total(neutral).astype(np.int32),
        "neutral_energy_fraction": total(energy * neutral) / jet_energy,
        "charged_energy_fraction": total(energy * ~neutral) / jet_energy,
        "e_em": total(members["e_em"]),
        "e_had": total(members["e_had"]),
    }


def _widest(
    distance: NDArray[np.float64], row_offsets: NDArray[np.int64], event: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the largest distance of a constituent, over this and the harder jets of the event.

    Delphes does not start afresh with each jet.
    """
    if not len(event):
        return np.zeros(0)
    # Each event has a range of its own, so that one running maximum serves all of them.
    shift = event * (1.0 + distance.max())
    widest = np.maximum.reduceat(distance, row_offsets[:-1])
    return np.maximum.accumulate(widest + shift) - shift
