"""The card of a dataset, for those who find it published: what is in it, how it was made, terms."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ntuplizer.card.croissant import metadata
from ntuplizer.manifest import read_manifest
from ntuplizer.products import Product, get_product
from ntuplizer.shards import SPLITS
from provenance.errors import UserError
from provenance.files import atomic_output, write_json

CARD, CROISSANT = "README.md", "croissant.json"
TEMPLATE = Path(__file__).with_name("card.md.jinja")
CITATION = Path(__file__).parents[2] / "CITATION.cff"
# Hugging Face counts in powers of ten, from a thousand on.
SMALLEST_SIZE = 1_000


@dataclass(frozen=True)
class Terms:
    """What the dataset itself does not know: its title, address, licence, version and day."""

    title: str | None = None
    url: str | None = None
    licence: str = "CC-BY-4.0"
    version: str = "1.0.0"
    date: str | None = None


def write_card(dataset: str | Path, terms: Terms) -> None:
    """Write `README.md` and `croissant.json` into a dataset's folder.

    Parameters
    ----------
    dataset
        The manifest, or the folder that holds it.
    terms
        Title, address, licence, version.

    Raises
    ------
    UserError
        When the manifest cannot be read, or a file lies outside of its folder.
    """
    manifest = read_manifest(dataset)
    folder = Path(dataset) if Path(dataset).is_dir() else Path(dataset).parent
    for entry in manifest["files"]:
        if entry["path"].startswith(("..", "/")):
            raise UserError(f"{entry['path']}: lies outside of {folder}: a card speaks of a folder")
    product = get_product(manifest["product"])
    summary = _summary(manifest, product, terms)
    write_json(folder / CROISSANT, metadata(manifest, summary))
    with atomic_output(folder / CARD) as temporary:
        temporary.write_text(_render(manifest, summary), encoding="utf-8")


def size_category(rows: int) -> str:
    """Return how Hugging Face names a number of rows: `10K<n<100K`."""
    if rows < SMALLEST_SIZE:
        return "n<1K"
    power = math.floor(math.log10(rows))
    return f"{_power_of_ten(power)}<n<{_power_of_ten(power + 1)}"


def _power_of_ten(power: int) -> str:
    return f"{10 ** (power % 3)}{'KMBT'[power // 3 - 1]}"


def _summary(manifest: dict, product: Product, terms: Terms) -> dict[str, Any]:
    """Return what both files say of the dataset."""
    options = product.read_options(manifest["options"])
    software = yaml.safe_load(CITATION.read_text(encoding="utf-8"))
    ledgers = [entry["ledger"] for entry in manifest["files"]]
    # Other shards were made from files, of collisions for all that is known.
    simulated = all("job" in ledger for ledger in ledgers)
    return {
        "name": manifest["name"],
        "title": terms.title or f"{manifest['name']}: {product.summary}",
        "description": (
            f"{manifest['totals']['rows']:,} {'simulated ' if simulated else ''}rows "
            f"({product.summary}) in "
            f"{manifest['totals']['files']:,} Parquet files, split into train, val and test."
        ),
        "url": terms.url,
        "licence": terms.licence,
        "version": terms.version,
        "date": terms.date,
        "columns": product.columns(options),
        "label": product.label(options),
        "software": software,
        "simulated": simulated,
        "inputs": _known(name for ledger in ledgers for name in ledger.get("inputs", ())),
        "citation": _bibtex(manifest, software, terms),
        "processes": sorted(
            {name for ledger in ledgers for name in ledger.get("job", {}).get("processes", {})}
        ),
        "detectors": _known(ledger.get("card") for ledger in ledgers),
    }


def _known(names: Iterable[str | None]) -> list[str]:
    return sorted({name for name in names if name})


def _bibtex(manifest: dict, software: dict, terms: Terms) -> str:
    authors = " and ".join(
        f"{{{author['name']}}}"
        if "name" in author
        else f"{author['family-names']}, {author['given-names']}"
        for author in software["authors"]
    )
    address = f",\n  url = {{{terms.url}}}" if terms.url else ""
    return (
        f"@misc{{{manifest['name']}-{manifest['dataset_sha256'][:8]},\n"
        f"  title = {{{terms.title or manifest['name']}}},\n"
        f"  author = {{{authors}}},\n"
        f"  note = {{Made with {software['title']} {software['version']}, dataset "
        f"{manifest['dataset_sha256']}}}{address}\n}}"
    )


def _render(manifest: dict, summary: dict[str, Any]) -> str:
    import jinja2

    environment = jinja2.Environment(
        # Markdown, not HTML: the values are names and numbers of a checked manifest.
        autoescape=False,  # noqa: S701
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    rows: Counter[tuple[str, str]] = Counter()
    for entry in manifest["files"]:
        rows[entry["part"], entry["split"]] += entry["rows"]
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        **summary,
        front_matter=_front_matter(manifest, summary),
        manifest=manifest,
        splits=SPLITS,
        parts=list(dict.fromkeys(entry["part"] for entry in manifest["files"])),
        rows=rows,
    )


def _front_matter(manifest: dict, summary: dict[str, Any]) -> str:
    """Return what Hugging Face reads of a card: licence, size, files of each split."""
    files = [
        {"split": split, "path": paths}
        for split in SPLITS
        if (paths := [e["path"] for e in manifest["files"] if e["split"] == split])
    ]
    content = {
        "license": summary["licence"].lower(),
        "pretty_name": summary["title"],
        "size_categories": [size_category(manifest["totals"]["rows"])],
        "task_categories": ["tabular-classification" if summary["label"] else "tabular-regression"],
        "tags": [
            "physics",
            "particle-physics",
            "jets",
            *(["simulation"] if summary["simulated"] else []),
            "croissant",
        ],
        "configs": [{"config_name": "default", "data_files": files}],
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
