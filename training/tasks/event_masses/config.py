"""The configuration of a regression of invariant masses; imports no heavy package."""

from typing import ClassVar, Literal

from training.events.config import EventConfig


class Config(EventConfig):
    """Guessing the invariant masses of an event's pairs and triples of objects, without labels."""

    numbers: ClassVar[tuple[str, ...]] = (
        "events",
        "explained",
        "least_explained",
        "error_of_log_mass",
    )

    task: Literal["event_masses"]
