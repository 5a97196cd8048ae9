"""Shards of a dataset: what the manifest lists, and row groups read into flat arrays."""

from collections.abc import Iterable
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
from training.data.features import COLUMNS, JET_FLOATS, LABEL, PARTICLE_CODES, PARTICLE_FLOATS

# Footers are read at the start, many small reads at once.
FOOTER_READERS = 8


@dataclass(frozen=True)
class RowGroup:
    """A piece of a shard that is read in one go."""

    path: Path
    part: str
    index: int
    rows: int  # used of it, from the first one on
    label: str = LABEL  # column with the index of the class


@dataclass(frozen=True)
class Jets:
    """Jets as flat arrays; constituents of jet i are `offsets[i]:offsets[i + 1]`."""

    offsets: np.ndarray  # (n_jets + 1,) int64
    floats: np.ndarray  # (10, n_particles) float32: PARTICLE_FLOATS
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


def list_row_groups(shards: list[tuple[Path, str]], label: str = LABEL) -> list[RowGroup]:
    """Read the footers of shards and return their row groups in order.

    `label` is the column with the index of the class.

    Raises
    ------
    UserError
        When a file is missing, is not Parquet or lacks a column.
    """
    with ThreadPoolExecutor(FOOTER_READERS) as pool:
        listed = pool.map(_row_groups, shards, repeat(label))
        return [group for groups in listed for group in groups]


def thin(groups: list[RowGroup], jets: int) -> list[RowGroup]:
    """Use only about so many jets, evenly from all row groups, whose rows are in random order."""
    share = jets / sum(group.rows for group in groups)
    return [replace(g, rows=max(1, round(g.rows * share))) for g in groups] if share < 1 else groups


def read_row_groups(groups: Iterable[RowGroup]) -> Jets:
    """Read row groups into one set of arrays, page checksums verified.

    Raises
    ------
    UserError
        When a page is damaged or a number is not finite; names the file.
    """
    pieces = [_read(group) for group in groups]
    counts = np.concatenate([np.diff(piece.offsets) for piece in pieces])
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return Jets(
        offsets,
        *(
            np.concatenate([getattr(piece, name) for piece in pieces], axis=-1)
            for name in ("floats", "codes", "pt", "energy", "sdmass", "label")
        ),
    )


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
        When a page is damaged; names the file.
    """
    table = _read_table(group, ("jet_pt", "jet_sdmass", LABEL))
    return tuple(column.to_numpy() for column in table.columns)


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, page_checksum_verification=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such shard") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: not a readable Parquet file ({error})") from None


def _row_groups(shard: tuple[Path, str], label: str) -> list[RowGroup]:
    path, part = shard
    with _open(path) as file:
        missing = [name for name in (*COLUMNS, label) if name not in file.schema_arrow.names]
        if missing:
            raise UserError(f"{path}: has no column {missing[0]}, which the features need")
        return [
            RowGroup(path, part, index, file.metadata.row_group(index).num_rows, label)
            for index in range(file.metadata.num_row_groups)
        ]


def _read_table(group: RowGroup, columns: tuple[str, ...]) -> pa.Table:
    with _open(group.path) as file:
        try:
            table = file.read_row_group(group.index, columns=list(columns), use_threads=False)
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(
                f"{group.path}: row group {group.index} cannot be read ({error})"
            ) from None
    return table.select(columns).slice(0, group.rows)


def _read(group: RowGroup) -> Jets:
    table = _read_table(group, (*COLUMNS, group.label))
    lists = table[PARTICLE_FLOATS[0]].combine_chunks()
    begin = lists.offsets.to_numpy().astype(np.int64)
    jets = Jets(
        begin - begin[0],
        _stack(table, PARTICLE_FLOATS, np.float32),
        _stack(table, PARTICLE_CODES, np.int8),
        *(table[name].to_numpy() for name in JET_FLOATS),
        table[group.label].to_numpy().astype(np.int64),
    )
    names = (*PARTICLE_FLOATS, *JET_FLOATS)
    for name, column in zip(names, (*jets.floats, jets.pt, jets.energy, jets.sdmass), strict=True):
        if not np.isfinite(column).all():
            raise UserError(
                f"{group.path}: column {name} holds NaN or infinity in row group {group.index}"
            )
    return jets


def _stack(table: pa.Table, names: tuple[str, ...], dtype: type) -> np.ndarray:
    columns = [table[name].combine_chunks().flatten() for name in names]
    stacked = np.empty((len(names), len(columns[0])), dtype)
    for row, column in zip(stacked, columns, strict=True):
        row[:] = column.to_numpy(zero_copy_only=False)
    return stacked
