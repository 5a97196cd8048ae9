"""Event objects: leptons, missing transverse momentum, b-jets and light jets in fixed slots."""

from collections import Counter
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ntuplizer.counts import Counts
from ntuplizer.products import Axis, Branches, Product, ProductOptions
from ntuplizer.schema import EVENT_IDENTITY, Column
from ntuplizer.slots import B_JET, EMPTY, LEPTON, LIGHT_JET, MISSING, SlotOptions

if TYPE_CHECKING:
    from ntuplizer.batch import EventBatch
    from ntuplizer.display import View


class EventOptions(SlotOptions, ProductOptions):
    """Which events to keep, which slots they have, and where their objects are."""

    jet_branch: str = Field("JetPUPPI", description="branch of the jets")
    met_branch: str = Field("PuppiMissingET", description="branch of missing momentum")


WORDS = {
    LEPTON: "electron or muon",
    MISSING: "missing transverse momentum",
    B_JET: "b-tagged jet",
    LIGHT_JET: "jet without b-tag",
}
PLACES = ("leading", "second", "third", "fourth")


def _columns(options: EventOptions) -> tuple[Column, ...]:
    slots: list[Column] = []
    seen: Counter[int] = Counter()
    for name, code in options.slots.items():
        place = seen[code]
        seen[code] += 1
        which = PLACES[place] if place < len(PLACES) else f"{place + 1}th"
        words = WORDS[code] if code == MISSING else f"{which} {WORDS[code]}"
        slots += (
            Column(f"{name}_pt", "float32", "GeV", f"transverse momentum of the {words}"),
            Column(f"{name}_eta", "float32", "", f"pseudorapidity of the {words}"),
            Column(f"{name}_phi", "float32", "rad", f"azimuth of the {words}"),
            Column(f"{name}_mass", "float32", "GeV", f"mass of the {words}"),
            Column(f"{name}_type", "int32", "", f"{code} for the {words}, {EMPTY} for none"),
        )
    return (*EVENT_IDENTITY, *slots)


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


def _view(row: dict[str, Any], options: EventOptions) -> "View":
    from ntuplizer.display.events import view_event

    return view_event(row, options)


PRODUCT = Product(
    name="events",
    summary="leading objects of the events that have enough",
    version=2,
    Options=EventOptions,
    columns=_columns,
    branches=_branches,
    make=_make,
    identity=tuple(column.name for column in EVENT_IDENTITY),
    axes=(
        Axis("lepton_pt", r"Lepton $p_\mathrm{T}$ (GeV)", 50, 0, 250),
        Axis("met_pt", r"$p_\mathrm{T}^\mathrm{miss}$ (GeV)", 50, 0, 250),
        Axis("bjet1_pt", r"Leading b-jet $p_\mathrm{T}$ (GeV)", 50, 0, 500),
        Axis("jet1_pt", r"Leading light jet $p_\mathrm{T}$ (GeV)", 50, 0, 500),
    ),
    view=_view,
)
