"""The configuration of a regression of invariant masses; imports no heavy package."""

from typing import Literal

from training.events.config import EventConfig


class Config(EventConfig):
    """Guessing the invariant masses of an event's pairs and triples of objects, without labels."""

    task: Literal["event_masses"]
