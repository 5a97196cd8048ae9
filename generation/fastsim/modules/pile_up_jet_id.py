"""Describes jets by what tells them from pile-up (Delphes: PileUpJetID)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from generation.fastsim.candidates import Candidates
from generation.fastsim.card import ModuleConfig
from generation.fastsim.composition import parts_of
from generation.fastsim.cones import delta_r, pairs_within
from generation.fastsim.module import EventStore, Module

# Where there is nothing to measure.
UNDEFINED = -999.0

RINGS, RING_WIDTH = 5, 0.1
BARREL_ETA, ENDCAP_ETA = 1.5, 4.0

# What the module sets on jets.
VARIABLES = (
    "beta", "beta_star", "mean_sq_delta_r", "pt_d", "frac_pt", "n_charged", "n_neutrals",
)  # fmt: skip


@dataclass(frozen=True)
class Members:
    """What is counted into jets: tracks and neutral candidates.

    Attributes
    ----------
    jet
        (n,) row of the jet of each.
    pt, distance
        (n,) pT, and ΔR from the jet.
    charged, pileup
        (n,) whether it is a track, and one that is taken for pile-up.
    """

    jet: NDArray[np.int64]
    pt: NDArray[np.float64]
    distance: NDArray[np.float64]
    charged: NDArray[np.bool_]
    pileup: NDArray[np.bool_]


class PileUpJetID(Module):
    """Sets the variables of CMS' pile-up jet identification (CMS-PAS-JME-13-005) on the jets.

    All jets are written, marked; `NeutralsInPassingJets` holds the neutral candidates above
    `NeutralPTMin` of those that pass. They are constituents, or with `UseConstituents 0` whatever
    lies within `ParameterR`, so that a candidate between two jets is listed twice.
    `NTimeHits` stays 0.
    """

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.jets = config.text("JetInputArray", "FastJetFinder/jets")
        self.marks = {self.jets: VARIABLES}
        self.tracks = config.text("TrackInputArray", "ParticlePropagator/tracks")
        self.neutrals = config.text("NeutralInputArray", "ParticlePropagator/tracks")
        self.output = config.text("OutputArray", "jets")
        self.neutral_output = config.text("NeutralsInPassingJets", "eflowtowers")
        self.use_constituents = config.flag("UseConstituents", False)
        self.radius = config.number("ParameterR", 0.5)
        self.pt_min = config.number("JetPTMinForNeutrals", 20.0)
        self.neutral_pt_min = config.number("NeutralPTMin", 2.0)
        self.beta_min = [
            config.number("BetaMinBarrel", 0.1),
            config.number("BetaMinEndcap", 0.1),
            -np.inf,
        ]
        self.width_max = [
            config.number("MeanSqDeltaRMaxBarrel", 0.1),
            config.number("MeanSqDeltaRMaxEndcap", 0.1),
            config.number("MeanSqDeltaRMaxForward", 0.1),
        ]
        # Delphes reads the first and uses none of them: tracks are told apart by their mark.
        config.ignore("JetPTMin", "VertexInputArray", "ZVertexResolution")

    def run(self, store: EventStore) -> None:
        """Mark the jets, and write them and the neutral candidates of those that pass."""
        jets = self.array(store, self.jets)
        members, neutrals, rows, jet = self._members(jets, store)
        self._describe(jets, members)
        chosen = self._passes(jets)[jet] & (neutrals["pt"][rows] > self.neutral_pt_min)
        self.export(store, self.output, jets.select(np.full(len(jets), True)))
        self.export(store, self.neutral_output, neutrals.at(rows[chosen]))

    def _members(
        self, jets: Candidates, store: EventStore
    ) -> tuple[Members, Candidates, NDArray[np.int64], NDArray[np.int64]]:
        """Return what is in the jets; and of the neutral candidates in it rows and jets."""
        tracks, neutrals = self.array(store, self.tracks), self.array(store, self.neutrals)
        if self.use_constituents:
            parts = parts_of(jets)
            found, owner = parts.candidates, parts.owner
            charged = found["charge"] != 0
            members = Members(
                owner, found["pt"], delta_r(jets.at(owner), found), charged,
                charged & (found["is_reco_pu"] != 0),
            )  # fmt: skip
            rows = np.flatnonzero(~charged)
            return members, found, rows, owner[rows]
        first, second = (
            pairs.where(pairs.distance < self.radius)
            for pairs in (pairs_within(jets, others, self.radius) for others in (tracks, neutrals))
        )
        n_charged, n_neutral = len(first.first), len(second.first)
        nothing = np.full(n_neutral, False)
        members = Members(
            np.concatenate((first.first, second.first)),
            np.concatenate((tracks["pt"][first.second], neutrals["pt"][second.second])),
            np.concatenate((first.distance, second.distance)),
            np.concatenate((np.full(n_charged, True), nothing)),
            np.concatenate((tracks["is_reco_pu"][first.second] != 0, nothing)),
        )
        return members, neutrals, second.second, second.first

    def _describe(self, jets: Candidates, members: Members) -> None:
        def total(values: NDArray) -> NDArray[np.float64]:
            return np.bincount(members.jet, weights=values, minlength=len(jets)).astype(np.float64)

        pt, distance, charged = members.pt, members.distance, members.charged
        sum_pt, sum_pt2 = total(pt), total(pt**2)
        charged_pt = total(pt * charged)
        rings = [
            # Delphes leaves out what lies on the border of a ring, the axis of the jet included.
            total(pt * ((distance > RING_WIDTH * i) & (distance < RING_WIDTH * (i + 1))))
            for i in range(RINGS)
        ]
        values: tuple[NDArray, ...] = (
            _ratio(total(pt * (charged & ~members.pileup)), charged_pt),
            _ratio(total(pt * members.pileup), charged_pt),
            _ratio(total((distance * pt) ** 2), sum_pt2),
            _ratio(np.sqrt(sum_pt2), sum_pt),
            np.stack([_ratio(ring, sum_pt) for ring in rings], axis=1),
            total(charged).astype(np.int32),
            total(~charged).astype(np.int32),
        )
        for name, value in zip(VARIABLES, values, strict=True):
            jets.mark(name, value)

    def _passes(self, jets: Candidates) -> NDArray[np.bool_]:
        """Tell which jets pass the cuts of their region: barrel, endcap, forward."""
        region = np.digitize(np.abs(jets["eta"]), (BARREL_ETA, ENDCAP_ETA))
        width = jets["mean_sq_delta_r"]
        passes = (jets["pt"] > self.pt_min) & (width > -0.1)
        passes &= width < np.array(self.width_max)[region]
        return passes & (jets["beta"] > np.array(self.beta_min)[region])


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.full(len(whole), UNDEFINED), where=whole > 0.0)
