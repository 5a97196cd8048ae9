"""The configuration of a contrast of two measurements of events; imports no heavy package."""

from typing import ClassVar, Literal

from pydantic import Field

from training.events.config import EventConfig


class Config(EventConfig):
    """Finding the other measurement of an event among those of other events, without labels."""

    numbers: ClassVar[tuple[str, ...]] = (
        "events",
        "accuracy",
        "accuracy_of_chance",
        "median_place",
    )

    task: Literal["event_contrast"]
    again: bool = Field(
        False,
        description="rows hold a second simulation of the detector (the option `again` of the "
        "product `events`); otherwise both measurements are the row, smeared twice",
    )
    projection: int = Field(32, gt=0, description="width of what is compared")
    temperature: float = Field(0.1, gt=0, description="of the cosines that are compared")
