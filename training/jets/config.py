"""Which jets are read, and what of them; imports no heavy package."""

from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from training.config import DataConfig
from training.models.sizes import Section

if TYPE_CHECKING:
    import numpy as np

    from training.data.reader import Scalars

Range = tuple[float, float]


class Selection(Section):
    """Jets that are used: open intervals, in GeV."""

    jet_pt: Range = Field((200.0, 2500.0), description="jet transverse momentum")
    jet_sdmass: Range = Field((20.0, 500.0), description="soft-drop mass")

    @model_validator(mode="after")
    def _intervals_rise(self) -> Self:
        for low, high in (self.jet_pt, self.jet_sdmass):
            if low >= high:
                raise ValueError(f"an interval begins at {low:g} and ends at {high:g}")
        return self

    def passes(self, scalars: "Scalars") -> "np.ndarray":
        """Return which jets lie in the intervals, (n,) bool, of their numbers by column."""
        intervals = (("jet_pt", self.jet_pt), ("jet_sdmass", self.jet_sdmass))
        inside = [(low < scalars[name]) & (scalars[name] < high) for name, (low, high) in intervals]
        return inside[0] & inside[1]

    def __str__(self) -> str:
        return "{:g} < jet_pt < {:g} and {:g} < jet_sdmass < {:g}".format(
            *self.jet_pt, *self.jet_sdmass
        )


class JetDataConfig(DataConfig):
    """How jets are read."""

    max_constituents: int = Field(
        128, gt=0, le=10_000, description="leading constituents kept per jet"
    )
    selection: Selection = Selection()
    label: str = Field("jet_label", description="column with the index of the class")


Classes = Annotated[dict[str, Annotated[tuple[str, ...], Field(min_length=1)]], Field(min_length=2)]


class ConstituentDataConfig(DataConfig):
    """How jets are read by their constituents' own features."""

    max_constituents: int = Field(
        128, gt=0, le=10_000, description="leading constituents kept per jet"
    )
    selection: Selection = Selection()
    label: str | None = Field(
        "jet_label", description="column with the index of the label; null: jets have none"
    )
    labels: tuple[str, ...] | None = Field(
        None, min_length=2, description="names of the labels, by index; null: the 188 labels"
    )
    classes: Classes | None = Field(
        None,
        description="labels of each class, `*` stands for anything; jets of other labels are left "
        "out; null: every label is a class",
    )

    @model_validator(mode="after")
    def _rows_are_read_in_passes(self) -> Self:
        if self.on_device:
            raise ValueError("on_device keeps batches, and masks change with every pass")
        return self
