"""Pictures of single rows: what a product says of a row, and one way of drawing it.

A product tells what a row looks like (`Product.view`, from columns to a `View`); nothing here knows
the products. `python -m ntuplizer display` and the report draw views.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

Kind = Literal[
    "charged hadron", "neutral hadron", "photon", "electron", "muon",
    "lepton", "b-jet", "light jet", "missing momentum",
    "secondary vertex", "GEN-jet", "truth",
]  # fmt: skip
Row = dict[str, Any]


@dataclass(frozen=True)
class Marks:
    """Objects of one kind.

    Attributes
    ----------
    kind
        Decides colour and shape, and stands in the legend.
    x, y
        (n,) places in the panel.
    pt
        (n,) GeV; areas are proportional to it. None: all of one size.
    names
        What is written beside each; empty: nothing.
    """

    kind: Kind
    x: "np.ndarray"
    y: "np.ndarray"
    pt: "np.ndarray | None" = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Panel:
    """One plane with objects.

    Attributes
    ----------
    title
        Above it.
    marks
        Drawn in order.
    axes
        Titles of x and y.
    x_limits, y_limits
        What is shown.
    circles
        (x, y, radius) of each jet's cone.
    levels
        Objects that have no x, each a line across at its y.
    from_origin
        Objects are arrows from the origin, as long as their transverse momentum.
    """

    title: str
    marks: tuple[Marks, ...]
    axes: tuple[str, str]
    x_limits: tuple[float, float]
    y_limits: tuple[float, float]
    circles: tuple[tuple[float, float, float], ...] = ()
    levels: tuple[tuple[Kind, float], ...] = ()
    from_origin: bool = False

    @property
    def kinds(self) -> set[Kind]:
        """Which kinds of objects there are."""
        return {marks.kind for marks in self.marks} | {kind for kind, _ in self.levels}


@dataclass(frozen=True)
class View:
    """What a row looks like: a short title, panels, and what else is known in words."""

    title: str
    panels: tuple[Panel, ...]
    facts: tuple[str, ...] = field(default=())
