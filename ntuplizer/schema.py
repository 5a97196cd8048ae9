"""The columns of the files: names, types, units and meaning, in order.

A jet file (contract 2) has the 54 columns of the published JetClass-II. Event-object files
(contract 3) and files of jets for energy regression have schemas of their own.
"""

from dataclasses import dataclass, replace

import numpy as np
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


_Row = tuple[str, pa.DataType, str, str]


def _lists(prefix: str, *rows: _Row) -> tuple[Column, ...]:
    return tuple(
        Column(prefix + name, kind, unit, meaning, per_particle=True)
        for name, kind, unit, meaning in rows
    )


def _scalars(prefix: str, *rows: _Row) -> tuple[Column, ...]:
    return tuple(
        Column(prefix + name, kind, unit, meaning, per_particle=False)
        for name, kind, unit, meaning in rows
    )


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

# Added to a jet file on request, for energy regression.
FLAVOUR_COLUMN = Column(
    "jet_flavour",
    _INT,
    "",
    "PDG code of the heaviest parton within ΔR ≤ 0.5: 5, 4, 3, 2, 1, else 21; 0 without partons",
    per_particle=False,
)
FLAVOUR_FIELD: pa.Field = FLAVOUR_COLUMN.field

# The objects of an event, each in a slot of its own, and the number that tells its type.
EVENT_SLOTS = {
    "lepton": (1, "leading electron or muon"),
    "met": (4, "missing transverse momentum"),
    "bjet1": (2, "leading b-tagged jet"),
    "bjet2": (2, "second b-tagged jet"),
    "jet1": (3, "leading jet without b-tag"),
    "jet2": (3, "second jet without b-tag"),
}
_SLOT_COLUMNS = (
    ("pt", _FLOAT, "GeV", "transverse momentum of the {}"),
    ("eta", _FLOAT, "", "pseudorapidity of the {}"),
    ("phi", _FLOAT, "rad", "azimuth of the {}"),
    ("mass", _FLOAT, "GeV", "mass of the {}"),
    ("type", _INT, "", "always {1}: type of the {0}"),
)
EVENT_COLUMNS: tuple[Column, ...] = tuple(
    Column(f"{slot}_{name}", kind, unit, meaning.format(words, code), per_particle=False)
    for slot, (code, words) in EVENT_SLOTS.items()
    for name, kind, unit, meaning in _SLOT_COLUMNS
)
EVENT_SCHEMA: pa.Schema = pa.schema([column.field for column in EVENT_COLUMNS])

_CHARGED_ONLY = ("isElectron", "isMuon", "isChargedHadron")
_NEUTRAL_ONLY = ("isPhoton", "isNeutralHadron")
_KINEMATICS = ("px", "py", "pz", "energy", "deta", "dphi")
_TRACK = ("d0val", "d0err", "dzval", "dzerr", "charge")


def _some_constituents(prefix: str, names: tuple[str, ...]) -> tuple[Column, ...]:
    chosen = {column.name.removeprefix("part_"): column for column in CONSTITUENT_COLUMNS}
    return tuple(replace(chosen[name], name=prefix + name) for name in names)


REGRESSION_COLUMNS: tuple[Column, ...] = (
    *_scalars(
        "jet_",
        ("pt", _FLOAT, "GeV", "transverse momentum of the jet, as clustered"),
        ("eta", _FLOAT, "", "pseudorapidity"),
        ("phi", _FLOAT, "rad", "azimuth in [−π, π]"),
        ("mass", _FLOAT, "GeV", "mass"),
        ("energy", _FLOAT, "GeV", "energy"),
    ),
    FLAVOUR_COLUMN,
    *_scalars(
        "event_",
        (
            "rho",
            _FLOAT,
            "GeV",
            "pT density of the event in the jet's region of η; 0 when the file has none",
        ),
        ("nvertices", _INT, "", "interactions of the event, the hard one included"),
    ),
    *_some_constituents("charged_", (*_KINEMATICS, *_TRACK, *_CHARGED_ONLY)),
    *_some_constituents("neutral_", (*_KINEMATICS, *_NEUTRAL_ONLY)),
    *_scalars(
        "genjet_",
        ("pt", _FLOAT, "GeV", "transverse momentum of the matched GEN-jet: the target"),
        ("eta", _FLOAT, "", "pseudorapidity of the GEN-jet"),
        ("phi", _FLOAT, "rad", "azimuth of the GEN-jet"),
        ("mass", _FLOAT, "GeV", "mass of the GEN-jet"),
        ("energy", _FLOAT, "GeV", "energy of the GEN-jet"),
    ),
)
REGRESSION_SCHEMA: pa.Schema = pa.schema([column.field for column in REGRESSION_COLUMNS])


def describe(column: Column) -> str:
    """Return a row of the data dictionary (`docs/columns.md`) for a column."""
    kind = np.dtype(column.value_type.to_pandas_dtype()).name
    kind = f"list of {kind}" if column.per_particle else kind
    return f"| `{column.name}` | {kind} | {column.unit} | {column.meaning} |"


def tabulate(columns: dict, schema: pa.Schema) -> pa.Table:
    """Build a table from arrays.

    Parameters
    ----------
    columns
        Column name → array, or (offsets, values) for a list column; numbers of any type.
    schema
        Order, types and nullability of the result.
    """
    arrays = []
    for column in schema:
        values = columns[column.name]
        if pa.types.is_list(column.type):
            offsets, items = values
            numpy_type = column.type.value_type.to_pandas_dtype()
            arrays.append(
                pa.ListArray.from_arrays(
                    pa.array(offsets, pa.int32()),
                    pa.array(np.asarray(items).astype(numpy_type)),
                    type=column.type,
                )
            )
        else:
            arrays.append(pa.array(np.asarray(values).astype(column.type.to_pandas_dtype())))
    return pa.Table.from_arrays(arrays, schema=schema)
