"""Check every file of a dataset against its manifest."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from commandline.progress import progress
from ntuplizer.manifest import MANIFEST_NAME, read_manifest
from ntuplizer.products import Label, Product, count_classes
from ntuplizer.shards import find_product, read_metadata
from provenance.errors import UserError
from provenance.files import sha256


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: its kind (one word, the same for the same fault), where and what."""

    kind: str
    file: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.file}: {self.detail}"


@dataclass(frozen=True)
class _Content:
    """What was found in a file's rows: 64 bits that stand for each row, and for each event."""

    path: str
    split: str
    problems: list[Problem] = field(default_factory=list)
    rows: list[np.ndarray] = field(default_factory=list)
    events: list[np.ndarray] = field(default_factory=list)


def verify(path: str | Path) -> list[Problem]:
    """Compare a dataset with its manifest: files, bytes, checksums, contents.

    Parameters
    ----------
    path
        The manifest, or the folder that holds `manifest.json`.

    Returns
    -------
    list of Problem
        Empty when all is well. A file that fails as a whole (missing, empty, swapped, duplicate,
        checksum) is not looked into further.

    Raises
    ------
    UserError
        When the manifest itself cannot be read, or is of a product that this version makes
        otherwise.
    """
    manifest = read_manifest(path)
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    product = _product(manifest, path)
    problems: list[Problem] = []
    by_digest = {entry["sha256"]: entry["path"] for entry in manifest["files"]}
    digests: dict[str, str] = {}
    contents: list[_Content] = []
    files = manifest["files"]
    for entry in progress(files, len(files), manifest["name"], "files"):
        problem = _file_problem(folder / entry["path"], entry, by_digest, digests)
        if problem:
            problems.append(problem)
            continue
        content = _read(folder / entry["path"], entry, manifest, product)
        problems += content.problems
        contents.append(content)
    problems += _unexpected(folder, manifest)
    if product.identity:
        problems += _repeated(contents, "identity", "identities")
        problems += _events_in_two_splits(contents)
    else:
        problems += _repeated(contents, "repeated", "rows")
    problems += _total_problems(manifest)
    return problems


def _product(manifest: dict, path: str | Path) -> Product:
    """Return the product of a manifest, whose labels and identity must be those of this version."""
    product, options = find_product(manifest, path)
    label = product.label(options)
    expected = (None if label is None else list(label.names), list(product.identity))
    if (manifest["labels"], manifest["identity"]) != expected:
        raise UserError(f"{path}: lists other labels or identity columns than this version knows")
    return product


def _file_problem(
    file: Path, entry: dict, by_digest: dict[str, str], digests: dict[str, str]
) -> Problem | None:
    """Find what is wrong with the file as a whole; remembers its checksum in `digests`."""
    name = entry["path"]
    if not file.is_file():
        return Problem("missing", name, "the manifest lists it, but there is no such file")
    size = file.stat().st_size
    if size == 0:
        return Problem("empty", name, "it has no bytes")
    digest = sha256(file)
    twin = digests.setdefault(digest, name)
    if twin != name:
        return Problem("duplicate", name, f"it has the same bytes as {twin}")
    if digest == entry["sha256"]:
        return None
    if digest in by_digest:
        return Problem("swapped", name, f"it holds what should be in {by_digest[digest]}")
    if size != entry["bytes"]:
        return Problem("size", name, f"it has {size} bytes instead of {entry['bytes']}")
    return Problem("checksum", name, "its SHA-256 is not that of the manifest")


def _read(file: Path, entry: dict, manifest: dict, product: Product) -> _Content:
    """Look into a file: columns, values, labels, number of rows, metadata."""
    content = _Content(entry["path"], entry["split"])
    try:
        options = product.read_options(manifest["options"] | entry["options"])
        label = product.label(options)
        parquet = pq.ParquetFile(file, page_checksum_verification=True)
        if not parquet.schema_arrow.equals(product.schema(options)):
            _note(content, "schema", f"its columns are not those of the product {product.name}")
            return content
        counts: Counter[str] = Counter()
        for rows in _row_groups(parquet):
            problem = _value_problem(rows, label)
            if problem:
                _note(content, *problem)
                break
            if label is not None:
                counts.update(count_classes(rows, label))
            content.rows.append(_row_prints(rows, product))
            if product.identity:
                content.events.append(_prints(rows, product.event_identity))
    except (pa.ArrowException, OSError) as error:
        content.rows.clear()
        content.events.clear()
        _note(content, "unreadable", str(error).splitlines()[0])
        return content
    n_rows = parquet.metadata.num_rows
    if n_rows != entry["rows"]:
        _note(content, "rows", f"it has {n_rows} rows instead of {entry['rows']}")
    if not content.problems and label is not None and counts != Counter(entry["class_counts"]):
        _note(content, "classes", "its rows per label are not the manifest's")
    metadata = read_metadata(file)
    key = metadata.get("key")
    found = metadata | (key if isinstance(key, dict) else {})
    expected = {
        "product": manifest["product"],
        "product_version": manifest["product_version"],
        "options": manifest["options"] | entry["options"],
        "dataset": manifest["name"],
        "part": entry["part"],
        "index": entry["index"],
        "split": entry["split"],
        "seed": manifest["seed"],
    }
    for name, value in expected.items():
        if found.get(name) != value:
            _note(content, "metadata", f"its {name} is {found.get(name)}, not {value}")
    return content


def _note(content: _Content, kind: str, detail: str) -> None:
    content.problems.append(Problem(kind, content.path, detail))


def _row_groups(parquet: pq.ParquetFile) -> Iterator[pa.Table]:
    for group in range(parquet.num_row_groups):
        yield parquet.read_row_group(group)


def _value_problem(rows: pa.Table, label: Label | None) -> tuple[str, str] | None:
    """Return kind and description of a label or value that cannot be."""
    if label is not None and rows.num_rows:
        labels = rows[label.column].to_numpy()
        # Collisions have none; how many rows have one is compared with the manifest.
        if labels.min() < -1 or labels.max() >= len(label.names):
            return "label", f"a label outside -1 to {len(label.names) - 1}"
    infinite = _infinite_column(rows)
    return None if infinite is None else ("value", f"column {infinite} has NaN or infinity")


def _infinite_column(rows: pa.Table) -> str | None:
    """Return the first column with a value that is not finite."""
    for name, column in zip(rows.column_names, rows.columns, strict=True):
        values = column.combine_chunks().flatten() if pa.types.is_list(column.type) else column
        if pa.types.is_floating(values.type) and not np.isfinite(values.to_numpy()).all():
            return name
    return None


def _row_prints(rows: pa.Table, product: Product) -> np.ndarray:
    """Return 64 bits per row: of its identity, else of all its values that are no lists."""
    scalars = [name for name in rows.column_names if not pa.types.is_list(rows[name].type)]
    return _prints(rows, product.identity or scalars)


def _prints(rows: pa.Table, columns: Iterable[str]) -> np.ndarray:
    """Return 64 bits per row from the bits of some columns (FNV-like mixing).

    Two different rows among 10⁸ share them with a probability of 3·10⁻⁴.
    """
    prints = np.full(rows.num_rows, 0xCBF29CE484222325, np.uint64)
    for name in columns:
        prints = (prints ^ _bits(rows[name])) * np.uint64(0x9E3779B97F4A7C15)
        prints ^= prints >> np.uint64(29)
    return prints


def _bits(column: pa.ChunkedArray) -> np.ndarray:
    """Return the bits of each value, those of a text as a hash: uint64."""
    if pa.types.is_string(column.type):
        coded = column.combine_chunks().dictionary_encode()
        digests = [hashlib.sha256(text.encode()).digest() for text in coded.dictionary.to_pylist()]
        hashes = [int.from_bytes(digest[:8], "little") for digest in digests]
        return np.array(hashes, np.uint64)[coded.indices.to_numpy()]
    values = column.to_numpy()
    if values.dtype.kind == "f":
        values = values.view(f"u{values.dtype.itemsize}")
    return values.astype(np.int64).view(np.uint64)


def _unexpected(folder: Path, manifest: dict) -> list[Problem]:
    listed = {(folder / entry["path"]).resolve() for entry in manifest["files"]}
    folders = {file.parent for file in listed} | {folder.resolve()}
    found = {file for place in folders for file in place.glob("*.parquet")}
    return [
        Problem("unexpected", file.name, f"it is not in {MANIFEST_NAME}")
        for file in sorted(found - listed)
    ]


def _repeated(contents: Sequence[_Content], kind: str, what: str) -> list[Problem]:
    """Find rows that occur twice, within a file or in two."""
    joined = [np.concatenate(content.rows) for content in contents if content.rows]
    paths = [content.path for content in contents if content.rows]
    if not joined:
        return []
    prints = np.concatenate(joined)
    owner = np.repeat(np.arange(len(paths)), [len(own) for own in joined])
    order = np.argsort(prints, kind="stable")
    again = np.flatnonzero(prints[order][1:] == prints[order][:-1])
    pairs = Counter(zip(owner[order[again]], owner[order[again + 1]], strict=True))
    return [
        Problem(kind, paths[first], f"{count} of its {what} are also in {paths[second]}")
        if first != second
        else Problem(kind, paths[first], f"{count} of its {what} occur more than once")
        for (first, second), count in sorted(pairs.items())
    ]


def _events_in_two_splits(contents: Sequence[_Content]) -> list[Problem]:
    """Find events that have rows in two splits."""
    by_split: dict[str, list[np.ndarray]] = {}
    for content in contents:
        by_split.setdefault(content.split, []).extend(content.events)
    events = {split: np.unique(np.concatenate(own)) for split, own in by_split.items() if own}
    problems = []
    for first, second in combinations(events, 2):
        shared = len(np.intersect1d(events[first], events[second], assume_unique=True))
        if shared:
            detail = f"{shared} events have rows in the splits {first} and {second}"
            problems.append(Problem("leak", MANIFEST_NAME, detail))
    return problems


def _total_problems(manifest: dict) -> list[Problem]:
    rows = sum(entry["rows"] for entry in manifest["files"])
    if manifest["totals"]["rows"] == rows:
        return []
    return [Problem("totals", MANIFEST_NAME, f"it sums up to {rows} rows and says otherwise")]
