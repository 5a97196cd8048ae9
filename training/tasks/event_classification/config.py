"""The configuration of a classification of events; imports no heavy package."""

from collections.abc import Collection
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from provenance.errors import UserError
from training.events.config import EventConfig
from training.tasks.event_classification.meanings import MEANINGS

Processes = Annotated[tuple[str, ...], Field(min_length=1)]


class Config(EventConfig):
    """Which process an event is of; the defaults are of arXiv:2312.06909.

    With more than two classes it is a supervised pre-training.
    """

    numbers: ClassVar[tuple[str, ...]] = (*MEANINGS,)

    task: Literal["event_classification"]
    classes: dict[str, Processes] = Field(
        {"background": ("ttbar",), "signal": ("2hdm",)},
        min_length=2,
        description="processes of each class; events of others are left out. Of two classes the "
        "second one is the signal",
    )
    trees: bool = Field(
        False,
        description="evaluations also train boosted trees, on all events whose labels the training "
        "saw (those that it validated on included), and measure them on the same events",
    )

    def check_dataset(self, columns: Collection[str], processes: Collection[str]) -> None:
        """Refuse a dataset without the events of a class."""
        super().check_dataset(columns, processes)
        for name, own in self.classes.items():
            for process in own:
                if process not in processes:
                    raise UserError(
                        f"classes.{name}: the dataset has no {process!r}; it has "
                        f"{', '.join(sorted(processes))}"
                    )

    @model_validator(mode="after")
    def _no_process_twice(self) -> Self:
        owner: dict[str, str] = {}
        for name, processes in self.classes.items():
            for process in processes:
                if process in owner:
                    raise ValueError(f"classes {owner[process]} and {name} both hold {process}")
                owner[process] = name
        if self.trees and len(self.classes) > 2:
            raise ValueError("trees tell two classes, and there are more")
        return self
