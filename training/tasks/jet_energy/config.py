"""The configuration of jet energy regression; imports no heavy package."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from training.config import DataConfig, FitConfig
from training.models.sizes import (
    DeepSetsConfig,
    JetTransformerConfig,
    ParticleNetConfig,
    Section,
)
from training.tasks.jet_energy.meanings import MEANINGS

# All features, in the order in which networks see them.
CHARGED_FEATURES = (
    "log_pt", "rel_pt", "log_rel_pt", "rel_eta", "rel_phi", "delta_r", "eta", "d0", "d0_sig", "dz",
    "dz_sig", "pt_error", "charge", "is_electron", "is_muon", "is_charged_hadron",
    "is_marked_as_pileup", "is_in_another_vertex", "is_far_from_first_vertex",
    "is_near_first_vertex", "is_in_first_vertex",
)  # fmt: skip
NEUTRAL_FEATURES = (
    "log_pt", "rel_pt", "log_rel_pt", "rel_eta", "rel_phi", "delta_r", "eta", "hcal_fraction",
    "puppi_weight", "measured_rel_pt", "log_measured_pt", "is_photon", "is_neutral_hadron",
)  # fmt: skip
VERTEX_FEATURES = (
    "log_pt", "rel_pt", "rel_eta", "rel_phi", "eta", "mass", "log_flight", "log_flight_sig",
    "log_flight_xy", "log_flight_xy_sig", "chi2_per_ndf", "n_tracks",
)  # fmt: skip
JET_FEATURES = (
    "pt", "log_pt", "eta", "cos_phi", "sin_phi", "log_mass", "area", "rho", "n_vertices",
    "multiplicity", "ptd", "axis2", "n_charged", "n_neutral", "n_secondary_vertices",
    "charged_fraction", "photon_fraction", "neutral_hadron_fraction", "muon_fraction",
    "leading_fraction", "secondary_vertex_fraction", "secondary_vertex_mass", "log_measured_rel_pt",
)  # fmt: skip
# A detector knows no preferred azimuth.
DEFAULT_JET_FEATURES = tuple(name for name in JET_FEATURES if not name.endswith("_phi"))

ChargedFeature = Literal[*CHARGED_FEATURES]  # type: ignore[valid-type]
NeutralFeature = Literal[*NEUTRAL_FEATURES]  # type: ignore[valid-type]
VertexFeature = Literal[*VERTEX_FEATURES]  # type: ignore[valid-type]
JetFeature = Literal[*JET_FEATURES]  # type: ignore[valid-type]


class DeepSetsModel(DeepSetsConfig):
    """Deep Sets (particle-flow network)."""

    name: Literal["deep_sets"] = "deep_sets"


class ParticleNetModel(ParticleNetConfig):
    """ParticleNet."""

    name: Literal["particle_net"]


class ParticleTransformerModel(JetTransformerConfig):
    """Particle Transformer."""

    name: Literal["particle_transformer"]


class Selection(Section):
    """Jets that are trained and measured on."""

    genjet_pt: tuple[float, float] = Field(
        (15.0, 7000.0), description="transverse momentum of the GEN-jet in GeV, an open interval"
    )
    eta_max: float = Field(5.0, gt=0, description="largest |η| of the jet")

    @model_validator(mode="after")
    def _interval_rises(self) -> Self:
        low, high = self.genjet_pt
        if low >= high:
            raise ValueError(f"an interval begins at {low:g} and ends at {high:g}")
        return self

    def __str__(self) -> str:
        return "{:g} < genjet_pt < {:g} and |jet_eta| <= {:g}".format(*self.genjet_pt, self.eta_max)


class EnergyDataConfig(DataConfig):
    """How jets are read; an empty list of features leaves a collection out."""

    selection: Selection = Selection()
    charged: tuple[ChargedFeature, ...] = Field(
        CHARGED_FEATURES, description="features of charged constituents"
    )
    neutral: tuple[NeutralFeature, ...] = Field(
        NEUTRAL_FEATURES, description="features of neutral constituents"
    )
    vertices: tuple[VertexFeature, ...] = Field(
        VERTEX_FEATURES, description="features of secondary vertices"
    )
    jet: tuple[JetFeature, ...] = Field(
        DEFAULT_JET_FEATURES, min_length=1, description="features of the jet"
    )

    shuffled_targets: bool = Field(
        False,
        description="a control: train each jet with the targets of another one of its batch, so "
        "that nothing can be learnt; what is then gained is a mistake of the evaluation",
    )

    @model_validator(mode="after")
    def _lists_have_no_padding(self) -> Self:
        if self.on_device:
            raise ValueError("constituents are not padded, which on_device needs: set it to false")
        if not (self.charged or self.neutral or self.vertices):
            raise ValueError("charged, neutral and vertices are all without features")
        return self


class HeadsConfig(Section):
    """What is learned besides the correction."""

    quantiles: bool = Field(
        False, description="also the quantiles 16, 50 and 84 % of log(pT_gen / pT): the resolution"
    )
    neutrinos: bool = Field(
        False, description="also the correction to the GEN-jet with its neutrinos"
    )
    mass: bool = Field(False, description="also log(m_gen / m), for wide jets")


class Config(FitConfig):
    """Regression of log(pT_gen / pT) of jets."""

    products: ClassVar[tuple[str, ...]] = ("energy",)
    parts: ClassVar[tuple[str, ...]] = ("encoder", "output")
    numbers: ClassVar[tuple[str, ...]] = (*MEANINGS, "bins_surely_beyond")

    task: Literal["jet_energy"] = "jet_energy"
    model: Annotated[
        DeepSetsModel | ParticleNetModel | ParticleTransformerModel, Field(discriminator="name")
    ] = DeepSetsModel()
    heads: HeadsConfig = HeadsConfig()
    offset: bool = Field(
        False,
        description="the standard correction, which evaluation compares with, begins with L1 "
        "(ρ · area): for CHS jets, which have pile-up in them; PUPPI jets have not",
    )
    data: EnergyDataConfig = EnergyDataConfig()
