"""Parquet files that can be trusted: checksummed pages, what made them in their metadata.

A shard is a Parquet file with exactly as many rows of a product as asked, in an order that only its
name and the dataset's seed decide.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ntuplizer.products import Product, ProductOptions, get_product
from provenance.errors import UserError
from provenance.files import atomic_output
from provenance.ledger import check_ledger, versions

# A row group is what training reads at once.
ROWS_PER_GROUP = 10_000
SPLITS = ("train", "val", "test")
# Under this key the file says what it is.
METADATA_KEY = "jetclass"

DATASET_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
PART_PATTERN = re.compile(r"[A-Za-z][A-Za-z0-9]{0,31}")


@dataclass(frozen=True)
class ShardKey:
    """What names a shard.

    Attributes
    ----------
    dataset
        The dataset's name: 1 to 64 letters, digits, `_` and `-`.
    part
        The dataset's part, as `Res34P`: a letter and up to 31 letters and digits.
    index
        The shard's number within its part.
    split
        One of `SPLITS`.
    seed
        The dataset's seed, any number of 64 bits.
    """

    dataset: str
    part: str
    index: int
    split: str
    seed: int

    def __post_init__(self) -> None:
        if not DATASET_PATTERN.fullmatch(self.dataset):
            raise UserError(
                f"dataset {self.dataset!r}: a name of 1 to 64 letters, digits, _ and - is needed"
            )
        if not PART_PATTERN.fullmatch(self.part):
            raise UserError(
                f"part {self.part!r}: a name of 1 to 32 letters and digits is needed that begins "
                "with a letter"
            )
        if self.split not in SPLITS:
            raise UserError(f"split {self.split!r}: one of {', '.join(SPLITS)} is needed")
        if self.index < 0:
            raise UserError(f"shard {self.part} {self.index}: the index must not be negative")
        if not 0 <= self.seed < 1 << 64:
            raise UserError(f"seed {self.seed}: a number from 0 to 2^64 - 1 is needed")

    def generator(self) -> np.random.Generator:
        """Return the random stream of this shard: a Philox key of its own for each name."""
        # JSON, because no two lists have the same text.
        name = json.dumps([self.dataset, self.part, self.index, self.seed])
        digest = hashlib.sha256(name.encode()).digest()
        return np.random.Generator(np.random.Philox(key=np.frombuffer(digest[:16], "<u8")))


def describe(product: Product, options: ProductOptions) -> dict:
    """Return what the metadata of every file says of its rows."""
    label = product.label(options)
    return {
        "product": product.name,
        "product_version": product.version,
        "options": options.model_dump(mode="json"),
        "labels": None if label is None else list(label.names),
        "identity": list(product.identity),
    }


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
    try:
        metadata = json.loads(content)
    except ValueError:
        metadata = None
    if not isinstance(metadata, dict):
        raise UserError(f"{path}: its metadata are damaged")
    return metadata


def find_product(metadata: Mapping, path: str | Path) -> tuple[Product, ProductOptions]:
    """Return the product that a file with these metadata holds rows of, and its options.

    Raises
    ------
    UserError
        When this software does not know the product or an option.
    """
    if not isinstance(metadata.get("options"), dict) or "product" not in metadata:
        raise UserError(f"{path}: its metadata do not name a product and its options")
    try:
        product = get_product(metadata["product"])
        return product, product.read_options(metadata["options"])
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def read_table(path: str | Path, product: str | None = None) -> pa.Table:
    """Read a product's file, verifying its page checksums.

    Parameters
    ----------
    path
        A file of rows, or a shard.
    product
        Name of the product that it must be of; None: any.

    Raises
    ------
    UserError
        When the file is missing, damaged, of another product, or has other columns than its
        product.
    """
    found, options = find_product(read_metadata(path), path)
    if product not in (None, found.name):
        raise UserError(f"{path}: holds rows of the product {found.name}, not {product}")
    try:
        table = pq.ParquetFile(path, page_checksum_verification=True).read()
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a readable Parquet file ({error})") from None
    if not table.schema.equals(found.schema(options)):
        raise UserError(f"{path}: its columns are not those of the product {found.name}")
    return table


def read_tables(
    paths: Sequence[str | Path],
) -> tuple[Product, ProductOptions, Iterator[pa.Table]]:
    """Read files of one product, made with the same options, one after the other.

    Returns
    -------
    product, options
        What all files hold rows of.
    tables
        Their rows; each file is read when its turn comes.

    Raises
    ------
    UserError
        When two files differ in product or options, or this version would make other rows; or when
        a file is not the one that the ledger beside it speaks of.
    """
    product, options = find_product(read_metadata(paths[0]), paths[0])
    expected = describe(product, options)
    for path in paths:
        check_ledger(path)
        metadata = read_metadata(path)
        for key, value in expected.items():
            if metadata.get(key) != value:
                other = paths[0] if key in {"product", "options"} else "this version"
                raise UserError(f"{path}: made with another {key} than {other}")
    return product, options, (read_table(path, product.name) for path in paths)


def write_shard(
    path: str | Path,
    tables: Iterable[pa.Table],
    rows: int,
    key: ShardKey,
    product: Product,
    options: ProductOptions,
    fingerprint: str,
    raise_key: str,
) -> pa.Table:
    """Write the first rows of some tables, shuffled, as a shard.

    Parameters
    ----------
    path
        Where to write.
    tables
        Rows of the product in a reproducible order; read until there are enough.
    rows
        How many the shard holds, exactly.
    key
        The shard's name: it decides the order of the rows.
    product, options
        What the rows are.
    fingerprint
        Hash of all that shaped the rows; kept in the file.
    raise_key
        The configuration key that gives more rows, for the error message.

    Returns
    -------
    pyarrow.Table
        The shard's rows, not shuffled.

    Raises
    ------
    UserError
        When the tables hold fewer rows.
    """
    if rows < 1:
        raise UserError(f"{path}: a shard of {rows} rows was asked; at least 1 is needed")
    taken, missing = [], rows
    for table in tables:
        taken.append(table.slice(0, missing))
        missing -= taken[-1].num_rows
        if missing == 0:
            break
    if missing:
        raise UserError(
            f"{path}: only {rows - missing} of {rows} rows were made; raise {raise_key}"
        )
    table = pa.concat_tables(taken).combine_chunks()
    taken.clear()
    order = key.generator().permutation(rows)
    shuffled = (
        table.take(pa.array(order[start : start + ROWS_PER_GROUP]))
        for start in range(0, rows, ROWS_PER_GROUP)
    )
    metadata = {
        **describe(product, options),
        "key": asdict(key),
        "rows": rows,
        "fingerprint": fingerprint,
        "versions": versions(),
    }
    write_tables(path, shuffled, product.schema(options), lambda: metadata)
    return table
