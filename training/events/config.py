"""Which events are read, and what of them; imports no heavy package."""

from collections.abc import Collection
from typing import ClassVar

from pydantic import Field

from provenance.errors import UserError
from training.config import DataConfig, FitConfig
from training.models.sizes import ObjectTransformerConfig, Section


class EventDataConfig(DataConfig):
    """How event objects are read."""

    batch_size: int = Field(1024, gt=0, le=1_000_000, description="rows per step and device")
    workers: int = Field(
        0, ge=0, le=256, description="loader processes per device; 0 reads in-process"
    )
    on_device: bool = Field(True, description="keep all rows on the device and draw from there")
    slots: tuple[str, ...] = Field(
        ("lepton", "met", "bjet1", "bjet2", "jet1", "jet2"),
        min_length=1,
        description="objects to read, by the names of their columns",
    )
    filled: bool = Field(False, description="only events with an object in each of the slots")


class Augmentation(Section):
    """Changes that keep the physics, drawn anew for each event of each training step."""

    rotate: bool = Field(False, description="turn events around the beam")
    reflect: bool = Field(False, description="mirror half of the events in η, half in φ")
    smear: bool = Field(False, description="smear objects by about the detector's resolution")


class EventConfig(FitConfig):
    """What trainings on event objects share."""

    products: ClassVar[tuple[str, ...]] = ("events",)
    parts: ClassVar[tuple[str, ...]] = ("embedding", "encoder", "head")

    model: ObjectTransformerConfig = ObjectTransformerConfig()
    data: EventDataConfig = EventDataConfig()
    augmentation: Augmentation = Augmentation()

    def check_vectorised(self) -> None:
        """Refuse what trainings of several seeds at once do not do.

        Raises
        ------
        UserError
            Naming the key and what would be right.
        """
        if self.optimizer.ema_decay is not None:
            raise UserError("an ensemble keeps no moving average: set optimizer.ema_decay to null")
        if self.run.precision != "32-true":
            raise UserError("an ensemble trains in 32 bits: set run.precision to 32-true")
        if self.optimizer.schedule.name == "plateau":
            raise UserError(
                "the members of an ensemble share a learning rate, which cannot follow each one's "
                "validations: choose another optimizer.schedule than plateau"
            )

    def check_dataset(self, columns: Collection[str], processes: Collection[str]) -> None:
        """Refuse a dataset that lacks a slot."""
        super().check_dataset(columns, processes)
        slots = sorted({name.removesuffix("_type") for name in columns if name.endswith("_type")})
        for slot in self.data.slots:
            if slot not in slots:
                raise UserError(
                    f"data.slots: {slot!r} is no object of the dataset; it has {', '.join(slots)}"
                )
