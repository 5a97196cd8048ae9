"""The configuration of joint-embedding pre-training; imports no heavy package."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from training.config import FitConfig
from training.jets.config import ConstituentDataConfig
from training.models.sizes import (
    JointEmbeddingConfig,
    Section,
    SomeWidths,
    TokenMasksConfig,
    Width,
)
from training.tasks.joint_embedding.meanings import MEANINGS

Share = Annotated[float, Field(ge=0, le=1)]


class TeacherConfig(Section):
    """How slowly the teacher follows."""

    decay: tuple[Share, Share] = Field(
        (0.99, 1.0),
        description="share of itself that the teacher keeps in a step, at the first and the last; "
        "linear between them",
    )


class RegulariserConfig(Section):
    """A term against collapse, on what a projection makes of the visible tokens."""

    kind: Literal["none", "vicreg", "sigreg"] = Field(
        "none", description="variance and covariance (arXiv:2105.04906), or slices of a Gaussian"
    )
    of: Literal["jets", "tokens"] = Field(
        "jets", description="whether averages of each jet are to differ, or single tokens"
    )
    weight: float = Field(0.05, ge=0, description="of the term in the loss")
    projector: SomeWidths = Field((128, 64), description="widths of the projection")
    slices: Width = Field(256, description="of sigreg: random directions in a step")
    knots: int = Field(
        17, gt=1, le=1024, description="of sigreg: points of the characteristic function"
    )


class GroupDropout(Section):
    """How often the student is not told a group of features of a jet."""

    identity: float = Field(0.0, ge=0, lt=1, description="charge and kind of the constituents")
    displacement: float = Field(0.0, ge=0, lt=1, description="impact parameters and their errors")


class CollapseConfig(Section):
    """When a training has collapsed: what held-out jets must show, in evaluation mode."""

    prediction_std: float = Field(
        0.01, ge=0, description="least standard deviation of predictions, over tokens"
    )
    target_std: float = Field(
        0.1, ge=0, description="least standard deviation of targets, over tokens"
    )
    effective_rank: float = Field(
        1.5, ge=1, description="least effective rank of the jets' embeddings in a batch"
    )
    validations: int = Field(
        2,
        gt=0,
        le=1_000_000,
        description="successive validations below one of these that end the training",
    )


class Config(FitConfig):
    """Prediction of what a slow teacher makes of hidden tokens."""

    products: ClassVar[tuple[str, ...]] = ("jets", "top_jets", "quark_gluon_jets")
    parts: ClassVar[tuple[str, ...]] = ("predictor", "encoder", "teacher")
    version: ClassVar[int] = 3
    numbers: ClassVar[tuple[str, ...]] = (*MEANINGS,)

    task: Literal["joint_embedding"] = "joint_embedding"
    model: JointEmbeddingConfig = JointEmbeddingConfig()
    masks: TokenMasksConfig = TokenMasksConfig()
    teacher: TeacherConfig = TeacherConfig()
    beta: float = Field(1.0, gt=0, description="where the smooth L1 loss becomes linear")
    regulariser: RegulariserConfig = RegulariserConfig()
    masked_features: float = Field(
        0.0,
        ge=0,
        description="weight of predicting of hidden tokens their features, shares of momentum and "
        "sizes as well",
    )
    jet_shape: float = Field(
        0.0,
        ge=0,
        description="weight of predicting from the average of tokens what the whole jet is like: "
        "mass, width, number of constituents, shares of momentum by kind",
    )
    jet_shape_from: Literal["visible", "all"] = Field(
        "visible",
        description="tokens whose average tells it: those of the context, or all of the jet, which "
        "the student then encodes as well",
    )
    group_dropout: GroupDropout = GroupDropout()
    collapse: CollapseConfig = CollapseConfig()
    data: ConstituentDataConfig = ConstituentDataConfig()
