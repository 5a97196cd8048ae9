"""The manifest of a dataset (contract 4): which files it has and what is in them."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from ntuplizer.labels import LABELS
from ntuplizer.shards import SPLITS, class_counts, read_metadata
from provenance.errors import UserError
from provenance.files import read_json, sha256, write_json
from provenance.ledger import ledger_path, versions

FORMAT = 1
MANIFEST_NAME = "manifest.json"


def build_manifest(
    shards: Sequence[str | Path], name: str, seed: int, config_sha256: str, output: str | Path
) -> dict:
    """Write the manifest of a dataset from its shards and their ledgers.

    Parameters
    ----------
    shards
        The shard files, each with its ledger (`….parquet.json`) beside it, in order; a folder
        stands for its `*.parquet` files by name. Part, index and split come from their metadata.
    name, seed, config_sha256
        Of the dataset.
    output
        The manifest; paths in it are relative to its folder.

    Returns
    -------
    dict
        The manifest.

    Raises
    ------
    UserError
        When a shard or ledger is missing or damaged, changed since its ledger was written, or
        made with another seed; when two shards have the same part and index.
    """
    folder = Path(output).absolute().parent
    files = [_entry(shard, seed, folder) for shard in _expand(shards)]
    if not files:
        raise UserError(f"{', '.join(map(str, shards))}: no shard to list in a manifest")
    names = Counter((entry["part"], entry["index"]) for entry in files)
    (part, index), count = names.most_common(1)[0]
    if count > 1:
        raise UserError(f"{part}_{index:04d}: {count} shards have this part and index")
    manifest = {
        "format": FORMAT,
        "name": name,
        "seed": seed,
        "config_sha256": config_sha256,
        "versions": versions(),
        "labels": list(LABELS),
        "files": files,
        "totals": _sum_up(files) | {"splits": _by_split(files)},
    }
    write_json(output, manifest)
    return manifest


def _expand(shards: Sequence[str | Path]) -> Iterator[Path]:
    for shard in map(Path, shards):
        if shard.is_dir():
            yield from sorted(shard.glob("*.parquet"))
        else:
            yield shard


def read_manifest(path: str | Path) -> dict:
    """Read a manifest, or that of a dataset's folder.

    Raises
    ------
    UserError
        When it is missing, is not a manifest, or has another format or other labels.
    """
    path = Path(path)
    manifest = read_json(path / MANIFEST_NAME if path.is_dir() else path)
    if manifest.get("format") != FORMAT or not isinstance(manifest.get("files"), list):
        raise UserError(f"{path}: not a dataset manifest of format {FORMAT}")
    if manifest.get("labels") != list(LABELS):
        raise UserError(f"{path}: lists other labels than this version knows")
    return manifest


def _entry(shard: Path, seed: int, folder: Path) -> dict:
    metadata = read_metadata(shard)
    ledger = read_json(ledger_path(shard))
    digest = sha256(shard)
    if ledger.get("sha256") != digest:
        raise UserError(f"{shard}: changed since its ledger {ledger_path(shard).name} was written")
    if metadata.get("seed") != seed:
        raise UserError(f"{shard}: made with seed {metadata.get('seed')}, not {seed}")
    labels = pq.read_table(shard, columns=["jet_label"])
    return {
        "path": Path(os.path.relpath(shard.absolute(), folder)).as_posix(),
        "part": metadata["part"],
        "index": metadata["index"],
        "split": metadata["split"],
        "rows": labels.num_rows,
        "bytes": shard.stat().st_size,
        "sha256": digest,
        "class_counts": class_counts(labels),
        "ledger": ledger,
    }


def _by_split(files: list[dict]) -> dict[str, dict]:
    return {
        split: _sum_up([entry for entry in files if entry["split"] == split]) for split in SPLITS
    }


def _sum_up(files: list[dict]) -> dict:
    counts = sum((Counter(entry["class_counts"]) for entry in files), Counter())
    return {
        "files": len(files),
        "rows": sum(entry["rows"] for entry in files),
        "bytes": sum(entry["bytes"] for entry in files),
        "class_counts": {label: counts[label] for label in LABELS if counts[label]},
    }
