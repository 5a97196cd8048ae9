"""Jets with their GEN-jet, to learn jet energies from."""

import math
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from ntuplizer.branches import CANDIDATE_BRANCHES, CANDIDATE_LEAVES, RECORD_LEAVES
from ntuplizer.counts import Counts
from ntuplizer.products import Axis, Branches, Match, Product, ProductOptions
from ntuplizer.schema import EVENT_IDENTITY, Column, constituents, lists, scalars

if TYPE_CHECKING:
    from ntuplizer.batch import EventBatch
    from ntuplizer.display import View


class EnergyOptions(ProductOptions):
    """Which jets to take."""

    jet_radius: float = Field(0.4, gt=0, le=math.pi, description="anti-kT R")
    jet_pt_min: float = Field(15.0, gt=0, description="lowest jet pT in GeV")
    jet_eta_max: float = Field(2.5, gt=0, le=5, description="largest |η| of the jet")
    jet_collection: Literal["puppi", "chs"] = Field(
        "puppi",
        description="what jets are made of; chs needs the branch ParticleFlowCandidateCHS",
    )


JET_NUMBER = Column(
    "jet", "int32", "", "number of the jet in its event, by falling pT of all that were clustered"
)
_KINEMATICS = ("px", "py", "pz", "energy", "deta", "dphi")
_TRACK = ("d0val", "d0err", "dzval", "dzerr", "charge")
CHARGED = (
    *constituents("charged_", (*_KINEMATICS, *_TRACK, "isElectron", "isMuon", "isChargedHadron")),
    *lists(
        "charged_",
        (
            "pterr",
            "float32",
            "",
            "uncertainty of pT over pT; 0 with cards that do not smear momenta",
        ),
        (
            "association",
            "int32",
            "",
            "reconstructed vertex of the track: 1 marked as pile-up, 2 in another vertex, 3 in "
            "none and far from the first, 4 in none and near the first, 5 in the first",
        ),
    ),
)
NEUTRAL = (
    *constituents("neutral_", (*_KINEMATICS, "isPhoton", "isNeutralHadron")),
    *lists(
        "neutral_",
        ("hcalfrac", "float32", "", "share of the calorimeter energy that is in the HCAL"),
        ("puppiweight", "float32", "", "energy over the calorimeter energy: PUPPI's weight"),
    ),
)
VERTICES = lists(
    "sv_",
    ("pt", "float32", "GeV", "pT of the tracks of a secondary vertex, most tracks first"),
    ("eta", "float32", "", "pseudorapidity of their sum"),
    ("phi", "float32", "rad", "azimuth of their sum"),
    ("mass", "float32", "GeV", "mass of the tracks, taken for pions"),
    ("deta", "float32", "", "η minus the jet's η, times the sign of the jet's η (−1 at η ≤ 0)"),
    ("dphi", "float32", "rad", "φ minus the jet's φ, wrapped into [−π, π)"),
    ("flight", "float32", "mm", "distance from the primary vertex"),
    ("flightsig", "float32", "", "the same over its uncertainty"),
    ("flightxy", "float32", "mm", "distance from the primary vertex, transverse to the beam"),
    ("flightxysig", "float32", "", "the same over its uncertainty"),
    ("chi2", "float32", "", "χ² of the fit"),
    ("ndf", "int32", "", "its degrees of freedom"),
    ("ntracks", "int32", "", "number of tracks"),
)

COLUMNS: tuple[Column, ...] = (
    *EVENT_IDENTITY,
    JET_NUMBER,
    *scalars(
        "jet_",
        ("pt", "float32", "GeV", "transverse momentum of the jet, as clustered"),
        ("eta", "float32", "", "pseudorapidity"),
        ("phi", "float32", "rad", "azimuth in [−π, π]"),
        ("mass", "float32", "GeV", "mass"),
        ("energy", "float32", "GeV", "energy"),
        ("area", "float32", "rad²", "active area in y and φ"),
        ("multiplicity", "int32", "", "constituents with pT > 1 GeV"),
        ("ptd", "float32", "", "√Σ pT² / Σ pT of the constituents"),
        ("axis2", "float32", "", "minor axis of the constituents in (Δη, Δφ), weighted by pT²"),
        (
            "hadronflavour",
            "int32",
            "",
            "5 with a b hadron in the jet, else 4 with a c hadron, or 0",
        ),
        (
            "partonflavour",
            "int32",
            "",
            "PDG code of the hardest b quark in the jet, else c quark, else light quark or gluon; "
            "0 without partons",
        ),
    ),
    *scalars(
        "event_",
        ("rho", "float32", "GeV", "energy density of the event where the jet lies in η"),
        ("nvertices", "int32", "", "reconstructed vertices of the event"),
        ("ninteractions", "int32", "", "true interactions of the event, the hard one included"),
    ),
    *CHARGED,
    *NEUTRAL,
    *VERTICES,
    *scalars(
        "genjet_",
        ("pt", "float32", "GeV", "transverse momentum of the matched GEN-jet: the target"),
        ("eta", "float32", "", "pseudorapidity of the GEN-jet"),
        ("phi", "float32", "rad", "azimuth of the GEN-jet"),
        ("mass", "float32", "GeV", "mass of the GEN-jet"),
        ("energy", "float32", "GeV", "energy of the GEN-jet"),
        ("ptnu", "float32", "GeV", "transverse momentum of the GEN-jet with the neutrinos in it"),
    ),
)
# What is told of a candidate beyond momentum, identity and impact parameters: tracks' momentum
# errors and vertices, calorimeter energies, and what the fit of secondary vertices needs.
_MORE_LEAVES = (
    "ErrorPT", "ErrorPhi", "ErrorCtgTheta", "IsRecoPU", "VertexIndex", "Eem", "Ehad",
)  # fmt: skip


def _branches(options: EnergyOptions) -> Branches:
    return {
        "Particle": RECORD_LEAVES,
        CANDIDATE_BRANCHES[options.jet_collection]: (*CANDIDATE_LEAVES, *_MORE_LEAVES),
    }


def _optional_branches(options: EnergyOptions) -> Branches:
    # Without Rho and ReconstructedVertex there are no rows, but a sentence that says what to do.
    return {
        "Vertex": ("Z", "Index"),
        "Rho": ("Rho", "Edges"),
        "ReconstructedVertex": ("Z", "ErrorZ", "Index"),
    }


def _make(batch: "EventBatch", options: EnergyOptions, counts: Counts) -> dict[str, Any]:
    from ntuplizer.rows.energy import make_energy_jets

    return make_energy_jets(batch, options, counts)


def _view(row: dict[str, Any], options: EnergyOptions) -> "View":
    from ntuplizer.display.energy import view_energy_jet

    return view_energy_jet(row, options.jet_radius)


PRODUCT = Product(
    name="energy",
    summary="jets with their GEN-jet, to learn energies",
    version=3,
    Options=EnergyOptions,
    columns=lambda options: COLUMNS,
    branches=_branches,
    optional_branches=_optional_branches,
    make=_make,
    identity=(*(column.name for column in EVENT_IDENTITY), JET_NUMBER.name),
    axes=(
        Axis("jet_pt", r"Jet $p_\mathrm{T}$ (GeV)", 50, 10, 5000, logarithmic=True),
        Axis("genjet_pt", r"GEN-jet $p_\mathrm{T}$ (GeV)", 50, 10, 5000, logarithmic=True),
        Axis("jet_eta", r"Jet $\eta$", 50, -5, 5),
        Axis("event_ninteractions", "True interactions", 50, 0, 100),
        Axis("event_nvertices", "Reconstructed vertices", 50, 0, 100),
        Axis("event_rho", r"Energy density $\rho$ (GeV)", 50, 0, 100),
    ),
    match=Match("jet_pt", "genjet_pt"),
    view=_view,
)
