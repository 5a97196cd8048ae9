"""The configuration of a regression of invariant masses; imports no heavy package."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from training.events.config import EventConfig


class Config(EventConfig):
    """Guessing the invariant masses of combinations of an event's objects, without labels."""

    numbers: ClassVar[tuple[str, ...]] = (
        "events",
        "explained",
        "least_explained",
        "error_of_log_mass",
    )

    task: Literal["event_masses"]
    sizes: tuple[Annotated[int, Field(ge=2)], ...] = Field(
        (2, 3), min_length=1, description="of how many objects each: 2 for pairs, 3 for triples"
    )
    neutrino: bool = Field(
        False,
        description="missing momentum gets the momentum along the beam with which it and the "
        "lepton have the mass of a W; otherwise it is taken as transverse",
    )

    @model_validator(mode="after")
    def _some_combination(self) -> Self:
        if min(self.sizes) > len(self.data.slots):
            raise ValueError(
                f"sizes: no {min(self.sizes)} objects can be combined of the "
                f"{len(self.data.slots)} of data.slots"
            )
        return self
