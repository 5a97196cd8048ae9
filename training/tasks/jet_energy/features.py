"""From columns of the product `energy` to what networks and controls see of a jet."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

Columns = Mapping[str, np.ndarray]
Feature = Callable[["Members"], np.ndarray]
# Weights of PUPPI below this are taken for it.
SMALLEST_WEIGHT = 1e-3


@dataclass(frozen=True)
class Members:
    """The constituents of one kind of some jets, flat, and what is known of their jets.

    Attributes
    ----------
    columns
        Column name without its prefix → (n,).
    jets
        Column → one value per jet, (n_jets,).
    owner
        int64 (n,): jet of each constituent.
    """

    columns: Columns
    jets: Columns
    owner: np.ndarray

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    @property
    def pt(self) -> np.ndarray:
        """Transverse momentum, GeV."""
        if "pt" in self.columns:
            return self["pt"]
        return np.hypot(self["px"], self["py"])

    @cached_property
    def unweighting(self) -> np.ndarray:
        """One over PUPPI's weight of neutral constituents, 1 for others."""
        if "puppiweight" not in self.columns:
            return np.ones(len(self.owner))
        return 1 / np.maximum(self["puppiweight"], SMALLEST_WEIGHT)

    @property
    def measured_pt(self) -> np.ndarray:
        """Transverse momentum as the calorimeters measure it, before PUPPI's weight, GeV."""
        return self.pt * self.unweighting

    @property
    def jet_pt(self) -> np.ndarray:
        """Transverse momentum of the jet of each, GeV."""
        return self.jets["jet_pt"][self.owner]


def relative_eta(members: Members) -> np.ndarray:
    """Return Δη to the jet, mirrored with it: the sign of the jet's η, +1 at η = 0.

    The column has −1 there, as the published jets have.
    """
    central = _at_zero(members)
    return np.where(central, -members["deta"], members["deta"])


def _at_zero(members: Members) -> np.ndarray:
    """Tell constituents of jets at η = 0."""
    return members.jets["jet_eta"][members.owner] == 0


def _log(values: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(values, 1e-6))


def _signed_log(values: np.ndarray) -> np.ndarray:
    return np.sign(values) * np.log1p(np.abs(values))


def _ratio(values: np.ndarray, errors: np.ndarray) -> np.ndarray:
    return np.divide(values, errors, out=np.zeros(len(values)), where=errors > 0)


def _value(name: str) -> Callable[[Any], np.ndarray]:
    """Return what reads a column of constituents, or of jets, as it is."""
    return lambda columns: columns[name]


def _association(number: int) -> Feature:
    return lambda m: m["association"] == number


_KINEMATICS: dict[str, Feature] = {
    "log_pt": lambda m: _log(m.pt),
    "rel_pt": lambda m: m.pt / m.jet_pt,
    "log_rel_pt": lambda m: _log(m.pt / m.jet_pt) / 3,
    "rel_eta": relative_eta,
    "rel_phi": _value("dphi"),
    "delta_r": lambda m: np.hypot(m["deta"], m["dphi"]),
    "eta": lambda m: np.arcsinh(m["pz"] / np.maximum(m.pt, 1e-6)),
}
CHARGED: dict[str, Feature] = {
    **_KINEMATICS,
    "d0": lambda m: np.tanh(m["d0val"]),
    "d0_sig": lambda m: _signed_log(_ratio(m["d0val"], m["d0err"])),
    "dz": lambda m: np.tanh(m["dzval"]),
    "dz_sig": lambda m: _signed_log(_ratio(m["dzval"], m["dzerr"])),
    "pt_error": _value("pterr"),
    "charge": _value("charge"),
    "is_electron": _value("isElectron"),
    "is_muon": _value("isMuon"),
    "is_charged_hadron": _value("isChargedHadron"),
    "is_marked_as_pileup": _association(1),
    "is_in_another_vertex": _association(2),
    "is_far_from_first_vertex": _association(3),
    "is_near_first_vertex": _association(4),
    "is_in_first_vertex": _association(5),
}
NEUTRAL: dict[str, Feature] = {
    **_KINEMATICS,
    "hcal_fraction": _value("hcalfrac"),
    "puppi_weight": _value("puppiweight"),
    "measured_rel_pt": lambda m: m.measured_pt / m.jet_pt,
    "log_measured_pt": lambda m: _log(m.measured_pt),
    "is_photon": _value("isPhoton"),
    "is_neutral_hadron": _value("isNeutralHadron"),
}
VERTICES: dict[str, Feature] = {
    **_KINEMATICS,
    "eta": _value("eta"),
    "mass": _value("mass"),
    "log_flight": lambda m: _log(m["flight"]),
    "log_flight_sig": lambda m: _log(m["flightsig"]),
    "log_flight_xy": lambda m: _log(m["flightxy"]),
    "log_flight_xy_sig": lambda m: _log(m["flightxysig"]),
    "chi2_per_ndf": lambda m: m["chi2"] / m["ndf"],
    "n_tracks": _value("ntracks"),
}
# Of `JET_COLUMNS` and `SUMMARY`, by name.
JET: dict[str, Callable[[Columns], np.ndarray]] = {
    "pt": lambda jet: jet["jet_pt"] / 1000,
    "log_pt": _value("log_pt"),
    "eta": _value("eta"),
    "cos_phi": lambda jet: np.cos(jet["jet_phi"]),
    "sin_phi": lambda jet: np.sin(jet["jet_phi"]),
    "log_mass": lambda jet: np.log1p(np.maximum(jet["mass"], 0)),
    "area": _value("area"),
    "rho": lambda jet: jet["rho"] / 20,
    "n_vertices": lambda jet: jet["n_vertices"] / 30,
    "multiplicity": lambda jet: jet["multiplicity"] / 30,
    "ptd": _value("ptd"),
    "axis2": lambda jet: 10 * jet["axis2"],
    "n_charged": lambda jet: jet["n_charged"] / 30,
    "n_neutral": lambda jet: jet["n_neutral"] / 30,
    "n_secondary_vertices": _value("n_secondary_vertices"),
    "charged_fraction": _value("charged_fraction"),
    "photon_fraction": _value("photon_fraction"),
    "neutral_hadron_fraction": _value("neutral_hadron_fraction"),
    "muon_fraction": _value("muon_fraction"),
    "leading_fraction": _value("leading_fraction"),
    "secondary_vertex_fraction": _value("secondary_vertex_fraction"),
    "secondary_vertex_mass": lambda jet: jet["secondary_vertex_mass"] / 5,
    # What a jet would have without weights of PUPPI: of hard jets almost the answer.
    "log_measured_rel_pt": lambda jet: np.log(
        np.maximum(jet["charged_fraction"] + jet["unweighted_neutral_fraction"], 0.1)
    ),
}

# Collection → prefix of its columns, what its features need of them, its features.
COLLECTIONS: dict[str, tuple[str, tuple[str, ...], dict[str, Feature]]] = {
    "charged": (
        "charged_",
        (
            "px", "py", "pz", "deta", "dphi", "d0val", "d0err", "dzval", "dzerr", "charge",
            "isElectron", "isMuon", "isChargedHadron", "pterr", "association",
        ),
        CHARGED,
    ),
    "neutral": (
        "neutral_",
        ("px", "py", "pz", "deta", "dphi", "isPhoton", "isNeutralHadron", "hcalfrac",
         "puppiweight"),
        NEUTRAL,
    ),
    "vertices": (
        "sv_",
        ("pt", "eta", "mass", "deta", "dphi", "flight", "flightsig", "flightxy", "flightxysig",
         "chi2", "ndf", "ntracks"),
        VERTICES,
    ),
}  # fmt: skip
JET_COLUMNS = (
    "jet_pt", "jet_eta", "jet_phi", "jet_mass", "jet_area", "jet_multiplicity", "jet_ptd",
    "jet_axis2", "event_rho", "event_nvertices",
)  # fmt: skip

# What sums a jet up, for the controls; `mass` and `rho` in GeV.
SUMMARY = (
    "log_pt", "eta", "mass", "rho", "area", "n_vertices", "multiplicity", "ptd", "axis2",
    "n_charged", "n_neutral", "charged_fraction", "photon_fraction", "neutral_hadron_fraction",
    "muon_fraction", "unweighted_neutral_fraction", "leading_fraction",
    "n_secondary_vertices", "secondary_vertex_fraction",
    "secondary_vertex_mass",
)  # fmt: skip


def stack(features: Mapping[str, Feature], names: tuple[str, ...], members: Members) -> np.ndarray:
    """Return the features of constituents, float32 (n, len(names))."""
    values = np.empty((len(members.owner), len(names)), np.float32)
    for place, name in enumerate(names):
        values[:, place] = features[name](members)
    return values


def jet_features(names: tuple[str, ...], jets: Columns, summary: np.ndarray) -> np.ndarray:
    """Return the features of jets, float32 (n_jets, len(names)).

    Parameters
    ----------
    names
        Of `JET`.
    jets
        `JET_COLUMNS`.
    summary
        (n_jets, len(SUMMARY)).
    """
    known = {**jets, **dict(zip(SUMMARY, summary.T, strict=True))}
    return np.stack([JET[name](known) for name in names], axis=1).astype(np.float32)


def summarise(jets: Columns, members: Mapping[str, Members]) -> np.ndarray:
    """Return `SUMMARY` of jets, float32 (n_jets, len(SUMMARY)).

    Parameters
    ----------
    jets
        `JET_COLUMNS`.
    members
        The constituents by the name of their collection.
    """
    n_jets = len(jets["jet_pt"])
    charged, neutral, vertices = (members[name] for name in COLLECTIONS)

    def share(some: Members, weight: np.ndarray) -> np.ndarray:
        total = np.bincount(some.owner, weights=some.pt * weight, minlength=n_jets)
        return total / jets["jet_pt"]

    def count(some: Members) -> np.ndarray:
        return np.bincount(some.owner, minlength=n_jets)

    leading, heaviest = np.zeros(n_jets), np.zeros(n_jets)
    for some in (charged, neutral):
        np.maximum.at(leading, some.owner, some.pt)
    np.maximum.at(heaviest, vertices.owner, vertices["mass"])
    columns = {
        "log_pt": np.log(jets["jet_pt"]),
        "eta": jets["jet_eta"],
        "mass": jets["jet_mass"],
        "rho": jets["event_rho"],
        "area": jets["jet_area"],
        "n_vertices": jets["event_nvertices"],
        "multiplicity": jets["jet_multiplicity"],
        "ptd": jets["jet_ptd"],
        "axis2": jets["jet_axis2"],
        "n_charged": count(charged),
        "n_neutral": count(neutral),
        "charged_fraction": share(charged, np.ones(len(charged.owner))),
        "photon_fraction": share(neutral, neutral["isPhoton"]),
        "neutral_hadron_fraction": share(neutral, neutral["isNeutralHadron"]),
        "muon_fraction": share(charged, charged["isMuon"]),
        "unweighted_neutral_fraction": share(neutral, neutral.unweighting),
        "leading_fraction": leading / jets["jet_pt"],
        "n_secondary_vertices": count(vertices),
        "secondary_vertex_fraction": share(vertices, np.ones(len(vertices.owner))),
        "secondary_vertex_mass": heaviest,
    }
    return np.stack([columns[name] for name in SUMMARY], axis=1).astype(np.float32)
