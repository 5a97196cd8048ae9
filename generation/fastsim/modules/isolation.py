"""Keeps candidates with little around them (Delphes: Isolation)."""

import math

import numpy as np
from numpy.typing import NDArray

from generation.fastsim.candidates import Candidates
from generation.fastsim.card import ModuleConfig
from generation.fastsim.kernels import kernel
from generation.fastsim.module import EventStore, Module

# Rows of the sums around a candidate.
CHARGED, CHARGED_PILEUP, NEUTRAL = range(3)
# What the module sets on candidates.
SUMS = (
    "isolation_var", "isolation_var_rho_corr",
    "sum_pt_charged", "sum_pt_neutral", "sum_pt_charged_pu", "sum_pt",
)  # fmt: skip


class Isolation(Module):
    """Sums the pT of other candidates within `DeltaRMax`, corrects for pile-up, and cuts on it.

    With `UseMiniCone` the candidate itself is left out by its distance (`DeltaRMin`), otherwise
    by its identity, which clones share.
    """

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.candidates = config.text("CandidateInputArray", "Calorimeter/electrons")
        self.marks = {self.candidates: SUMS}
        self.others = config.text("IsolationInputArray", "Delphes/partons")
        self.rho = config.text("RhoInputArray", "")
        self.output = config.text("OutputArray", "electrons")
        self.radius = config.number("DeltaRMax", 0.5)
        self.inner_radius = config.number("DeltaRMin", 0.01)
        self.mini_cone = config.flag("UseMiniCone", False)
        self.pt_min = config.number("PTMin", 0.5)
        self.ratio_max = config.number("PTRatioMax", 0.1)
        self.sum_max = config.number("PTSumMax", 5.0)
        self.cut_on_sum = config.flag("UsePTSum", False)
        self.correct_with_rho = config.flag("UseRhoCorrection", True)

    def run(self, store: EventStore) -> None:
        """Set the isolation of every candidate and write those that pass."""
        candidates = self.array(store, self.candidates)
        others = self.array(store, self.others)
        others = others.select(others["pt"] >= self.pt_min)
        charged, pileup, neutral = self._sums(candidates, others)

        area = math.pi * self.radius**2
        rho = self._rho(candidates, store)
        delta_beta = charged + np.maximum(neutral - 0.5 * pileup, 0.0)
        rho_corrected = charged + np.maximum(neutral - np.maximum(rho, 0.0) * area, 0.0)
        pt = np.maximum(candidates["pt"], 1e-300)
        values = (
            delta_beta / pt,
            rho_corrected / pt,
            charged,
            neutral,
            pileup,
            charged + pileup + neutral,
        )
        for name, value in zip(SUMS, values, strict=True):
            candidates.mark(name, value)
        total = rho_corrected if self.correct_with_rho else delta_beta
        isolated = total <= self.sum_max if self.cut_on_sum else total <= self.ratio_max * pt
        self.export(store, self.output, candidates.select(isolated))

    def _sums(self, candidates: Candidates, others: Candidates) -> NDArray[np.float64]:
        """Return the (3, n) sums of pT: charged, charged from pile-up, neutral."""
        kind = np.where(others["is_reco_pu"] != 0, CHARGED_PILEUP, CHARGED)
        kind[others["charge"] == 0] = NEUTRAL
        return _cone_sums(
            candidates["eta"], candidates["phi"], candidates.identity, candidates.offsets,
            others["eta"], others["phi"], others.identity, others.offsets,
            others["pt"], kind, self.radius, self.inner_radius, self.mini_cone,
        )  # fmt: skip

    def _rho(self, candidates: Candidates, store: EventStore) -> NDArray[np.float64]:
        """Return the energy density at each candidate; 0 without `RhoInputArray`."""
        if not self.rho:
            return np.zeros(len(candidates))
        return density_at(
            np.abs(candidates["eta"]), candidates.offsets, self.array(store, self.rho)
        )


def density_at(
    eta: NDArray[np.float64], offsets: NDArray[np.int64], densities: Candidates
) -> NDArray[np.float64]:
    """Return the energy density at each η: that of the last range which holds it, else 0.

    Parameters
    ----------
    eta, offsets
        (n,) where it is wanted, and the rows of each event.
    densities
        Candidates with ρ as their pT, and the range as their edges in η.
    """
    low, high = densities["edge_eta_min"], densities["edge_eta_max"]
    return _density(eta, offsets, low, high, densities["pt"], densities.offsets)


@kernel()
def _cone_sums(
    eta, phi, identity, offsets,
    other_eta, other_phi, other_identity, other_offsets,
    pt, kind, radius, inner_radius, mini_cone,
):  # fmt: skip
    sums = np.zeros((3, len(eta)))
    for event in range(len(offsets) - 1):
        for i in range(offsets[event], offsets[event + 1]):
            for j in range(other_offsets[event], other_offsets[event + 1]):
                angle = abs(phi[i] - other_phi[j])
                angle = min(angle, 2.0 * math.pi - angle)
                distance = math.hypot(eta[i] - other_eta[j], angle)
                same = identity[i] == other_identity[j]
                itself = distance <= inner_radius if mini_cone else same
                if distance <= radius and not itself:
                    sums[kind[j], i] += pt[j]
    return sums


@kernel()
def _density(eta, offsets, low, high, rho, rho_offsets):
    found = np.zeros(len(eta))
    for event in range(len(offsets) - 1):
        for i in range(offsets[event], offsets[event + 1]):
            for j in range(rho_offsets[event], rho_offsets[event + 1]):
                if low[j] <= eta[i] < high[j]:
                    found[i] = rho[j]
    return found
