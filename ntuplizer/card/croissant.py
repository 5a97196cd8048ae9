"""Croissant 1.1 metadata of a dataset: files with checksums, splits, columns (mlcommons.org)."""

from typing import Any

from ntuplizer.schema import Column
from ntuplizer.shards import SPLITS

CONFORMS_TO = "http://mlcommons.org/croissant/1.1"
PARQUET = "application/x-parquet"
DATA_TYPES = {
    "float32": "cr:Float32",
    "int32": "cr:Int32",
    "int64": "cr:Int64",
    "bool": "sc:Boolean",
    "string": "sc:Text",
}
# The terms of the standard, as it asks every file to name them.
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    **{
        term: f"cr:{term}"
        for term in (
            "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract",
            "field", "fileObject", "fileProperty", "fileSet", "format", "includes", "isArray",
            "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet",
            "references", "regex", "repeated", "replace", "samplingRate", "separator", "source",
            "subField", "transform",
        )
    },
}  # fmt: skip


def metadata(manifest: dict, summary: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata of a dataset as JSON-LD.

    Parameters
    ----------
    manifest
        Of the dataset.
    summary
        Its name, description, licence, citation, columns.
    """
    content = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": summary["name"],
        "alternateName": summary["title"],
        "description": summary["description"],
        "license": f"https://spdx.org/licenses/{summary['licence']}",
        "citeAs": summary["citation"],
        "creator": [
            {"@type": "sc:Organization", "name": author.get("name") or author["family-names"]}
            for author in summary["software"]["authors"]
        ],
        "version": summary["version"],
        "keywords": summary["software"]["keywords"],
        "distribution": [*_files(manifest), *_splits(manifest)],
        "recordSet": [
            _record_set(split, summary["columns"]) for split in _splits_with_files(manifest)
        ],
    }
    known = {"url": summary["url"], "datePublished": summary["date"]}
    return content | {key: value for key, value in known.items() if value is not None}


def _splits_with_files(manifest: dict) -> list[str]:
    return [split for split in SPLITS if any(e["split"] == split for e in manifest["files"])]


def _files(manifest: dict) -> list[dict[str, Any]]:
    return [
        {
            "@type": "cr:FileObject",
            "@id": entry["path"],
            "name": entry["path"],
            "contentUrl": entry["path"],
            "contentSize": f"{entry['bytes']} B",
            "encodingFormat": PARQUET,
            "sha256": entry["sha256"],
        }
        for entry in manifest["files"]
    ]


def _splits(manifest: dict) -> list[dict[str, Any]]:
    return [
        {
            "@type": "cr:FileSet",
            "@id": f"{split}-files",
            "name": f"{split}-files",
            "description": f"The files of the split {split}.",
            "encodingFormat": PARQUET,
            "includes": [e["path"] for e in manifest["files"] if e["split"] == split],
        }
        for split in _splits_with_files(manifest)
    ]


def _record_set(split: str, columns: tuple[Column, ...]) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": split,
        "name": split,
        "description": f"The rows of the split {split}.",
        "field": [_field(split, column) for column in columns],
    }


def _field(split: str, column: Column) -> dict[str, Any]:
    unit = f" ({column.unit})" if column.unit else ""
    field: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"{split}/{column.name}",
        "name": column.name,
        "description": f"{column.meaning}{unit}",
        "dataType": DATA_TYPES[column.value_type],
        "source": {"fileSet": {"@id": f"{split}-files"}, "extract": {"column": column.name}},
    }
    if column.per_particle:
        field |= {"isArray": True, "arrayShape": "-1"}
    return field
