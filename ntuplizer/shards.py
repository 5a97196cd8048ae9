"""Parquet files that can be trusted: checksummed pages, what made them in their metadata.

A shard is a Parquet file with exactly as many jets as asked, in an order that only its name and
the dataset's seed decide.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ntuplizer.labels import LABELS
from ntuplizer.schema import JET_SCHEMA
from provenance.errors import UserError
from provenance.files import atomic_output
from provenance.ledger import versions

# A row group is what training reads at once.
ROWS_PER_GROUP = 10_000
SPLITS = ("train", "val", "test")
# Under this key the file says what it is.
METADATA_KEY = "jetclass"


@dataclass(frozen=True)
class ShardKey:
    """What names a shard within a dataset.

    Attributes
    ----------
    part
        The dataset's part, as `Res34P`; 16 ASCII characters at most.
    index
        The shard's number within its part.
    split
        One of `SPLITS`.
    seed
        The dataset's seed.
    """

    part: str
    index: int
    split: str
    seed: int

    def __post_init__(self) -> None:
        if not (self.part.isascii() and 0 < len(self.part) <= 16):
            raise UserError(f"part {self.part!r}: a name of 1 to 16 ASCII characters is needed")
        if self.split not in SPLITS:
            raise UserError(f"split {self.split!r}: one of {', '.join(SPLITS)} is needed")
        if self.index < 0 or self.seed < 0:
            raise UserError(f"shard {self.part} {self.index}: index and seed must not be negative")

    def generator(self) -> np.random.Generator:
        """Return the random stream of this shard: an own Philox key and counter for each name."""
        part = np.frombuffer(self.part.encode("ascii").ljust(16, b"\0"), "<u8")
        return np.random.Generator(
            np.random.Philox(key=[self.seed, self.index], counter=[0, 0, *part.tolist()])
        )


def write_tables(
    path: str | Path,
    tables: Iterable[pa.Table],
    schema: pa.Schema,
    metadata: Callable[[], Mapping],
) -> None:
    """Write tables into one Parquet file, in row groups of `ROWS_PER_GROUP`.

    The bytes depend on the rows, the metadata and the version of pyarrow only.

    Parameters
    ----------
    path
        The file, written atomically.
    tables
        Any number of tables of any length; memory holds about one row group.
    schema
        The schema of all tables.
    metadata
        Asked after the last table for the JSON values that the file carries (`read_metadata`).

    Raises
    ------
    UserError
        When the file cannot be written, as on a full disk.
    """
    try:
        with (
            atomic_output(path) as temporary,
            pq.ParquetWriter(
                temporary,
                schema,
                compression="zstd",
                use_dictionary=False,
                write_page_checksum=True,
            ) as writer,
        ):
            for group in _regroup(tables):
                writer.write_table(group, row_group_size=ROWS_PER_GROUP)
            text = json.dumps(metadata(), separators=(",", ":"))
            writer.add_key_value_metadata({METADATA_KEY: text})
    except OSError as error:  # a full disk; Arrow's errors do not name the file
        raise UserError(f"{path}: cannot be written: {error}") from None


def _regroup(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    waiting, n_waiting = [], 0
    for table in tables:
        waiting.append(table)
        n_waiting += table.num_rows
        if n_waiting < ROWS_PER_GROUP:
            continue
        joined = pa.concat_tables(waiting)
        n_whole = n_waiting // ROWS_PER_GROUP * ROWS_PER_GROUP
        for start in range(0, n_whole, ROWS_PER_GROUP):
            yield joined.slice(start, ROWS_PER_GROUP)
        waiting, n_waiting = [joined.slice(n_whole)], n_waiting - n_whole
    if n_waiting:
        yield pa.concat_tables(waiting)


def read_metadata(path: str | Path) -> dict:
    """Return what a file written by `write_tables` says about itself.

    Raises
    ------
    UserError
        When the file is missing, is not Parquet or was not written by this project.
    """
    try:
        content = (pq.read_metadata(path).metadata or {}).get(METADATA_KEY.encode())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a readable Parquet file ({error})") from None
    if content is None:
        raise UserError(f"{path}: carries no metadata of this project")
    return json.loads(content)


def write_shard(
    path: str | Path,
    tables: Iterable[pa.Table],
    n_jets: int,
    key: ShardKey,
    config_sha256: str,
    raise_key: str,
) -> pa.Table:
    """Write the first `n_jets` jets, shuffled, as a shard.

    Parameters
    ----------
    path
        Where to write.
    tables
        Tables of `JET_SCHEMA` in a reproducible order; read until there are enough jets.
    n_jets
        How many jets the shard holds, exactly.
    key
        The shard's name: it decides the order of the jets.
    config_sha256
        Hash of the part of the configuration that shaped the jets; kept in the file.
    raise_key
        The configuration key that gives more jets, for the error message.

    Returns
    -------
    pyarrow.Table
        The shard's rows, not shuffled.

    Raises
    ------
    UserError
        When the tables hold fewer jets.
    """
    if n_jets < 1:
        raise UserError(f"{path}: a shard of {n_jets} jets was asked; at least 1 is needed")
    taken, missing = [], n_jets
    for table in tables:
        taken.append(table.slice(0, missing))
        missing -= taken[-1].num_rows
        if missing == 0:
            break
    if missing:
        raise UserError(
            f"{path}: only {n_jets - missing} of {n_jets} jets were found; raise {raise_key}"
        )
    rows = pa.concat_tables(taken).combine_chunks()
    taken.clear()
    order = key.generator().permutation(n_jets)
    shuffled = (
        rows.take(pa.array(order[start : start + ROWS_PER_GROUP]))
        for start in range(0, n_jets, ROWS_PER_GROUP)
    )
    metadata = {
        **asdict(key),
        "jets": n_jets,
        "config_sha256": config_sha256,
        "labels": LABELS,
        "versions": versions(),
    }
    write_tables(path, shuffled, JET_SCHEMA, lambda: metadata)
    return rows


def read_jets(path: str | Path) -> pa.Table:
    """Read a jet file, verifying its page checksums.

    Raises
    ------
    UserError
        When the file is missing, damaged, or has other columns than `JET_SCHEMA`.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such jet file")
    try:
        table = pq.ParquetFile(path, page_checksum_verification=True).read()
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a readable Parquet file ({error})") from None
    if not table.schema.equals(JET_SCHEMA):
        raise UserError(f"{path}: its columns are not those of a jet file")
    return table


def class_counts(table: pa.Table) -> dict[str, int]:
    """Count the jets of each label that occurs, in index order."""
    counts = np.bincount(table["jet_label"].to_numpy(), minlength=len(LABELS))
    return {LABELS[i]: int(counts[i]) for i in np.flatnonzero(counts)}
