"""The sizes of every architecture: typed and described; imports no heavy package."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

# Far above any network for jets: beyond them is a slip, or a file that means to fill the memory.
Width = Annotated[int, Field(gt=0, le=16_384)]
Widths = Annotated[tuple[Width, ...], Field(max_length=32)]
SomeWidths = Annotated[tuple[Width, ...], Field(min_length=1, max_length=32)]
Blocks = Annotated[int, Field(gt=0, le=256)]
Heads = Annotated[int, Field(gt=0, le=256)]
Ratio = Annotated[int, Field(gt=0, le=64)]
Groups = Annotated[int, Field(gt=0, le=1024)]
Count = Annotated[int, Field(gt=0, le=10_000)]


class Section(BaseModel):
    """A part of a configuration file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _divided(heads: int, width: int, what: str) -> None:
    if width % heads:
        raise ValueError(f"heads = {heads} must divide {what}, which is {width}")


class TransformerTrunkConfig(Section):
    """Sizes of the Particle Transformer below its head; the defaults are Sophon's."""

    embedding: SomeWidths = Field((128, 512, 128), description="widths of the input network")
    pair_embedding: SomeWidths = Field((64, 64, 64), description="widths of the pair network")
    heads: Heads = Field(8, description="attention heads; divides the last embedding width")
    blocks: Blocks = Field(8, description="particle-attention blocks")
    class_blocks: Blocks = Field(2, description="class-attention blocks")
    feedforward_ratio: Ratio = Field(4, description="hidden width of a block over its width")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout in particle blocks and head")
    length_groups: Groups = Field(
        4, description="groups of jets of similar length in a batch: speed, not results"
    )

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        _divided(self.heads, self.embedding[-1], "the last width of embedding")
        return self


class ParticleTransformerConfig(TransformerTrunkConfig):
    """Sizes of the Particle Transformer; the defaults are Sophon's (arXiv:2405.12972)."""

    head: Widths = Field((512,), description="widths of the classifier before its output")


Activation = Literal["relu", "leaky_relu", "elu", "gelu", "silu", "tanh"]
Initialiser = Literal["he_normal", "he_uniform", "glorot_normal", "glorot_uniform"]


class LayerSizes(Section):
    """Widths of successive dense layers."""

    units: SomeWidths = Field(description="widths of the layers")
    batch_norm: bool = Field(True, description="normalise over the batch before each activation")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout after each activation")


class DeepSetsConfig(Section):
    """Sizes of Deep Sets for jet energies; the defaults are those of `deinal/jec-gnn`."""

    blocks: Literal["mlp", "resnet"] = Field(
        "mlp", description="plain layers, or pairs of them with a projected shortcut"
    )
    activation: Activation = Field("relu", description="activation of all layers")
    initialiser: Initialiser = Field("he_normal", description="how weights begin")
    pooling: Literal["sum", "average", "max", "momentum"] = Field(
        "sum",
        description="how a jet's constituents become one vector; momentum: as a sum in which each "
        "counts with its pT over the jet's, before weights of PUPPI",
    )
    charged: LayerSizes = Field(
        LayerSizes(units=(64, 128, 256)), description="layers for charged constituents"
    )
    neutral: LayerSizes = Field(
        LayerSizes(units=(64, 128, 256)), description="layers for neutral constituents"
    )
    vertices: LayerSizes = Field(
        LayerSizes(units=(32, 64, 128)), description="layers for secondary vertices"
    )
    head: LayerSizes = Field(
        LayerSizes(units=(1024, 512, 256, 128, 64)), description="layers for the whole jet"
    )

    @classmethod
    def lite(cls) -> Self:
        """Return the sizes that were published as lite."""
        return cls(
            charged=LayerSizes(units=(16, 32, 64)),
            neutral=LayerSizes(units=(16, 32, 64)),
            vertices=LayerSizes(units=(8, 16, 32)),
            head=LayerSizes(units=(128, 64, 32, 16, 8)),
        )


class GraphSizes(Section):
    """Sizes of the graph network of one collection."""

    neighbours: Count = Field(description="nearest others that a constituent sees, K")
    channels: tuple[SomeWidths, ...] = Field(
        min_length=1, max_length=32, description="widths of the edge network, block by block"
    )
    points: Count = Field(description="leading constituents kept per jet")


class ParticleNetConfig(Section):
    """Sizes of ParticleNet for jet energies; the defaults are those of `deinal/jec-gnn`."""

    activation: Activation = Field("relu", description="activation of all layers")
    initialiser: Initialiser = Field("he_normal", description="how weights begin")
    batch_norm: bool = Field(True, description="normalise the edge networks over the batch")
    shortcut: bool = Field(True, description="add a projection of a block's input to its output")
    pooling: Literal["average", "max"] = Field(
        "average", description="how the edges of a constituent become one vector"
    )
    readout: Literal["average", "momentum"] = Field(
        "average",
        description="how the constituents of a jet become one vector; momentum: as a sum in which "
        "each counts with its pT over the jet's, before weights of PUPPI",
    )
    dynamic: bool = Field(
        True, description="later blocks find neighbours among features; false: always in (η, φ)"
    )
    charged: GraphSizes = Field(
        GraphSizes(neighbours=16, channels=((64,) * 3, (128,) * 3, (256,) * 3), points=64),
        description="graph of the charged constituents",
    )
    neutral: GraphSizes = Field(
        GraphSizes(neighbours=16, channels=((64,) * 3, (128,) * 3, (256,) * 3), points=64),
        description="graph of the neutral constituents",
    )
    vertices: GraphSizes = Field(
        GraphSizes(neighbours=8, channels=((32,) * 3, (64,) * 3, (128,) * 3), points=16),
        description="graph of the secondary vertices",
    )
    together: GraphSizes | None = Field(
        None,
        description="one graph of charged and neutral constituents and secondary vertices, in the "
        "place of one for each: what a calorimeter saw is known better beside the tracks",
    )
    head: LayerSizes = Field(
        LayerSizes(units=(512, 256, 128, 64)), description="layers for the whole jet"
    )

    @classmethod
    def lite(cls) -> Self:
        """Return the sizes that were published as lite."""
        particles = GraphSizes(neighbours=16, channels=((16,) * 2, (32,) * 2, (48,) * 2), points=64)
        return cls(
            charged=particles,
            neutral=particles,
            vertices=GraphSizes(neighbours=8, channels=((8,) * 2, (16,) * 2, (24,) * 2), points=16),
            head=LayerSizes(units=(64, 32, 16, 8)),
        )


class JetTransformerConfig(TransformerTrunkConfig):
    """Sizes of the Particle Transformer for jet energies."""

    embedding: SomeWidths = Field((128, 128), description="widths of the input network")
    blocks: Blocks = Field(4, description="particle-attention blocks")
    class_blocks: Blocks = Field(1, description="class-attention blocks")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout in particle blocks")
    activation: Activation = Field("relu", description="activation of the head")
    initialiser: Initialiser = Field("he_normal", description="how weights of the head begin")
    points: Count = Field(128, description="leading constituents kept per jet and collection")
    head: LayerSizes = Field(
        LayerSizes(units=(256, 128, 64)), description="layers for the whole jet"
    )

    def trunk(self) -> ParticleTransformerConfig:
        """Return the sizes of what is below the head."""
        names = TransformerTrunkConfig.model_fields
        return ParticleTransformerConfig(**{name: getattr(self, name) for name in names}, head=())


class ObjectTransformerConfig(Section):
    """Sizes of the transformer over an event's objects; the defaults are of arXiv:2312.06909."""

    width: Width = Field(64, description="width of an object's token")
    heads: Heads = Field(4, description="attention heads; divides the width")
    blocks: Blocks = Field(6, description="encoder layers")
    feedforward: Width = Field(2048, description="hidden width of an encoder layer")
    dropout: float = Field(0.03, ge=0, lt=1, description="dropout in the encoder layers")
    masked: bool = Field(
        False, description="attend to and average real objects only; false: all slots, as published"
    )

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        _divided(self.heads, self.width, "width")
        return self


class JetEncoderConfig(Section):
    """Sizes that encoders of jets for joint-embedding pre-training share."""

    width: Width = Field(128, description="width of a token")
    heads: Heads = Field(8, description="attention heads; divides the width")
    blocks: Blocks = Field(description="attention blocks")
    feedforward_ratio: Ratio = Field(4, description="hidden width of a block over its width")
    registers: int = Field(ge=0, le=1024, description="learned tokens that join each jet")
    embedding: SomeWidths = Field(description="widths of the network of a constituent")
    pair_bias: SomeWidths = Field((64, 64), description="widths of the pair network")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout in the blocks")
    length_groups: Groups = Field(
        4, description="groups of jets of similar length in a batch: speed, not results"
    )

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        _divided(self.heads, self.width, "width")
        return self


class PatchEncoderConfig(JetEncoderConfig):
    """Tokens are patches of neighbouring constituents; as HEP-JEPA (arXiv:2502.03933)."""

    tokens: Literal["patches"] = Field("patches", description="what a token stands for")
    patches: Count = Field(16, description="most patches of a jet")
    blocks: Blocks = Field(12, description="attention blocks")
    registers: int = Field(8, ge=0, le=1024, description="learned tokens that join each jet")
    embedding: SomeWidths = Field((64, 128), description="widths of the point network")


class ConstituentEncoderConfig(JetEncoderConfig):
    """Tokens are constituents, in the blocks of Sophon."""

    tokens: Literal["constituents"] = Field("constituents", description="what a token stands for")
    blocks: Blocks = Field(8, description="attention blocks")
    registers: int = Field(0, ge=0, le=1024, description="learned tokens that join each jet")
    embedding: SomeWidths = Field((128, 512), description="widths of the input network")


class PredictorConfig(Section):
    """Sizes of the network that predicts the tokens that were hidden."""

    width: Width = Field(64, description="width of a token")
    heads: Heads = Field(4, description="attention heads; divides the width")
    blocks: Blocks = Field(4, description="attention blocks")
    feedforward_ratio: Ratio = Field(4, description="hidden width of a block over its width")

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        _divided(self.heads, self.width, "width")
        return self


class JointEmbeddingConfig(Section):
    """Sizes of encoder and predictor."""

    encoder: PatchEncoderConfig | ConstituentEncoderConfig = Field(
        PatchEncoderConfig(), discriminator="tokens", description="encoder of student and teacher"
    )
    predictor: PredictorConfig | None = Field(
        PredictorConfig(),
        description="null: the average of the visible tokens is the prediction, which collapses",
    )
    target_layers: int = Field(
        1,
        gt=0,
        description="last blocks of the teacher whose mean is predicted; 1: what the encoder makes",
    )

    @model_validator(mode="after")
    def _blocks_are_there(self) -> Self:
        if self.target_layers > self.encoder.blocks:
            raise ValueError(
                f"target_layers is {self.target_layers}, but the encoder has "
                f"{self.encoder.blocks} blocks"
            )
        return self


class TokenClassifierConfig(Section):
    """Sizes of what classifies jets by the tokens of an encoder."""

    class_blocks: int = Field(
        2, ge=0, le=256, description="class-attention blocks; 0 averages the tokens: a linear probe"
    )
    head: Widths = Field((), description="widths before the output")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout before the output")
    standardise: bool = Field(
        False,
        description="what the head sees has mean 0 and variance 1 over the jets, in the place of "
        "a norm over its numbers: for a linear probe",
    )


def _rises(interval: tuple[float, float]) -> tuple[float, float]:
    low, high = interval
    if low > high:
        raise ValueError(f"an interval begins at {low:g} and ends at {high:g}")
    return interval


Ratios = Annotated[
    tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)]],
    AfterValidator(_rises),
]


class TokenMasksConfig(Section):
    """Which tokens of a jet are hidden and which are seen."""

    kind: Literal["contiguous", "random"] = Field(
        "contiguous", description="neighbours in (η, φ), or any tokens"
    )
    targets: Groups = Field(4, description="sets of tokens to predict")
    target_ratio: Ratios = Field((0.15, 0.2), description="share of tokens in a target")
    context_ratio: Ratios = Field(
        (0.4, 0.75), description="share of tokens in the context, before the targets leave it"
    )
