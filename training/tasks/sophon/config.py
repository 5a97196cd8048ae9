"""The configuration of Sophon's training; imports no heavy package."""

from typing import ClassVar, Literal

from pydantic import Field

from training.config import FitConfig
from training.jets.config import JetDataConfig
from training.models.sizes import ParticleTransformerConfig
from training.tasks.sophon.meanings import MEANINGS


class Config(FitConfig):
    """Classification of jets by their constituents."""

    products: ClassVar[tuple[str, ...]] = ("jets",)
    parts: ClassVar[tuple[str, ...]] = ("encoder", "head")
    numbers: ClassVar[tuple[str, ...]] = (*MEANINGS,)

    task: Literal["sophon"] = "sophon"
    labels: tuple[str, ...] | None = Field(
        None,
        min_length=2,
        description="names of the classes in `data.label`, by index; null: the 188 labels",
    )
    model: ParticleTransformerConfig = ParticleTransformerConfig()
    data: JetDataConfig = JetDataConfig()

    @property
    def has_sampling_weights(self) -> bool:
        """Whether rows can be drawn flat: only the groups of the 188 labels are known."""
        return self.labels is None
