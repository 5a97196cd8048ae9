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
    again: bool = Field(
        False,
        description="a second simulation of the detector beside the first, of branches `…_again`: "
        "columns `<slot>_again_…`; events are kept that pass both",
    )


WORDS = {
    LEPTON: "electron or muon",
    MISSING: "missing transverse momentum",
    B_JET: "b-tagged jet",
    LIGHT_JET: "jet without b-tag",
}
PLACES = ("leading", "second", "third", "fourth")


# What names of branches and slots of a second simulation end in.
AGAIN = "_again"


def _columns(options: EventOptions) -> tuple[Column, ...]:
    endings = ("", AGAIN) if options.again else ("",)
    return (*EVENT_IDENTITY, *(column for end in endings for column in _slots(options, end)))


def _slots(options: EventOptions, ending: str) -> list[Column]:
    slots: list[Column] = []
    seen: Counter[int] = Counter()
    for name, code in options.slots.items():
        place = seen[code]
        seen[code] += 1
        which = PLACES[place] if place < len(PLACES) else f"{place + 1}th"
        words = WORDS[code] if code == MISSING else f"{which} {WORDS[code]}"
        words = f"{words}, simulated again" if ending else words
        slots += (
            Column(f"{name}{ending}_pt", "float32", "GeV", f"transverse momentum of the {words}"),
            Column(f"{name}{ending}_eta", "float32", "", f"pseudorapidity of the {words}"),
            Column(f"{name}{ending}_phi", "float32", "rad", f"azimuth of the {words}"),
            Column(f"{name}{ending}_mass", "float32", "GeV", f"mass of the {words}"),
            Column(
                f"{name}{ending}_type", "int32", "", f"{code} for the {words}, {EMPTY} for none"
            ),
        )
    return slots


def _branches(options: EventOptions) -> Branches:
    once: dict[str, tuple[str, ...]] = {
        "Electron": ("PT", "Eta", "Phi"),
        "Muon": ("PT", "Eta", "Phi"),
        options.jet_branch: ("PT", "Eta", "Phi", "Mass", "BTag"),
        options.met_branch: ("MET", "Phi"),
    }
    return once | {f"{name}{AGAIN}": once[name] for name in once if options.again}


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
