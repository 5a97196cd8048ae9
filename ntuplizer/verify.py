"""Check every file of a dataset against its manifest."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ntuplizer.labels import LABELS
from ntuplizer.manifest import MANIFEST_NAME, read_manifest
from ntuplizer.schema import JET_SCHEMA
from ntuplizer.shards import read_metadata
from provenance.files import sha256

# Together these tell any two jets apart: the bits of a jet's kinematics and shape.
FINGERPRINT_COLUMNS = ("jet_pt", "jet_eta", "jet_phi", "jet_energy", "jet_sdmass", "jet_tau1")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: its kind (one word, the same for the same fault), where and what."""

    kind: str
    file: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.file}: {self.detail}"


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
        When the manifest itself cannot be read.
    """
    manifest = read_manifest(path)
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    problems: list[Problem] = []
    by_digest = {entry["sha256"]: entry["path"] for entry in manifest["files"]}
    digests: dict[str, str] = {}
    fingerprints: list[np.ndarray] = []
    sources: list[str] = []
    for entry in manifest["files"]:
        problem = _file_problem(folder / entry["path"], entry, by_digest, digests)
        if problem:
            problems.append(problem)
            continue
        found, prints = _content_problems(folder / entry["path"], entry, manifest)
        problems += found
        fingerprints.append(prints)
        sources.append(entry["path"])
    problems += _unexpected(folder, manifest)
    problems += _repeated_jets(fingerprints, sources)
    problems += _total_problems(manifest)
    return problems


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


def _content_problems(file: Path, entry: dict, manifest: dict) -> tuple[list[Problem], np.ndarray]:
    name, problems, prints = entry["path"], [], []
    counts = np.zeros(len(LABELS), np.int64)
    try:
        parquet = pq.ParquetFile(file, page_checksum_verification=True)
        if not parquet.schema_arrow.equals(JET_SCHEMA):
            return [Problem("schema", name, "its columns are not those of a jet file")], _NO_PRINTS
        for rows in _row_groups(parquet):
            labels = rows["jet_label"].to_numpy()
            if len(labels) and not (labels.min() >= 0 and labels.max() < len(LABELS)):
                problems.append(Problem("label", name, f"a label outside 0 to {len(LABELS) - 1}"))
                break
            counts += np.bincount(labels, minlength=len(LABELS))
            infinite = _infinite_column(rows)
            if infinite:
                problems.append(Problem("value", name, f"column {infinite} has NaN or infinity"))
                break
            prints.append(_fingerprints(rows))
    except (pa.ArrowException, OSError) as error:
        return [Problem("unreadable", name, str(error).splitlines()[0])], _NO_PRINTS
    n_rows = parquet.metadata.num_rows
    if n_rows != entry["rows"]:
        problems.append(Problem("rows", name, f"it has {n_rows} jets instead of {entry['rows']}"))
    if not problems and {LABELS[i]: n for i, n in enumerate(counts) if n} != entry["class_counts"]:
        problems.append(Problem("classes", name, "its jets per label are not the manifest's"))
    metadata = read_metadata(file)
    expected = {key: entry[key] for key in ("part", "index", "split")} | {"seed": manifest["seed"]}
    for key, value in expected.items():
        if metadata.get(key) != value:
            problems.append(
                Problem("metadata", name, f"its {key} is {metadata.get(key)}, not {value}")
            )
    return problems, np.concatenate([_NO_PRINTS, *prints])


_NO_PRINTS = np.zeros(0, np.uint64)


def _row_groups(parquet: pq.ParquetFile) -> Iterator[pa.Table]:
    for group in range(parquet.num_row_groups):
        yield parquet.read_row_group(group)


def _infinite_column(rows: pa.Table) -> str | None:
    """Return the first column with a value that is not finite."""
    for field in rows.schema:
        column = rows[field.name]
        values = column.combine_chunks().flatten() if pa.types.is_list(field.type) else column
        if pa.types.is_floating(values.type) and not np.isfinite(values.to_numpy()).all():
            return field.name
    return None


def _fingerprints(rows: pa.Table) -> np.ndarray:
    """Return 64 bits per jet from the bits of `FINGERPRINT_COLUMNS` (FNV-like mixing)."""
    prints = np.full(rows.num_rows, 0xCBF29CE484222325, np.uint64)
    for name in FINGERPRINT_COLUMNS:
        bits = rows[name].to_numpy().astype(np.float32).view(np.uint32).astype(np.uint64)
        prints = (prints ^ bits) * np.uint64(0x9E3779B97F4A7C15)
        prints ^= prints >> np.uint64(29)
    return prints


def _unexpected(folder: Path, manifest: dict) -> list[Problem]:
    listed = {(folder / entry["path"]).resolve() for entry in manifest["files"]}
    folders = {file.parent for file in listed} | {folder.resolve()}
    found = {file for place in folders for file in place.glob("*.parquet")}
    return [
        Problem("unexpected", file.name, f"it is not in {MANIFEST_NAME}")
        for file in sorted(found - listed)
    ]


def _repeated_jets(fingerprints: list[np.ndarray], sources: list[str]) -> list[Problem]:
    """Find jets that occur twice, within a file or in two."""
    if not fingerprints:
        return []
    prints = np.concatenate(fingerprints)
    owner = np.repeat(np.arange(len(sources)), [len(own) for own in fingerprints])
    order = np.argsort(prints, kind="stable")
    again = np.flatnonzero(prints[order][1:] == prints[order][:-1])
    pairs = Counter(zip(owner[order[again]], owner[order[again + 1]], strict=True))
    return [
        Problem("repeated", sources[first], f"{count} of its jets are also in {sources[second]}")
        if first != second
        else Problem("repeated", sources[first], f"{count} of its jets occur more than once")
        for (first, second), count in sorted(pairs.items())
    ]


def _total_problems(manifest: dict) -> list[Problem]:
    rows = sum(entry["rows"] for entry in manifest["files"])
    if manifest["totals"]["rows"] == rows:
        return []
    return [Problem("totals", MANIFEST_NAME, f"it sums up to {rows} jets and says otherwise")]
