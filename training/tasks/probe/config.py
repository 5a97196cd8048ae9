"""The configuration of classifying jets from an encoder's tokens; imports no heavy package."""

from typing import ClassVar, Literal

from pydantic import Field

from training.config import FitConfig
from training.jets.config import ConstituentDataConfig
from training.models.sizes import (
    ConstituentEncoderConfig,
    PatchEncoderConfig,
    Section,
    TokenClassifierConfig,
)
from training.tasks.probe.meanings import MEANINGS


class ProbeConfig(Section):
    """Sizes of an encoder and of what classifies by its tokens."""

    encoder: PatchEncoderConfig | ConstituentEncoderConfig = Field(
        PatchEncoderConfig(), discriminator="tokens", description="encoder of the jets"
    )
    classifier: TokenClassifierConfig = TokenClassifierConfig()


class ProbeDataConfig(ConstituentDataConfig):
    """How labelled jets are read."""

    label: str = Field("jet_label", description="column with the index of the label")
    shuffle_labels: bool = Field(
        False, description="deal out the labels of the training jets at random: a control"
    )


class Config(FitConfig):
    """Classification by the tokens of an encoder, pre-trained or not."""

    products: ClassVar[tuple[str, ...]] = ("jets", "top_jets", "quark_gluon_jets")
    parts: ClassVar[tuple[str, ...]] = ("head", "encoder")
    version: ClassVar[int] = 2
    numbers: ClassVar[tuple[str, ...]] = (*MEANINGS,)

    task: Literal["probe"] = "probe"
    model: ProbeConfig = ProbeConfig()
    data: ProbeDataConfig = ProbeDataConfig()
