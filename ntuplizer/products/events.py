"""Event objects: lepton, missing transverse momentum, two b-jets and two light jets in slots."""

from typing import TYPE_CHECKING, Any

from pydantic import Field

from ntuplizer.counts import Counts
from ntuplizer.products import Axis, Branches, Product, ProductOptions
from ntuplizer.schema import EVENT_IDENTITY, Column

if TYPE_CHECKING:
    from ntuplizer.batch import EventBatch


class EventOptions(ProductOptions):
    """Which events to keep, and where their objects are."""

    lepton_pt_min: float = Field(10.0, ge=0, description="lowest lepton pT in GeV")
    jet_pt_min: float = Field(20.0, ge=0, description="lowest jet pT in GeV")
    # Delphes makes a jet of an isolated lepton too.
    overlap: float = Field(
        0.4, ge=0, description="leave out jets within this ΔR of the leading lepton; 0 keeps all"
    )
    jet_branch: str = Field("JetPUPPI", description="branch of the jets")
    met_branch: str = Field(
        "PuppiMissingET", description="branch of the missing transverse momentum"
    )


# The objects of an event, each in a slot of its own, and the number that tells its type.
SLOTS = {
    "lepton": (1, "leading electron or muon"),
    "met": (4, "missing transverse momentum"),
    "bjet1": (2, "leading b-tagged jet"),
    "bjet2": (2, "second b-tagged jet"),
    "jet1": (3, "leading jet without b-tag"),
    "jet2": (3, "second jet without b-tag"),
}


def _slot(name: str, code: int, words: str) -> tuple[Column, ...]:
    return (
        Column(f"{name}_pt", "float32", "GeV", f"transverse momentum of the {words}"),
        Column(f"{name}_eta", "float32", "", f"pseudorapidity of the {words}"),
        Column(f"{name}_phi", "float32", "rad", f"azimuth of the {words}"),
        Column(f"{name}_mass", "float32", "GeV", f"mass of the {words}"),
        Column(f"{name}_type", "int32", "", f"always {code}: type of the {words}"),
    )


COLUMNS: tuple[Column, ...] = (
    *EVENT_IDENTITY,
    *(column for name, (code, words) in SLOTS.items() for column in _slot(name, code, words)),
)


def _branches(options: EventOptions) -> Branches:
    return {
        "Electron": ("PT", "Eta", "Phi"),
        "Muon": ("PT", "Eta", "Phi"),
        options.jet_branch: ("PT", "Eta", "Phi", "Mass", "BTag"),
        options.met_branch: ("MET", "Phi"),
    }


def _make(batch: "EventBatch", options: EventOptions, counts: Counts) -> dict[str, Any]:
    from ntuplizer.rows.events import make_events

    return make_events(batch, options, counts)


PRODUCT = Product(
    name="events",
    summary="leading objects of the events with six objects",
    version=1,
    Options=EventOptions,
    columns=lambda options: COLUMNS,
    branches=_branches,
    make=_make,
    identity=tuple(column.name for column in EVENT_IDENTITY),
    axes=(
        Axis("lepton_pt", r"Lepton $p_\mathrm{T}$ (GeV)", 50, 0, 250),
        Axis("met_pt", r"$p_\mathrm{T}^\mathrm{miss}$ (GeV)", 50, 0, 250),
        Axis("bjet1_pt", r"Leading b-jet $p_\mathrm{T}$ (GeV)", 50, 0, 500),
        Axis("jet1_pt", r"Leading light jet $p_\mathrm{T}$ (GeV)", 50, 0, 500),
    ),
)
