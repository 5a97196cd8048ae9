"""Shards of a dataset: what the manifest lists, and row groups read into columns."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ntuplizer.manifest import DIGEST
from provenance.errors import UserError
from provenance.files import read_json, sha256
from provenance.ledger import warn_unchecked
from provenance.seal import check_seal
from training.config import FitConfig
from training.data.reader import Kind, Reader, RowGroup
from training.data.values import check_values, row_of

AnyReader = Reader[Any]

# Footers are read at the start, many small reads at once.
FOOTER_READERS = 8
# What a column of a kind must be, in words and as a test of its type.
KINDS: dict[Kind, tuple[str, Callable[[pa.DataType], bool]]] = {
    "integer": (
        "an integer per row",
        lambda found: pa.types.is_integer(found) or pa.types.is_boolean(found),
    ),
    "number": (
        "a number per row",
        lambda found: pa.types.is_floating(found) or pa.types.is_integer(found),
    ),
    "text": (
        "a text per row",
        lambda found: pa.types.is_string(found) or pa.types.is_large_string(found),
    ),
    "list": (
        "a list per row",
        lambda found: pa.types.is_list(found) or pa.types.is_large_list(found),
    ),
}


@dataclass(frozen=True)
class Dataset:
    """What a manifest says."""

    manifest: Path
    sha256: str  # of the dataset: what a checkpoint names
    product: str
    labels: tuple[str, ...] | None
    files: tuple[tuple[str, Path, str], ...]  # split, path, part; in the manifest's order

    def shards(self, split: str) -> list[tuple[Path, str]]:
        """Return (path, part) of a split's files.

        Raises
        ------
        UserError
            When there is none.
        """
        shards = [(path, part) for name, path, part in self.files if name == split]
        if not shards:
            raise UserError(f"{self.manifest}: lists no file of the split {split!r}")
        return shards


def read_dataset(manifest: str | Path) -> Dataset:
    """Read a manifest.

    One that was written by hand need not name `dataset_sha256`; its own checksum serves. Where it
    holds no digest of itself, a line on stderr says, once, that it is used unchecked.

    Raises
    ------
    UserError
        When it is missing, was changed since it was written, or lacks its keys.
    """
    manifest = Path(manifest)
    content = read_json(manifest)
    if DIGEST in content:
        check_seal(manifest, content, DIGEST)
    else:
        warn_unchecked(manifest, f"it holds no {DIGEST}")
    try:
        labels = content.get("labels")
        return Dataset(
            manifest,
            str(content.get("dataset_sha256") or sha256(manifest)),
            str(content["product"]),
            None if labels is None else tuple(labels),
            tuple(
                (entry["split"], manifest.parent / entry["path"], entry["part"])
                for entry in content["files"]
            ),
        )
    except (AttributeError, KeyError, TypeError):
        raise UserError(f"{manifest}: not a dataset manifest (`files`, `product`)") from None


def open_dataset(manifest: str | Path, config: FitConfig, reader: AnyReader) -> Dataset:
    """Read the manifest of a dataset that a task can read.

    Raises
    ------
    UserError
        When it is none, or is of a product or labels that the task cannot read.
    """
    dataset = read_dataset(manifest)
    if dataset.product not in config.products:
        raise UserError(
            f"{manifest}: holds the product {dataset.product!r}, and the task {config.task} reads "
            f"{' or '.join(config.products)}"
        )
    wanted, found = reader.dataset_labels, dataset.labels
    if wanted is not None and found != wanted:
        raise UserError(
            f"{manifest}: its {len(found or ())} labels are not the {len(wanted)} of this version"
        )
    return dataset


def training_rows(dataset: Dataset, reader: AnyReader, config: FitConfig) -> list[RowGroup]:
    """Return the row groups that a training trains on, `data.train_rows` of them or all.

    Raises
    ------
    UserError
        When a shard cannot be used.
    """
    groups = list_row_groups(dataset.shards("train"), reader)
    if config.data.train_rows is None:
        return groups
    return draw_subset(groups, reader, config.data.train_rows, config.seed)


def validation_rows(dataset: Dataset, reader: AnyReader, config: FitConfig) -> list[RowGroup]:
    """Return the row groups that a training validates on, the parts interleaved.

    With `data.validation_share` so many rows as this share of `data.train_rows`; all otherwise.

    Raises
    ------
    UserError
        When a shard cannot be used.
    """
    groups = list_row_groups(dataset.shards("val"), reader)
    share, rows = config.data.validation_share, config.data.train_rows
    if share is not None and rows is not None:
        groups = draw_subset(groups, reader, max(round(share * rows), 1), config.seed)
    # A validation that stops early has seen all parts alike.
    return interleave(groups, np.random.default_rng(config.seed))


def list_row_groups(
    shards: Iterable[tuple[Path, str]], reader: AnyReader, truth: bool = True
) -> list[RowGroup]:
    """Read the footers of shards and return their row groups in order.

    Raises
    ------
    UserError
        When a file is missing, is not Parquet, or a column of the reader is missing or of the wrong
        kind; the truth is not asked for where `truth` is false.
    """
    with ThreadPoolExecutor(FOOTER_READERS) as pool:
        listed = pool.map(_row_groups, shards, repeat(reader), repeat(truth))
        return [group for groups in listed for group in groups]


def read_table(group: RowGroup, columns: Iterable[str]) -> pa.Table:
    """Read columns of the used rows of a row group, page checksums verified.

    Raises
    ------
    UserError
        When a page is damaged, or a value cannot be (`check_values`); names the file.
    """
    columns = list(columns)
    with open_shard(group.path) as file:
        try:
            table = file.read_row_group(group.index, columns=columns, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise UserError(
                f"{group.path}: row group {group.index} cannot be read ({error})"
            ) from None
    table = table.select(columns)
    check_values(group, table)
    return table if group.kept is None else table.take(pa.array(group.kept))


def read_scalars(group: RowGroup, reader: AnyReader) -> dict[str, np.ndarray]:
    """Read the reader's scalars of a row group, and nothing else: (n,) each.

    Raises
    ------
    UserError
        When a page is damaged or a number cannot be; names the file.
    """
    table = read_table(group, reader.scalars)
    scalars = {name: table[name].to_numpy() for name in reader.scalars}
    reader.check(group, scalars)
    return scalars


def check_index(group: RowGroup, name: str, values: np.ndarray, count: int, noun: str) -> None:
    """Refuse a column, (n,), that does not hold indices of so many things.

    Raises
    ------
    UserError
        Naming file, column, row and value of the first that is wrong.
    """
    wrong = np.flatnonzero((values < 0) | (values >= count))
    if len(wrong):
        raise UserError(
            f"{group.path}: column {name} holds {values[wrong[0]]} in row "
            f"{row_of(group, wrong[0])}, where an index of the {count} {noun} is expected"
        )


def interleave(groups: list[RowGroup], rng: np.random.Generator) -> list[RowGroup]:
    """Shuffle row groups so that each part is spread evenly over the sequence."""
    parts = np.array([group.part for group in groups])
    position = np.empty(len(groups))
    for part in np.unique(parts):
        members = np.flatnonzero(parts == part)
        strata = (np.arange(len(members)) + rng.random(len(members))) / len(members)
        position[members] = rng.permutation(strata)
    return [groups[i] for i in np.argsort(position, kind="stable")]


def draw_subset(groups: list[RowGroup], reader: AnyReader, rows: int, seed: int) -> list[RowGroup]:
    """Keep so many selected rows, drawn at random within classes, which keep their proportions.

    Parameters
    ----------
    groups
        Row groups whole.
    reader
        Knows selection and classes; without classes the parts are kept in proportion.
    rows
        How many to keep, at most.
    seed
        Of the draw.

    Returns
    -------
    list of RowGroup
        Those with a row that is kept.
    """
    stratum, group_of, row_of = [], [], []
    parts = {part: i for i, part in enumerate(sorted({group.part for group in groups}))}
    for number, group in enumerate(groups):
        scalars = read_scalars(group, reader)
        chosen = reader.chosen(scalars, group.rows)
        row_of.append(chosen.astype(np.int32))
        group_of.append(np.full(len(chosen), number, np.int32))
        if reader.stratum is None:
            stratum.append(np.full(len(chosen), parts[group.part]))
        else:
            stratum.append(scalars[reader.stratum][chosen])
    _, strata, sizes = np.unique(np.concatenate(stratum), return_inverse=True, return_counts=True)
    if rows >= sizes.sum():
        return groups
    rng = np.random.default_rng(seed)
    # In random order by class, the first of each class are kept.
    order = rng.permutation(len(strata))
    order = order[np.argsort(strata[order], kind="stable")]
    begins = np.cumsum(sizes) - sizes
    kept = np.concatenate(
        [
            order[begin : begin + quota]
            for begin, quota in zip(begins, _quotas(sizes, rows, rng), strict=True)
        ]
    )
    owner, row = np.concatenate(group_of)[kept], np.concatenate(row_of)[kept]
    return [
        replace(
            groups[number], rows=int((owner == number).sum()), kept=np.sort(row[owner == number])
        )
        for number in np.unique(owner)
    ]


def _quotas(sizes: np.ndarray, rows: int, rng: np.random.Generator) -> np.ndarray:
    """Share out `rows` in proportion to sizes; what is left goes to the largest remainders."""
    exact = rows * sizes / sizes.sum()
    quotas = exact.astype(int)
    # Equal remainders are a matter of luck, not of the order of the classes.
    left = np.lexsort((rng.random(len(sizes)), quotas - exact))[: rows - quotas.sum()]
    quotas[left] += 1
    return quotas


def open_shard(path: Path) -> pq.ParquetFile:
    """Open a Parquet file.

    Raises
    ------
    UserError
        When it is missing or is none.
    """
    try:
        return pq.ParquetFile(path, page_checksum_verification=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such shard") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: not a readable Parquet file ({error})") from None


def _row_groups(shard: tuple[Path, str], reader: AnyReader, truth: bool) -> list[RowGroup]:
    path, part = shard
    wanted = {**reader.inputs, **reader.truth} if truth else reader.inputs
    with open_shard(path) as file:
        schema = file.schema_arrow
        present = {name: kind for name, kind in reader.optional.items() if name in schema.names}
        for name, kind in {**wanted, **present}.items():
            if name not in schema.names:
                use = "the truth" if name in reader.truth else "an input of the network"
                raise UserError(f"{path}: has no column {name}, which is {use}")
            words, fits = KINDS[kind]
            found = schema.field(name).type
            if not fits(found):
                raise UserError(f"{path}: column {name} is {found}, where {words} is expected")
        groups = (file.metadata.row_group(i) for i in range(file.metadata.num_row_groups))
        return [
            RowGroup(
                path,
                part,
                index,
                group.num_rows,
                tuple(_leaf(group, name).num_values for name in reader.ragged),
            )
            for index, group in enumerate(groups)
        ]


def _leaf(group: pq.RowGroupMetaData, name: str) -> pq.ColumnChunkMetaData:
    """Return what a footer says of a column of lists."""
    leaves = (group.column(i) for i in range(group.num_columns))
    return next(leaf for leaf in leaves if leaf.path_in_schema.startswith(f"{name}."))
