"""Labelled jets: the 54 columns of the published JetClass-II (arXiv:2405.12972)."""

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from ntuplizer.branches import CANDIDATE_BRANCHES, CANDIDATE_LEAVES, RECORD_LEAVES
from ntuplizer.counts import Counts
from ntuplizer.labels import LABELS, group_of
from ntuplizer.products import Axis, Branches, Label, Match, Product, ProductOptions
from ntuplizer.schema import CONSTITUENTS, Column, lists, scalars

if TYPE_CHECKING:
    from ntuplizer.batch import EventBatch
    from ntuplizer.display import View


class ClusteringOptions(ProductOptions):
    """What makes a jet."""

    jet_radius: float = Field(0.8, gt=0, le=math.pi, description="anti-kT R")
    jet_pt_min: float | None = Field(
        None,
        gt=0,
        description="lowest pT in GeV of jets and GEN-jets; without it 200, or 120 from R = 1.5 on",
    )
    jet_collection: Literal["puppi", "chs"] = Field(
        "puppi",
        description="what jets are made of; chs needs the branch ParticleFlowCandidateCHS",
    )

    @property
    def clustered_pt_min(self) -> float:
        """The lowest jet pT (GeV) in effect: what the published cards ask, if not said."""
        if self.jet_pt_min is not None:
            return self.jet_pt_min
        return 120.0 if self.jet_radius >= 1.5 else 200.0


class JetOptions(ClusteringOptions):
    """What makes a jet of the file, and its label."""

    qcd_labels: bool = Field(False, description="label jets without a resonance as QCD")
    stored_parton_pt: float = Field(
        10.0, ge=0, description="lowest pT in GeV of quarks stored with QCD jets"
    )


COLUMNS: tuple[Column, ...] = (
    *CONSTITUENTS,
    *scalars(
        "jet_",
        ("pt", "float32", "GeV", "transverse momentum of the jet"),
        ("eta", "float32", "", "pseudorapidity"),
        ("phi", "float32", "rad", "azimuth in [−π, π]"),
        ("energy", "float32", "GeV", "energy"),
        ("sdmass", "float32", "GeV", "soft-drop mass (β = 0, z_cut = 0.1)"),
        ("nparticles", "int32", "", "number of constituents kept"),
        ("tau1", "float32", "", "1-subjettiness (normalised measure, β = 1, one-pass kT axes)"),
        ("tau2", "float32", "", "2-subjettiness"),
        ("tau3", "float32", "", "3-subjettiness"),
        ("tau4", "float32", "", "4-subjettiness"),
        ("label", "int32", "", "index of the jet's label, 0 to 187"),
    ),
    *lists(
        "genpart_",
        ("px", "float32", "GeV", "x momentum of the matched GEN-jet's constituent, by falling pT"),
        ("py", "float32", "GeV", "y momentum"),
        ("pz", "float32", "GeV", "z momentum"),
        ("energy", "float32", "GeV", "energy from (pT, η, φ, mass)"),
        ("jet_deta", "float32", "", "as part_deta, relative to the reconstructed jet"),
        ("jet_dphi", "float32", "rad", "as part_dphi, relative to the reconstructed jet"),
        ("x", "float32", "mm", "x of the production vertex; 0 at the primary vertex"),
        ("y", "float32", "mm", "y of the production vertex; 0 at the primary vertex"),
        ("z", "float32", "mm", "z of the production vertex minus the primary vertex's"),
        ("t", "float32", "s", "time of production minus the primary vertex's"),
        ("pid", "int32", "", "PDG code"),
    ),
    *scalars(
        "genjet_",
        ("pt", "float32", "GeV", "transverse momentum of the matched GEN-jet; 0 without a match"),
        ("eta", "float32", "", "pseudorapidity; 0 without a match"),
        ("phi", "float32", "rad", "azimuth; 0 without a match"),
        ("energy", "float32", "GeV", "energy; 0 without a match"),
        ("sdmass", "float32", "GeV", "soft-drop mass; 0 without a match"),
        ("nparticles", "int32", "", "number of constituents kept; 0 without a match"),
    ),
    *lists(
        "aux_genpart_",
        ("pt", "float32", "GeV", "transverse momentum of the generator particle behind the label"),
        ("eta", "float32", "", "pseudorapidity"),
        ("phi", "float32", "rad", "azimuth"),
        ("mass", "float32", "GeV", "mass"),
        ("pid", "int32", "", "PDG code"),
        ("isResX", "bool", "", "the resonance X"),
        ("isResY", "bool", "", "one of the two Y of X → YY"),
        ("isResDecayProd", "bool", "", "direct decay product of X or Y"),
        ("isTauDecayProd", "bool", "", "decay product of a τ"),
        ("isQcdParton", "bool", "", "quark before hadronisation inside a QCD jet"),
    ),
)

LABEL = Label("jet_label", LABELS, group_of)
JET_AXES = (
    Axis("jet_pt", r"Jet $p_\mathrm{T}$ (GeV)", 60, 20, 6000, logarithmic=True),
    Axis("jet_eta", r"Jet $\eta$", 50, -5, 5),
    Axis("jet_sdmass", "Soft-drop mass (GeV)", 50, 0, 500),
    Axis("jet_nparticles", "Constituents", 40, 0, 200),
)
MATCH = Match("jet_pt", "genjet_pt")


def jet_branches(options: ClusteringOptions) -> Branches:
    """Return the branches that jets of any labels are made of."""
    return {
        "Particle": (*RECORD_LEAVES, "X", "Y", "Z", "T"),
        CANDIDATE_BRANCHES[options.jet_collection]: CANDIDATE_LEAVES,
    }


def optional_jet_branches(options: ClusteringOptions) -> Branches:
    """Return the branches that may be absent: events without pile-up may have no vertices."""
    return {"Vertex": ("Z", "T")}


def columns_for(labels: tuple[str, ...]) -> tuple[Column, ...]:
    """Return the columns of jets with other labels: without what the roles of `LABELS` say."""
    meaning = f"index of the jet's label: {', '.join(f'{i} {n}' for i, n in enumerate(labels))}"
    return tuple(
        replace(column, meaning=meaning) if column.name == LABEL.column else column
        for column in COLUMNS
        if not column.name.startswith("aux_genpart_is")
    )


def view_jet(row: dict[str, Any], options: ClusteringOptions) -> "View":
    """Return what a jet of any labels looks like."""
    from ntuplizer.display import jets

    return jets.view_jet(row, options.jet_radius)


def _make(batch: "EventBatch", options: JetOptions, counts: Counts) -> dict[str, Any]:
    from ntuplizer.rows.jets import make_jets

    return make_jets(batch, options, counts)


PRODUCT = Product(
    name="jets",
    summary="labelled jets",
    version=1,
    Options=JetOptions,
    columns=lambda options: COLUMNS,
    branches=jet_branches,
    optional_branches=optional_jet_branches,
    make=_make,
    label=lambda options: LABEL,
    axes=JET_AXES,
    match=MATCH,
    view=view_jet,
)
