"""The branches of a Delphes file: which leaves each class has, and how candidates fill them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import cast

import numpy as np
from numpy.typing import NDArray

from generation.fastsim.candidates import DERIVED, Candidates
from generation.fastsim.kinematics import ETA_ALONG_BEAM, SPEED_OF_LIGHT, azimuth, pseudorapidity

# What Delphes writes for the cotangent of a momentum along the beam.
COTANGENT_ALONG_BEAM = 1e10

Source = str | Callable[[Candidates], NDArray]


@dataclass(frozen=True)
class Branch:
    """A branch of a batch of events.

    Attributes
    ----------
    delphes_class
        Name of the Delphes class (`GenParticle`, `Jet`, ...).
    offsets
        (n_events + 1,) int64 rows of each event.
    columns
        Leaf name to values: (n,), or (n, k) for leaves such as `Edges[4]`, in Delphes' units and in
        the types of its files. A file gives back the same values, bit for bit; only the number in
        brackets is no part of a leaf's name there.
    """

    delphes_class: str
    offsets: NDArray[np.int64]
    columns: dict[str, NDArray]


def make_branch(delphes_class: str, candidates: Candidates) -> Branch:
    """Return the branch of class `delphes_class` that holds `candidates`."""
    order = SORTED_BY.get(delphes_class)
    if order is not None:
        candidates = candidates.at(_falling(candidates, candidates[order]))
    columns = {
        "fUniqueID": np.zeros(len(candidates), np.uint32),
        "fBits": np.zeros(len(candidates), np.uint32),
    }
    leaves = LEAVES[delphes_class]
    if delphes_class == "Jet" and candidates.knows("area_e"):
        leaves = leaves | AREA_LEAVES
    for name, (dtype, source) in leaves.items():
        values = candidates[source] if isinstance(source, str) else source(candidates)
        columns[name] = _typed(values, np.dtype(dtype))
    return Branch(delphes_class, candidates.offsets, columns)


@cache
def columns_of(delphes_class: str) -> frozenset[str]:
    """Return the columns of candidates that a branch of class `delphes_class` is made from."""
    seen = _Recorder()
    for _, source in LEAVES[delphes_class].values():
        if isinstance(source, str):
            seen[source]
        else:
            source(cast(Candidates, seen))
    names = {*seen.names, SORTED_BY.get(delphes_class, "pt")}
    return frozenset(names).union(*(DERIVED[name][0] for name in names & DERIVED.keys()))


class _Recorder:
    """A candidate that remembers which of its columns were asked for."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        self.names.add(name)
        return np.ones(1)

    def __len__(self) -> int:
        return 1


def concatenate(branches: list[Branch]) -> Branch:
    """Return the events of several branches of one class as one branch."""
    starts = np.cumsum([0, *(branch.offsets[-1] for branch in branches)])
    ends = [branch.offsets[1:] + start for branch, start in zip(branches, starts, strict=False)]
    columns = {
        name: np.concatenate([branch.columns[name] for branch in branches])
        for name in branches[0].columns
    }
    return Branch(branches[0].delphes_class, np.concatenate(([0], *ends)), columns)


def _falling(candidates: Candidates, key: NDArray) -> NDArray[np.int64]:
    """Return the rows event by event, each event's in falling order of `key`."""
    return np.lexsort((-key, candidates.event_of_row()))


def _typed(values: NDArray, dtype: np.dtype) -> NDArray:
    """Return values in the type of a leaf; a property that nobody has set fills an array leaf."""
    if dtype.shape and values.ndim == 1:
        values = np.repeat(values[:, None], dtype.shape[0], axis=1)
    return values.astype(dtype.base)


def _seconds(column: str) -> Source:
    return lambda candidates: candidates[column] * (1e-3 / SPEED_OF_LIGHT)


def _momentum(candidates: Candidates) -> NDArray[np.float64]:
    return np.sqrt(candidates["px"] ** 2 + candidates["py"] ** 2 + candidates["pz"] ** 2)


def _along_beam(candidates: Candidates) -> NDArray[np.bool_]:
    """Return which momenta have |cos θ| = 1 in double precision, null ones among them."""
    return np.abs(candidates["pz"]) == _momentum(candidates)


def _beyond(candidates: Candidates) -> NDArray[np.float64]:
    return np.where(candidates["pz"] < 0.0, -ETA_ALONG_BEAM, ETA_ALONG_BEAM)


def _eta(candidates: Candidates) -> NDArray[np.float64]:
    """Return η as Delphes' TreeWriter does."""
    return np.where(_along_beam(candidates), _beyond(candidates), candidates["eta"])


def _rapidity(candidates: Candidates) -> NDArray[np.float64]:
    """Return the rapidity as Delphes' TreeWriter does."""
    pz, e = candidates["pz"], candidates["e"]
    finite = ~_along_beam(candidates) & (e > np.abs(pz))
    ratio = np.divide(pz, e, out=np.zeros_like(pz), where=finite)
    return np.where(finite, np.arctanh(ratio), _beyond(candidates))


def _cotangent(candidates: Candidates) -> NDArray[np.float64]:
    pt = candidates["pt"]
    return np.divide(
        candidates["pz"], pt, out=np.full_like(pt, COTANGENT_ALONG_BEAM), where=pt > 0.0
    )


def _hard_fraction(candidates: Candidates) -> NDArray[np.float64]:
    hard_track = np.where(candidates["is_pu"] != 0, 0.0, 1.0)
    return np.where(candidates["charge"] != 0, hard_track, candidates["hard_energy_fraction"])


def _edges(candidates: Candidates) -> NDArray[np.float64]:
    names = ("edge_eta_min", "edge_eta_max", "edge_phi_min", "edge_phi_max")
    return np.stack([candidates[name] for name in names], axis=1)


def _had_over_em(candidates: Candidates) -> NDArray[np.float64]:
    em = candidates["e_em"]
    return np.divide(candidates["e_had"], em, out=np.full(len(em), 999.9), where=em > 0.0)


def _opposite_eta(candidates: Candidates) -> NDArray[np.float64]:
    return pseudorapidity(-candidates["px"], -candidates["py"], -candidates["pz"])


def _opposite_phi(candidates: Candidates) -> NDArray[np.float64]:
    return azimuth(-candidates["px"], -candidates["py"])


def _zero(candidates: Candidates) -> NDArray[np.float64]:
    return np.zeros(len(candidates))


def _floats(**sources: Source) -> dict[str, tuple[str, Source]]:
    return {name: ("f4", source) for name, source in sources.items()}


def _integers(**sources: Source) -> dict[str, tuple[str, Source]]:
    return {name: ("i4", source) for name, source in sources.items()}


_TRACK = (
    _integers(PID="pid", Charge="charge", IsPU="is_pu", IsRecoPU="is_reco_pu")
    | _floats(HardEnergyFraction=_hard_fraction)
)  # fmt: skip
_TRACK_KINEMATICS = _floats(
    P=_momentum, PT="pt", Eta=_eta, Phi="phi", CtgTheta=_cotangent, C="curvature", Mass="m",
    EtaOuter="position_eta", PhiOuter="position_phi",
    T=_seconds("initial_t"), X="initial_x", Y="initial_y", Z="initial_z",
    TOuter=_seconds("t"), XOuter="x", YOuter="y", ZOuter="z", Xd="xd", Yd="yd", Zd="zd",
    XFirstHit="x_first_hit", YFirstHit="y_first_hit", ZFirstHit="z_first_hit", L="path_length",
    D0="d0", DZ="dz", Nclusters="n_clusters", dNdx="dn_dx",
    ErrorP="error_p", ErrorPT="error_pt", ErrorPhi="error_phi", ErrorCtgTheta="error_ctg_theta",
    ErrorT=_seconds("error_t"), ErrorD0="error_d0", ErrorDZ="error_dz", ErrorC="error_c",
    ErrorD0Phi="covariance_d0_phi", ErrorD0C="covariance_d0_c", ErrorD0DZ="covariance_d0_dz",
    ErrorD0CtgTheta="covariance_d0_ctg_theta", ErrorPhiC="covariance_phi_c",
    ErrorPhiDZ="covariance_phi_dz", ErrorPhiCtgTheta="covariance_phi_ctg_theta",
    ErrorCDZ="covariance_c_dz", ErrorCCtgTheta="covariance_c_ctg_theta",
    ErrorDZCtgTheta="covariance_dz_ctg_theta",
)  # fmt: skip
_ISOLATION = _floats(
    IsolationVar="isolation_var", IsolationVarRhoCorr="isolation_var_rho_corr",
    SumPtCharged="sum_pt_charged", SumPtNeutral="sum_pt_neutral",
    SumPtChargedPU="sum_pt_charged_pu", SumPt="sum_pt",
)  # fmt: skip
_IMPACT = _floats(D0="d0", DZ="dz", ErrorD0="error_d0", ErrorDZ="error_dz")
_DIRECTION = _floats(PT="pt", Eta=_eta, Phi="phi")
_UNSIGNED = {
    name: ("u4", source)
    for name, source in {
        "Flavor": "flavor", "FlavorAlgo": "flavor_algo", "FlavorPhys": "flavor_phys",
        "TauFlavor": "tau_flavor", "BTag": "b_tag", "BTagAlgo": "b_tag_algo",
        "BTagPhys": "b_tag_phys", "TauTag": "tau_tag",
    }.items()
}  # fmt: skip

# Class: leaf: (type, column or function of the candidates), in the order of Delphes' files.
# References (TRef, TRefArray) and Lorentz vectors inside jets are left out: no writer of ROOT
# files in Python knows them.
LEAVES: dict[str, dict[str, tuple[str, Source]]] = {
    "GenParticle": (
        _integers(
            PID="pid", Status="status", IsPU="is_pu", M1="m1", M2="m2", D1="d1", D2="d2",
            Charge="charge",
        )
        | _floats(
            Mass="mass", E="e", Px="px", Py="py", Pz="pz", P=_momentum, PT="pt", Eta=_eta,
            Phi="phi", Rapidity=_rapidity, T=_seconds("t"), X="x", Y="y", Z="z",
        )
    ),
    "Vertex": (
        _floats(T=_seconds("t"), X="x", Y="y", Z="z")
        | {f"Error{axis}": ("f8", f"position_error_{axis.lower()}") for axis in "TXYZ"}
        | _integers(Index="cluster_index", NDF="cluster_ndf")
        | {
            "Sigma": ("f8", "cluster_sigma"),
            "SumPT2": ("f8", "sum_pt2"),
            "GenSumPT2": ("f8", "gen_sum_pt2"),
            "GenDeltaZ": ("f8", "gen_delta_z"),
            "BTVSumPT2": ("f8", "btv_sum_pt2"),
        }
    ),
    "Track": (
        _TRACK | _TRACK_KINEMATICS | _integers(VertexIndex="cluster_index")
    ),
    "Tower": (
        _floats(
            ET="pt", Eta=_eta, Phi="phi", E="e", T=_seconds("t"), X="x", Y="y", Z="z",
        )
        | _integers(NTimeHits="n_time_hits", IsPU="is_pu", IsRecoPU="is_reco_pu")
        | _floats(
            HardEnergyFraction="hard_energy_fraction", Eem="e_em", Ehad="e_had", Etrk="e_trk",
        )
        | {"Edges[4]": ("4f4", _edges)}
    ),
    "ParticleFlowCandidate": (
        _TRACK
        | _floats(E="e")
        | _TRACK_KINEMATICS
        | _integers(VertexIndex="cluster_index", NTimeHits="n_time_hits")
        | _floats(Eem="e_em", Ehad="e_had", Etrk="e_trk")
        | {"Edges[4]": ("4f4", _edges)}
    ),
    "Photon": (
        _DIRECTION
        | _floats(E="e", T=_seconds("t"), EhadOverEem=_had_over_em)
        | _ISOLATION
        | _integers(Status="status")
    ),
    "Electron": (
        _DIRECTION
        | _floats(T=_seconds("t"))
        | _integers(Charge="charge")
        | _floats(EhadOverEem=_zero)
        | _ISOLATION
        | _IMPACT
    ),
    "Muon": (
        _DIRECTION
        | _floats(T=_seconds("t"))
        | _integers(Charge="charge")
        | _ISOLATION
        | _IMPACT
    ),
    "Jet": (
        _DIRECTION
        | _floats(T=_seconds("t"), Mass="m", DeltaEta="delta_eta", DeltaPhi="delta_phi")
        | _UNSIGNED
        | _floats(TauWeight="tau_weight")
        | _integers(Charge="charge")
        | _floats(EhadOverEem=_had_over_em)
        | _integers(NCharged="n_charged", NNeutrals="n_neutrals")
        | _floats(
            NeutralEnergyFraction="neutral_energy_fraction",
            ChargedEnergyFraction="charged_energy_fraction",
            Beta="beta", BetaStar="beta_star", MeanSqDeltaR="mean_sq_delta_r", PTD="pt_d",
        )
        | {"FracPt[5]": ("5f4", "frac_pt"), "Tau[5]": ("5f4", "tau")}
        | _integers(
            NSubJetsTrimmed="n_subjets_trimmed", NSubJetsPruned="n_subjets_pruned",
            NSubJetsSoftDropped="n_subjets_soft_dropped",
        )
        | {
            f"ExclYmerge{step}": ("f8", f"excl_ymerge_{step}")
            for step in ("12", "23", "34", "45", "56")
        }
    ),
    "MissingET": _floats(MET="pt", Eta=_opposite_eta, Phi=_opposite_phi),
    "ScalarHT": _floats(HT="pt"),
    "Rho": (
        _floats(Rho="e")
        | {"Edges[2]": ("2f4", lambda candidates: _edges(candidates)[:, :2])}
    ),
    "Weight": _floats(Weight="e"),
}  # fmt: skip

# Of jets whose area was measured: the parts of Delphes' Lorentz vector, by the paths that ROOT has
# for them, so that `Jet.Area.fE` means the same here and in a file of Delphes.
AREA_LEAVES: dict[str, tuple[str, Source]] = {
    "Area.fP.fX": ("f8", "area_px"),
    "Area.fP.fY": ("f8", "area_py"),
    "Area.fP.fZ": ("f8", "area_pz"),
    "Area.fE": ("f8", "area_e"),
}

# Delphes' TreeWriter sorts these classes, in falling order.
SORTED_BY = {"Photon": "pt", "Electron": "pt", "Muon": "pt", "Jet": "pt", "Vertex": "sum_pt2"}

# Classes of which only the first candidate of each event is written.
SINGLE = ("MissingET", "ScalarHT", "Weight")
