"""Jets of hadronic top quarks, and of QCD: the columns of `jets` with two labels."""

from typing import TYPE_CHECKING, Any

from ntuplizer.counts import Counts
from ntuplizer.products import Label, Product
from ntuplizer.products.jets import (
    JET_AXES,
    LABEL,
    MATCH,
    ClusteringOptions,
    columns_for,
    jet_branches,
    optional_jet_branches,
    view_jet,
)

if TYPE_CHECKING:
    from ntuplizer.batch import EventBatch

LABELS = ("QCD", "top")
COLUMNS = columns_for(LABELS)


def _make(batch: "EventBatch", options: ClusteringOptions, counts: Counts) -> dict[str, Any]:
    from ntuplizer.hard_process import label_tops
    from ntuplizer.rows.jets import make_labelled_jets

    return make_labelled_jets(
        batch,
        options,
        counts,
        lambda record, jets: label_tops(record, jets.event, jets.eta, jets.phi, options.jet_radius),
    )


PRODUCT = Product(
    name="top_jets",
    summary="jets with a whole hadronic top quark, and of events without one",
    version=1,
    Options=ClusteringOptions,
    columns=lambda options: COLUMNS,
    branches=jet_branches,
    optional_branches=optional_jet_branches,
    make=_make,
    label=lambda options: Label(LABEL.column, LABELS),
    axes=JET_AXES,
    match=MATCH,
    view=view_jet,
)
