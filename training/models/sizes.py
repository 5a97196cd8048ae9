"""The sizes of every architecture: typed and described; imports no heavy package."""

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A part of a configuration file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ParticleTransformerConfig(Section):
    """Sizes of the Particle Transformer; the defaults are Sophon's (arXiv:2405.12972)."""

    embedding: tuple[int, ...] = Field((128, 512, 128), description="widths of the input network")
    pair_embedding: tuple[int, ...] = Field((64, 64, 64), description="widths of the pair network")
    heads: int = Field(8, gt=0, description="attention heads; divides the last embedding width")
    blocks: int = Field(8, gt=0, description="particle-attention blocks")
    class_blocks: int = Field(2, gt=0, description="class-attention blocks")
    feedforward_ratio: int = Field(4, gt=0, description="hidden width of a block over its width")
    head: tuple[int, ...] = Field((512,), description="widths of the classifier before its output")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout in particle blocks and head")
    length_groups: int = Field(
        4, gt=0, description="groups of jets of similar length in a batch: speed, not results"
    )
