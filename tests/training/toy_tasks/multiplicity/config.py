"""The configuration."""

from typing import ClassVar, Literal

from pydantic import Field

from training.config import FitConfig


class Config(FitConfig):
    """Regression of ln(number of constituents)."""

    products: ClassVar[tuple[str, ...]] = ("jets",)
    parts: ClassVar[tuple[str, ...]] = ("network",)
    numbers: ClassVar[tuple[str, ...]] = ("bias", "spread")

    task: Literal["multiplicity"]
    width: int = Field(16, gt=0, description="of the hidden layer")
