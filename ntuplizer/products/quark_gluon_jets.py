"""Jets of light quarks and of gluons: the columns of `jets` with two labels."""

import math
from typing import TYPE_CHECKING, Any

from pydantic import Field

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

LABELS = ("gluon", "quark")
COLUMNS = columns_for(LABELS)


class QuarkGluonOptions(ClusteringOptions):
    """What makes a jet."""

    jet_radius: float = Field(0.4, gt=0, le=math.pi, description="anti-kT R")


def _make(batch: "EventBatch", options: QuarkGluonOptions, counts: Counts) -> dict[str, Any]:
    from ntuplizer.hard_process import label_partons
    from ntuplizer.rows.jets import make_labelled_jets

    return make_labelled_jets(
        batch,
        options,
        counts,
        lambda record, jets: label_partons(
            record, jets.event, jets.eta, jets.phi, options.jet_radius
        ),
    )


PRODUCT = Product(
    name="quark_gluon_jets",
    summary="jets of light quarks and gluons that left the hard process",
    version=1,
    Options=QuarkGluonOptions,
    columns=lambda options: COLUMNS,
    branches=jet_branches,
    optional_branches=optional_jet_branches,
    make=_make,
    label=lambda options: Label(LABEL.column, LABELS),
    axes=JET_AXES,
    match=MATCH,
    view=view_jet,
)
