"""Columns of tables: names, types, units and meaning; each product lists its own.

Nothing heavy is imported before a schema or a table is made: the columns are known without.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pyarrow as pa

ValueType = Literal["float32", "int32", "int64", "bool", "string"]
# Name without its prefix, type, unit, meaning.
Row = tuple[str, ValueType, str, str]


@dataclass(frozen=True)
class Column:
    """One column: its name, the type of a value, unit and meaning.

    `per_particle` columns hold a list per row, the others one value.
    """

    name: str
    value_type: ValueType
    unit: str
    meaning: str
    per_particle: bool = False

    @property
    def field(self) -> "pa.Field":
        """The Arrow field: never null, neither the value nor the items of a list."""
        import pyarrow as pa

        kind = pa.type_for_alias(self.value_type)
        if self.per_particle:
            kind = pa.list_(pa.field("item", kind, nullable=False))
        return pa.field(self.name, kind, nullable=False)


def lists(prefix: str, *rows: Row) -> tuple[Column, ...]:
    """Return columns that hold a list per row, their names behind a prefix."""
    return tuple(
        Column(prefix + name, kind, unit, meaning, per_particle=True)
        for name, kind, unit, meaning in rows
    )


def scalars(prefix: str, *rows: Row) -> tuple[Column, ...]:
    """Return columns that hold one value per row, their names behind a prefix."""
    return tuple(Column(prefix + name, kind, unit, meaning) for name, kind, unit, meaning in rows)


# What names a simulated event for good (`ntuplizer.batch.EventBatch.identity`).
EVENT_IDENTITY = scalars(
    "",
    ("process", "string", "", "process that the event was simulated for"),
    ("batch", "int64", "", "number of the batch of events; −1 for a file without its ledger"),
    ("event", "int64", "", "number of the event in its batch, from 0; in its file without ledger"),
)

CONSTITUENTS = lists(
    "part_",
    ("px", "float32", "GeV", "x momentum of the jet constituent, constituents by falling pT"),
    ("py", "float32", "GeV", "y momentum"),
    ("pz", "float32", "GeV", "z momentum"),
    ("energy", "float32", "GeV", "energy from (pT, η, φ, mass)"),
    ("deta", "float32", "", "η minus the jet's η, times the sign of the jet's η (−1 at η ≤ 0)"),
    ("dphi", "float32", "rad", "φ minus the jet's φ, wrapped into [−π, π)"),
    ("d0val", "float32", "mm", "transverse impact parameter; 0 for neutrals"),
    ("d0err", "float32", "mm", "its uncertainty; 0 for neutrals"),
    (
        "dzval",
        "float32",
        "mm",
        "longitudinal impact parameter to the primary vertex; 0 for neutrals",
    ),
    ("dzerr", "float32", "mm", "its uncertainty; 0 for neutrals"),
    ("charge", "int32", "e", "electric charge"),
    ("isElectron", "bool", "", "electron or positron"),
    ("isMuon", "bool", "", "muon or antimuon"),
    ("isPhoton", "bool", "", "photon: an ECAL energy deposit without a track"),
    ("isChargedHadron", "bool", "", "charged, neither electron nor muon"),
    ("isNeutralHadron", "bool", "", "neutral, not a photon: an HCAL deposit without a track"),
)


def constituents(prefix: str, names: Iterable[str]) -> tuple[Column, ...]:
    """Return some of `CONSTITUENTS` under another prefix, in the order of `names`."""
    chosen = {column.name.removeprefix("part_"): column for column in CONSTITUENTS}
    return tuple(replace(chosen[name], name=prefix + name) for name in names)


def arrow_schema(columns: Iterable[Column]) -> "pa.Schema":
    """Return the Arrow schema of some columns."""
    import pyarrow as pa

    return pa.schema([column.field for column in columns])


def describe(column: Column) -> str:
    """Return a row of the data dictionary (`docs/columns.md`) for a column."""
    kind = f"list of {column.value_type}" if column.per_particle else column.value_type
    return f"| `{column.name}` | {kind} | {column.unit} | {column.meaning} |"


def tabulate(columns: Mapping[str, Any], schema: "pa.Schema") -> "pa.Table":
    """Build a table from arrays.

    Parameters
    ----------
    columns
        Column name → array, or (offsets, values) for a list column; numbers of any type.
    schema
        Order, types and nullability of the result.
    """
    import numpy as np
    import pyarrow as pa

    def array(values: np.ndarray, kind: pa.DataType) -> pa.Array:
        return pa.array(np.asarray(values).astype(kind.to_pandas_dtype()), kind)

    arrays = []
    for column in schema:
        values = columns[column.name]
        if pa.types.is_list(column.type):
            offsets, items = values
            arrays.append(
                pa.ListArray.from_arrays(
                    pa.array(offsets, pa.int32()),
                    array(items, column.type.value_type),
                    type=column.type,
                )
            )
        else:
            arrays.append(array(values, column.type))
    return pa.Table.from_arrays(arrays, schema=schema)
