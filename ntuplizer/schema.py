"""The 54 columns of a jet file (contract 2): names, types, units and meaning, in order."""

from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True)
class Column:
    """One column: its name, the Arrow type of a value, unit and meaning.

    `per_particle` columns hold a list per jet, the others one value.
    """

    name: str
    value_type: pa.DataType
    unit: str
    meaning: str
    per_particle: bool

    @property
    def field(self) -> pa.Field:
        """The Arrow field: never null, neither the value nor the items of a list."""
        item = pa.field("item", self.value_type, nullable=False)
        return pa.field(
            self.name, pa.list_(item) if self.per_particle else self.value_type, nullable=False
        )


_FLOAT, _INT, _BOOL = pa.float32(), pa.int32(), pa.bool_()


def _lists(prefix: str, *columns: tuple[str, pa.DataType, str, str]) -> tuple[Column, ...]:
    return tuple(Column(prefix + name, *rest, per_particle=True) for name, *rest in columns)


def _scalars(prefix: str, *columns: tuple[str, pa.DataType, str, str]) -> tuple[Column, ...]:
    return tuple(Column(prefix + name, *rest, per_particle=False) for name, *rest in columns)


CONSTITUENT_COLUMNS = _lists(
    "part_",
    ("px", _FLOAT, "GeV", "x momentum of the jet constituent, constituents by falling pT"),
    ("py", _FLOAT, "GeV", "y momentum"),
    ("pz", _FLOAT, "GeV", "z momentum"),
    ("energy", _FLOAT, "GeV", "energy from (pT, η, φ, mass)"),
    ("deta", _FLOAT, "", "η minus the jet's η, times the sign of the jet's η (−1 at η ≤ 0)"),
    ("dphi", _FLOAT, "rad", "φ minus the jet's φ, wrapped into [−π, π)"),
    ("d0val", _FLOAT, "mm", "transverse impact parameter; 0 for neutrals"),
    ("d0err", _FLOAT, "mm", "its uncertainty; 0 for neutrals"),
    (
        "dzval",
        _FLOAT,
        "mm",
        "longitudinal impact parameter to the primary vertex; 0 for neutrals",
    ),
    ("dzerr", _FLOAT, "mm", "its uncertainty; 0 for neutrals"),
    ("charge", _INT, "e", "electric charge"),
    ("isElectron", _BOOL, "", "electron or positron"),
    ("isMuon", _BOOL, "", "muon or antimuon"),
    ("isPhoton", _BOOL, "", "photon: an ECAL energy deposit without a track"),
    ("isChargedHadron", _BOOL, "", "charged, neither electron nor muon"),
    ("isNeutralHadron", _BOOL, "", "neutral, not a photon: an HCAL deposit without a track"),
)
JET_COLUMNS = _scalars(
    "jet_",
    ("pt", _FLOAT, "GeV", "transverse momentum of the jet"),
    ("eta", _FLOAT, "", "pseudorapidity"),
    ("phi", _FLOAT, "rad", "azimuth in [−π, π]"),
    ("energy", _FLOAT, "GeV", "energy"),
    ("sdmass", _FLOAT, "GeV", "soft-drop mass (β = 0, z_cut = 0.1)"),
    ("nparticles", _INT, "", "number of constituents kept"),
    ("tau1", _FLOAT, "", "1-subjettiness (normalised measure, β = 1, one-pass kT axes)"),
    ("tau2", _FLOAT, "", "2-subjettiness"),
    ("tau3", _FLOAT, "", "3-subjettiness"),
    ("tau4", _FLOAT, "", "4-subjettiness"),
    ("label", _INT, "", "index of the jet's label, 0 to 187"),
)
GEN_CONSTITUENT_COLUMNS = _lists(
    "genpart_",
    ("px", _FLOAT, "GeV", "x momentum of the matched GEN-jet's constituent, by falling pT"),
    ("py", _FLOAT, "GeV", "y momentum"),
    ("pz", _FLOAT, "GeV", "z momentum"),
    ("energy", _FLOAT, "GeV", "energy from (pT, η, φ, mass)"),
    ("jet_deta", _FLOAT, "", "as part_deta, relative to the reconstructed jet"),
    ("jet_dphi", _FLOAT, "rad", "as part_dphi, relative to the reconstructed jet"),
    ("x", _FLOAT, "mm", "x of the production vertex; 0 at the primary vertex"),
    ("y", _FLOAT, "mm", "y of the production vertex; 0 at the primary vertex"),
    ("z", _FLOAT, "mm", "z of the production vertex minus the primary vertex's"),
    ("t", _FLOAT, "s", "time of production minus the primary vertex's"),
    ("pid", _INT, "", "PDG code"),
)
GEN_JET_COLUMNS = _scalars(
    "genjet_",
    ("pt", _FLOAT, "GeV", "transverse momentum of the matched GEN-jet; 0 without a match"),
    ("eta", _FLOAT, "", "pseudorapidity; 0 without a match"),
    ("phi", _FLOAT, "rad", "azimuth; 0 without a match"),
    ("energy", _FLOAT, "GeV", "energy; 0 without a match"),
    ("sdmass", _FLOAT, "GeV", "soft-drop mass; 0 without a match"),
    ("nparticles", _INT, "", "number of constituents kept; 0 without a match"),
)
TRUTH_COLUMNS = _lists(
    "aux_genpart_",
    ("pt", _FLOAT, "GeV", "transverse momentum of the generator particle behind the label"),
    ("eta", _FLOAT, "", "pseudorapidity"),
    ("phi", _FLOAT, "rad", "azimuth"),
    ("mass", _FLOAT, "GeV", "mass"),
    ("pid", _INT, "", "PDG code"),
    ("isResX", _BOOL, "", "the resonance X"),
    ("isResY", _BOOL, "", "one of the two Y of X → YY"),
    ("isResDecayProd", _BOOL, "", "direct decay product of X or Y"),
    ("isTauDecayProd", _BOOL, "", "decay product of a τ"),
    ("isQcdParton", _BOOL, "", "quark before hadronisation inside a QCD jet"),
)

COLUMNS: tuple[Column, ...] = (
    *CONSTITUENT_COLUMNS,
    *JET_COLUMNS,
    *GEN_CONSTITUENT_COLUMNS,
    *GEN_JET_COLUMNS,
    *TRUTH_COLUMNS,
)
JET_SCHEMA: pa.Schema = pa.schema([column.field for column in COLUMNS])
