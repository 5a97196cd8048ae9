"""Shards of a dataset: what the manifest lists, and row groups read into flat arrays."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from provenance.errors import UserError
from provenance.files import read_json
from training.config import Selection
from training.data.features import (
    COLUMNS,
    JET_FLOATS,
    LABEL,
    PARTICLE_CODES,
    PARTICLE_FLOATS,
    PREPARED,
    prepare,
)

# Footers are read at the start, many small reads at once.
FOOTER_READERS = 8


@dataclass(frozen=True)
class RowGroup:
    """A piece of a shard that is read in one go."""

    path: Path
    part: str
    index: int
    rows: int  # used of it
    constituents: int  # at most, in all its rows
    begin: int = 0  # the first row used
    label: str = LABEL  # column with the index of the class
    classes: int | None = None  # how many there are; None: any index is good


@dataclass(frozen=True)
class Jets:
    """Jets as flat arrays; constituents of jet i are `offsets[i]:offsets[i + 1]`."""

    offsets: np.ndarray  # (n_jets + 1,) int64
    floats: np.ndarray  # (13, n_particles) float32: PREPARED
    codes: np.ndarray  # (6, n_particles) int8: PARTICLE_CODES
    pt: np.ndarray  # (n_jets,) float32, GeV
    energy: np.ndarray  # (n_jets,) float32, GeV
    sdmass: np.ndarray  # (n_jets,) float32, GeV
    label: np.ndarray  # (n_jets,) int64

    def __len__(self) -> int:
        return len(self.label)


def list_shards(
    manifest: str | Path, split: str, labels: tuple[str, ...] | None
) -> list[tuple[Path, str]]:
    """Return (path, part) of a split's files, in the manifest's order.

    `labels` are what the manifest must have been written for; None: any.

    Raises
    ------
    UserError
        When the manifest lacks its keys, speaks of other labels, or the split is empty.
    """
    manifest = Path(manifest)
    content = read_json(manifest)
    try:
        files = [
            (manifest.parent / entry["path"], entry["part"])
            for entry in content["files"]
            if entry["split"] == split
        ]
        written_for = tuple(content["labels"])
    except (KeyError, TypeError):
        raise UserError(f"{manifest}: not a dataset manifest (`files`, `labels`)") from None
    if labels is not None and written_for != labels:
        raise UserError(
            f"{manifest}: its {len(written_for)} labels are not the {len(labels)} of this version"
        )
    if not files:
        raise UserError(f"{manifest}: lists no file of the split {split!r}")
    return files


def list_row_groups(
    shards: list[tuple[Path, str]], label: str = LABEL, classes: int | None = None
) -> list[RowGroup]:
    """Read the footers of shards and return their row groups in order.

    `label` is the column with the index of the class, of which there are `classes`; None: any index
    is good.

    Raises
    ------
    UserError
        When a file is missing, is not Parquet, or a column is missing or of the wrong kind.
    """
    with ThreadPoolExecutor(FOOTER_READERS) as pool:
        listed = pool.map(_row_groups, shards, repeat(label), repeat(classes))
        return [group for groups in listed for group in groups]


def thin(groups: list[RowGroup], jets: int, seed: int) -> list[RowGroup]:
    """Use so many jets only, evenly from all row groups: a random stretch of each.

    The rows of a shard are in random order, so that a stretch is a fair sample.
    """
    rows = np.array([group.rows for group in groups])
    if jets >= rows.sum():
        return groups
    kept = np.diff(np.round(np.cumsum(rows) * (jets / rows.sum())).astype(int), prepend=0)
    begins = np.random.default_rng(seed).integers(rows - kept, endpoint=True)
    return [
        replace(group, rows=int(number), begin=int(begin))
        for group, number, begin in zip(groups, kept, begins, strict=True)
        if number
    ]


def read_row_groups(groups: Iterable[RowGroup]) -> Jets:
    """Read row groups into one set of arrays, page checksums verified.

    Raises
    ------
    UserError
        When a page is damaged, a number is not finite, a label is no index of a class, or the
        columns of a jet differ in length; names the file.
    """
    groups = list(groups)
    jets = sum(group.rows for group in groups)
    room = sum(group.constituents for group in groups)
    offsets = np.zeros(jets + 1, np.int64)
    floats = np.empty((len(PREPARED), room), np.float32)
    codes = np.empty((len(PARTICLE_CODES), room), np.int8)
    scalars = np.empty((len(JET_FLOATS), jets), np.float32)
    label = np.empty(jets, np.int64)
    end = 0
    for group in groups:
        table = _read_table(group, (*COLUMNS, group.label))
        begin, end = end, end + group.rows
        lists = table[PARTICLE_FLOATS[0]].combine_chunks().offsets.to_numpy()
        offsets[begin + 1 : end + 1] = lists[1:] - lists[0] + offsets[begin]
        constituents = slice(offsets[begin], offsets[end])
        columns = _constituents(group, table)
        prepare(columns, floats[:, constituents])
        for name, row in zip(PARTICLE_CODES, codes[:, constituents], strict=True):
            row[:] = columns[name]
        for name, values in zip(JET_FLOATS, scalars[:, begin:end], strict=True):
            values[:] = _finite(group, name, table[name].to_numpy())
        label[begin:end] = table[group.label].to_numpy()
        _check_labels(group, label[begin:end])
    return Jets(offsets, floats, codes, *scalars, label)


def selected(jets: Jets, selection: Selection) -> np.ndarray:
    """Return which jets pass, (n_jets,) bool."""
    return passes(jets.pt, jets.sdmass, selection)


def passes(pt: np.ndarray, sdmass: np.ndarray, selection: Selection) -> np.ndarray:
    """Return which jets of these pT and soft-drop mass (GeV) pass."""
    return (
        (pt > selection.jet_pt[0])
        & (pt < selection.jet_pt[1])
        & (sdmass > selection.jet_sdmass[0])
        & (sdmass < selection.jet_sdmass[1])
    )


def read_jet_columns(group: RowGroup) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read pT, soft-drop mass (GeV) and label of a row group's jets, and nothing else.

    Raises
    ------
    UserError
        When a page is damaged or a label is no index of a class; names the file.
    """
    table = _read_table(group, ("jet_pt", "jet_sdmass", LABEL))
    pt, sdmass, label = (column.to_numpy() for column in table.columns)
    _check_labels(group, label)
    return pt, sdmass, label


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, page_checksum_verification=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such shard") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: not a readable Parquet file ({error})") from None


def _row_groups(shard: tuple[Path, str], label: str, classes: int | None) -> list[RowGroup]:
    path, part = shard
    with _open(path) as file:
        schema = file.schema_arrow
        for name in (*COLUMNS, label):
            if name not in schema.names:
                use = "has the classes" if name == label else "the features need"
                raise UserError(f"{path}: has no column {name}, which {use}")
            wanted, fits = _kind(name, label)
            if not fits(schema.field(name).type):
                found = schema.field(name).type
                raise UserError(f"{path}: column {name} is {found}, where {wanted} is expected")
        groups = (file.metadata.row_group(i) for i in range(file.metadata.num_row_groups))
        return [
            RowGroup(
                path,
                part,
                index,
                group.num_rows,
                _leaf(group, PARTICLE_FLOATS[0]).num_values,
                label=label,
                classes=classes,
            )
            for index, group in enumerate(groups)
        ]


def _leaf(group: pq.RowGroupMetaData, name: str) -> pq.ColumnChunkMetaData:
    """Return what a footer says of a column of lists."""
    leaves = (group.column(i) for i in range(group.num_columns))
    return next(leaf for leaf in leaves if leaf.path_in_schema.startswith(f"{name}."))


def _read_table(group: RowGroup, columns: tuple[str, ...]) -> pa.Table:
    with _open(group.path) as file:
        try:
            table = file.read_row_group(group.index, columns=list(columns), use_threads=False)
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(
                f"{group.path}: row group {group.index} cannot be read ({error})"
            ) from None
    return table.select(columns).slice(group.begin, group.rows)


def _kind(name: str, label: str) -> tuple[str, Callable[[pa.DataType], bool]]:
    """Return what a column must be, in words and as a test of its type."""
    if name == label:
        return "an integer per jet", lambda t: pa.types.is_integer(t) or pa.types.is_boolean(t)
    if name in JET_FLOATS:
        return "a number per jet", lambda t: pa.types.is_floating(t) or pa.types.is_integer(t)
    return "a list per jet", lambda t: pa.types.is_list(t) or pa.types.is_large_list(t)


def _constituents(group: RowGroup, table: pa.Table) -> dict[str, np.ndarray]:
    """Return the columns of all constituents of a row group, end to end."""
    columns: dict[str, np.ndarray] = {}
    for name in (*PARTICLE_FLOATS, *PARTICLE_CODES):
        values = table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        first = columns.setdefault(PARTICLE_FLOATS[0], values)
        if len(values) != len(first):
            raise UserError(
                f"{group.path}: {name} has {len(values)} constituents in row group {group.index}, "
                f"where {PARTICLE_FLOATS[0]} has {len(first)}"
            )
        columns[name] = _finite(group, name, values) if name in PARTICLE_FLOATS else values
    return columns


def _finite(group: RowGroup, name: str, values: np.ndarray) -> np.ndarray:
    # One such number spoils the sum, which is quicker than to look at each.
    with np.errstate(all="ignore"):
        suspicious = not np.isfinite(values.sum())
    if suspicious and not np.isfinite(values).all():
        raise UserError(
            f"{group.path}: column {name} holds NaN or infinity in row group {group.index}"
        )
    return values


def _check_labels(group: RowGroup, label: np.ndarray) -> None:
    if group.classes is None:
        return
    wrong = label[(label < 0) | (label >= group.classes)]
    if len(wrong):
        raise UserError(
            f"{group.path}: column {group.label} holds {wrong[0]}, where an index of the "
            f"{group.classes} classes is expected"
        )
