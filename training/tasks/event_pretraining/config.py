"""The configuration of a pre-training without labels; imports no heavy package."""

from typing import ClassVar, Literal

from pydantic import Field

from training.events.config import EventConfig
from training.tasks.event_pretraining.meanings import MEANINGS


class Config(EventConfig):
    """Guessing what is hidden of an event's objects; the defaults are of arXiv:2312.06909."""

    numbers: ClassVar[tuple[str, ...]] = (
        *MEANINGS,
        *(f"explained_{name}" for name in ("log_pt", "eta", "sin_phi", "cos_phi", "log_mass")),
    )

    task: Literal["event_pretraining"]
    hidden: Literal["types", "kinematics"] = Field(
        "types", description="what of an object is hidden and guessed"
    )
    probability: float = Field(0.65, gt=0, le=1, description="to hide it, for each object")
    counted: Literal["all", "hidden"] = Field(
        "all",
        description="objects whose guess the loss counts: all, those in sight included, as "
        "published; or the hidden ones only",
    )
    shuffled_types: bool = Field(
        False,
        description="a control: the types of an event change places among its objects, so that "
        "they cannot be guessed from anything but each other",
    )
