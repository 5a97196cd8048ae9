"""Jets with their GEN-jet, to learn jet energies from."""

import math
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from ntuplizer.branches import CANDIDATE_BRANCHES, CANDIDATE_LEAVES, RECORD_LEAVES
from ntuplizer.counts import Counts
from ntuplizer.products import Axis, Branches, Product, ProductOptions
from ntuplizer.schema import EVENT_IDENTITY, Column, constituents, scalars

if TYPE_CHECKING:
    from ntuplizer.batch import EventBatch


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
CHARGED = constituents(
    "charged_", (*_KINEMATICS, *_TRACK, "isElectron", "isMuon", "isChargedHadron")
)
NEUTRAL = constituents("neutral_", (*_KINEMATICS, "isPhoton", "isNeutralHadron"))

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
        (
            "flavour",
            "int32",
            "",
            "PDG code of the heaviest parton within ΔR ≤ 0.5: 5, 4, 3, 2, 1, else 21; "
            "0 without partons",
        ),
    ),
    *scalars(
        "event_",
        (
            "rho",
            "float32",
            "GeV",
            "pT density of the event in the jet's region of η; 0 when the file has none",
        ),
        ("nvertices", "int32", "", "interactions of the event, the hard one included"),
    ),
    *CHARGED,
    *NEUTRAL,
    *scalars(
        "genjet_",
        ("pt", "float32", "GeV", "transverse momentum of the matched GEN-jet: the target"),
        ("eta", "float32", "", "pseudorapidity of the GEN-jet"),
        ("phi", "float32", "rad", "azimuth of the GEN-jet"),
        ("mass", "float32", "GeV", "mass of the GEN-jet"),
        ("energy", "float32", "GeV", "energy of the GEN-jet"),
    ),
)


def _branches(options: EnergyOptions) -> Branches:
    return {
        "Particle": RECORD_LEAVES,
        CANDIDATE_BRANCHES[options.jet_collection]: CANDIDATE_LEAVES,
    }


def _make(batch: "EventBatch", options: EnergyOptions, counts: Counts) -> dict[str, Any]:
    from ntuplizer.rows.energy import make_energy_jets

    return make_energy_jets(batch, options, counts)


PRODUCT = Product(
    name="energy",
    summary="jets with their GEN-jet, to learn energies",
    version=1,
    Options=EnergyOptions,
    columns=lambda options: COLUMNS,
    branches=_branches,
    optional_branches=lambda options: {"Vertex": ("Z",), "Rho": ("Rho", "Edges")},
    make=_make,
    identity=(*(column.name for column in EVENT_IDENTITY), JET_NUMBER.name),
    axes=(
        Axis("jet_pt", r"Jet $p_\mathrm{T}$ (GeV)", 50, 0, 500),
        Axis("genjet_pt", r"GEN-jet $p_\mathrm{T}$ (GeV)", 50, 0, 500),
        Axis("jet_eta", r"Jet $\eta$", 50, -5, 5),
        Axis("event_nvertices", "Interactions", 50, 0, 100),
    ),
)
