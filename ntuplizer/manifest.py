"""The manifest of a dataset (contract 4): which files it has and what is in them."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq
from pydantic import BaseModel, ValidationError

from ntuplizer.products import Product, ProductOptions, add_classes, count_classes
from ntuplizer.shards import SPLITS, find_product, read_metadata
from provenance.errors import UserError
from provenance.files import read_json, refuse_replacing, write_json
from provenance.ledger import SEAL as LEDGER_SEAL
from provenance.ledger import check_ledger, ledger_path, versions
from provenance.seal import check_seal, json_sha256, sealed

FORMAT = 2
MANIFEST_NAME = "manifest.json"
DIGEST = "manifest_sha256"
# Of a shard's ledger, what the manifest leaves to it: thousands of entries a shard, and its seal.
LEFT_OUT = ("batches", LEDGER_SEAL)


class _File(BaseModel):
    path: str
    part: str
    index: int
    split: Literal["train", "val", "test"]
    options: dict[str, Any]
    rows: int
    bytes: int
    sha256: str
    class_counts: dict[str, int] | None
    ledger: dict[str, Any]


class _Sums(BaseModel):
    files: int
    rows: int
    bytes: int
    class_counts: dict[str, int] | None


class _Totals(_Sums):
    splits: dict[str, _Sums]


class _Manifest(BaseModel):
    """What a manifest must hold for its readers."""

    name: str
    product: str
    product_version: int
    options: dict[str, Any]
    labels: list[str] | None
    identity: list[str]
    seed: int
    fingerprint: str
    versions: dict[str, str]
    files: list[_File]
    totals: _Totals
    dataset_sha256: str
    manifest_sha256: str


def build_manifest(
    shards: Sequence[str | Path], name: str, seed: int, fingerprint: str, output: str | Path
) -> dict:
    """Write the manifest of a dataset from its shards and their ledgers.

    Parameters
    ----------
    shards
        The shard files, each with its ledger (`….parquet.json`) beside it, in order; a folder
        stands for its `*.parquet` files by name. Product, part, index and split come from their
        metadata.
    name, seed, fingerprint
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
        made for another dataset or with another seed; when two shards have the same part and
        index, or differ in product, columns or labels; when the manifest would replace one.
    """
    folder = Path(output).absolute().parent
    paths = list(_expand(shards))
    if not paths:
        raise UserError(f"{', '.join(map(str, shards))}: no shard to list in a manifest")
    refuse_replacing([output], paths)
    product, options = find_product(read_metadata(paths[0]), paths[0])
    files = [_entry(path, product, options, name, seed, folder) for path in paths]
    names = Counter((entry["part"], entry["index"]) for entry in files)
    (part, index), count = names.most_common(1)[0]
    if count > 1:
        raise UserError(f"{part}_{index:04d}: {count} shards have this part and index")
    common = {
        option: value
        for option, value in files[0]["options"].items()
        if all(entry["options"][option] == value for entry in files)
    }
    for entry in files:
        entry["options"] = {k: v for k, v in entry["options"].items() if k not in common}
    label = product.label(options)
    manifest = {
        "format": FORMAT,
        "name": name,
        "product": product.name,
        "product_version": product.version,
        "options": common,
        "labels": None if label is None else list(label.names),
        "identity": list(product.identity),
        "seed": seed,
        "fingerprint": fingerprint,
        "versions": versions(),
        "files": files,
        "totals": _sum_up(files, product, options)
        | {
            "splits": {
                split: _sum_up([e for e in files if e["split"] == split], product, options)
                for split in SPLITS
            }
        },
        "dataset_sha256": hash_dataset(product.name, files),
    }
    manifest = sealed(manifest, DIGEST)
    write_json(output, manifest)
    return manifest


def hash_dataset(product: str, files: Sequence[Mapping[str, Any]]) -> str:
    """Return what names the rows of a dataset, their order and splits, for good.

    Parameters
    ----------
    product
        Name of the product.
    files
        Entries of the manifest, in order.
    """
    rows = [[entry["sha256"], entry["rows"], entry["split"]] for entry in files]
    return json_sha256({"product": product, "files": rows})


def read_manifest(path: str | Path) -> dict:
    """Read a manifest, or that of a dataset's folder.

    Raises
    ------
    UserError
        When it is missing, is not a manifest, has another format, was changed since it was
        written, or lacks something.
    """
    path = Path(path)
    path = path / MANIFEST_NAME if path.is_dir() else path
    manifest = read_json(path)
    if manifest.get("format") != FORMAT or not isinstance(manifest.get("files"), list):
        raise UserError(f"{path}: not a dataset manifest of format {FORMAT}")
    check_seal(path, manifest, DIGEST)
    try:
        _Manifest.model_validate(manifest, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UserError(f"{path}: not a dataset manifest: {place}: {first['msg']}") from None
    return manifest


def _expand(shards: Sequence[str | Path]) -> Iterator[Path]:
    for shard in map(Path, shards):
        if shard.is_dir():
            yield from sorted(shard.glob("*.parquet"))
        else:
            yield shard


def _entry(
    shard: Path, product: Product, options: ProductOptions, name: str, seed: int, folder: Path
) -> dict:
    metadata = read_metadata(shard)
    own, own_options = find_product(metadata, shard)
    if own.name != product.name:
        raise UserError(f"{shard}: holds {own.name}, where the shards before hold {product.name}")
    label = own.label(own_options)
    if own.schema(own_options) != product.schema(options) or label != product.label(options):
        raise UserError(f"{shard}: its options give other columns or labels than the shards before")
    key = metadata.get("key")
    if not isinstance(key, dict) or not key.keys() >= {"dataset", "part", "index", "split", "seed"}:
        raise UserError(f"{shard}: not a shard: its metadata hold no key")
    for field, expected in (("dataset", name), ("seed", seed)):
        if key[field] != expected:
            raise UserError(f"{shard}: made with {field} {key[field]}, not {expected}")
    if metadata.get("product_version") != product.version:
        raise UserError(
            f"{shard}: made by version {metadata.get('product_version')} of the product "
            f"{product.name}, this is version {product.version}"
        )
    ledger = check_ledger(shard)
    if not ledger:
        raise UserError(f"{ledger_path(shard)}: no such file; it says how the shard was made")
    return {
        "path": Path(os.path.relpath(shard.absolute(), folder)).as_posix(),
        "part": key["part"],
        "index": key["index"],
        "split": key["split"],
        "options": own_options.model_dump(mode="json"),
        "rows": pq.read_metadata(shard).num_rows,
        "bytes": shard.stat().st_size,
        "sha256": ledger["sha256"],
        "class_counts": None
        if label is None
        else count_classes(pq.read_table(shard, columns=[label.column]), label),
        "ledger": {key: value for key, value in ledger.items() if key not in LEFT_OUT},
    }


def _sum_up(files: list[dict], product: Product, options: ProductOptions) -> dict:
    label = product.label(options)
    return {
        "files": len(files),
        "rows": sum(entry["rows"] for entry in files),
        "bytes": sum(entry["bytes"] for entry in files),
        "class_counts": None
        if label is None
        else add_classes([entry["class_counts"] for entry in files], label),
    }
