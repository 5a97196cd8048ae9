"""The report: one self-contained HTML file with what was built and what was learned."""

import base64
import io
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from ntuplizer.manifest import read_manifest
from ntuplizer.products import get_product
from provenance.errors import UserError
from provenance.files import atomic_output, read_json
from provenance.ledger import versions
from workflow import figures

TEMPLATES = Path(__file__).parent / "report"
SPLITS = ("train", "val", "test")
# Labels shown as jet pictures, the first that occur.
SHOWN = ("X_bb", "X_gg", "X_tauhtauh", "X_YY_bbbb", "X_YY_qqqq", "X_YY_ccss", "QCD_bb", "QCD_light")
MAX_SHOWN = 4


def write_report(
    name: str, manifests: list[Path], metrics: list[Path], studies: list[Path], output: Path
) -> None:
    """Write the report of a run: its datasets, networks and studies.

    Parameters
    ----------
    name
        Of the run.
    manifests
        Of its datasets.
    metrics
        `metrics.json` of each network, its figures beside it; the folder's name is the network's.
    studies
        `study.json` of each study, its figure beside it.
    output
        The HTML file.

    Raises
    ------
    UserError
        When a file is missing or not what it should be.
    """
    figures.style()
    captions = yaml.safe_load((TEMPLATES / "captions.yaml").read_text(encoding="utf-8"))
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["number"] = format_number
    page = environment.get_template("report.html.jinja").render(
        name=name,
        splits=SPLITS,
        datasets=[describe_dataset(path, captions) for path in manifests],
        evaluations=[read_evaluation(path) for path in metrics],
        studies=[read_study(path) for path in studies],
        versions=versions(),
    )
    with atomic_output(output) as temporary:
        temporary.write_text(page, encoding="utf-8")


def describe_dataset(path: Path, captions: dict[str, str]) -> dict[str, Any]:
    """Return what the report shows of a dataset."""
    manifest = read_manifest(path)
    files = manifest["files"]
    if not files:
        raise UserError(f"{path}: lists no files, so there is nothing to report")
    parts = rows_by_part(files)
    total = {key: sum(row[key] for row in parts.values()) for key in (*SPLITS, "shards", "bytes")}
    labels = label_counts(files)
    return {
        "manifest": manifest,
        "parts": parts,
        "total": total | {"rows": sum(total[split] for split in SPLITS)},
        "simulated": simulated_by_part(files),
        "labels": sorted(labels.items(), key=lambda item: (-item[1], item[0])),
        "figures": dataset_figures(manifest, path.parent, captions),
    }


def rows_by_part(files: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Return rows per part and split."""
    rows: dict[str, dict[str, int]] = {}
    for file in files:
        part = rows.setdefault(file["part"], dict.fromkeys(SPLITS, 0) | {"shards": 0, "bytes": 0})
        part[file["split"]] += file["rows"]
        part["shards"] += 1
        part["bytes"] += file["bytes"]
    return rows


def simulated_by_part(files: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return what each part cost: events, rows made and left over, seconds, from the ledgers."""
    totals: dict[str, Counter[str]] = {}
    for file in files:
        ledger = file["ledger"]
        total = totals.setdefault(file["part"], Counter())
        for key in ("events_generated", "rows_made", "rows_left_over", "wall_seconds"):
            total[key] += ledger.get(key, 0)
    return {part: dict(total) for part, total in totals.items()}


def label_counts(files: list[dict[str, Any]]) -> Counter[str]:
    """Return rows per label name over the whole dataset; empty without labels."""
    counts: Counter[str] = Counter()
    for file in files:
        counts.update(file["class_counts"] or {})
    return counts


def dataset_figures(
    manifest: dict[str, Any], folder: Path, captions: dict[str, str]
) -> list[dict[str, str]]:
    """Draw a dataset: example jets and rows per label where it has them, its product's axes."""
    files = manifest["files"]
    seen: Counter[str] = Counter()
    sample = []
    for file in files:
        seen[file["part"]] += 1
        if seen[file["part"]] <= figures.SHARDS_PER_PART:
            sample.append((file["part"], folder / file["path"]))
    drawn = []
    if manifest["labels"]:
        if manifest["product"] == "jets":
            jets = example_jets(manifest, folder)
            drawn.append((figures.plot_jets(jets), captions["jets"]))
        drawn.append((figures.plot_label_counts(label_counts(files)), captions["labels"]))
    # Which columns there are can depend on the product's options.
    names = pq.read_schema(sample[0][1]).names if sample else []
    axes = [axis for axis in get_product(manifest["product"]).axes if axis.column in names]
    for column, histogram in figures.fill_rows(sample, axes).items():
        caption = f"The column {column} by part, each part normalised."
        drawn.append((figures.plot_distribution(histogram), caption))
    return [{"image": encode(figure), "caption": caption} for figure, caption in drawn]


def example_jets(manifest: dict[str, Any], folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return the first jet of a few labels that occur in the test split."""
    wanted = [
        label
        for label in SHOWN
        if any(f["split"] == "test" and label in f["class_counts"] for f in manifest["files"])
    ] or [next(iter(label_counts(manifest["files"])))]
    columns = ["jet_label", "jet_pt", "jet_sdmass", "part_px", "part_py", "part_deta", "part_dphi"]
    columns += [column for column, _ in figures.CONSTITUENTS.values()]
    jets = []
    for label in wanted[:MAX_SHOWN]:
        code = manifest["labels"].index(label)
        shards = [file for file in manifest["files"] if label in file["class_counts"]]
        shard = next((file for file in shards if file["split"] == "test"), shards[0])
        for rows in figures.read_rows(folder / shard["path"], columns):
            found = (rows["jet_label"].to_numpy() == code).nonzero()[0]
            if len(found):
                jets.append((label, rows.slice(found[0], 1).to_pylist()[0]))
                break
    return jets


def read_evaluation(path: Path) -> dict[str, Any]:
    """Return a network's numbers and figures as its evaluation left them."""
    metrics = read_json(path)
    try:
        return {
            "name": path.parent.name,
            "task": metrics["task"],
            "split": metrics["split"],
            "summary": metrics["summary"],
            "dataset_sha256": metrics["dataset_sha256"],
            "figures": [
                {"image": read_image(path.with_name(f"{stem}.png")), "caption": caption}
                for stem, caption in metrics["figures"].items()
            ],
        }
    except (KeyError, AttributeError, TypeError):
        raise UserError(f"{path}: not the result of `python -m training evaluate`") from None


def read_study(path: Path) -> dict[str, Any]:
    """Return a study's numbers and its figure."""
    study = read_json(path)
    return study | {"image": read_image(path.with_suffix(".png"))}


def read_image(path: Path) -> str:
    """Return a PNG file base64-encoded."""
    try:
        return base64.b64encode(path.read_bytes()).decode()
    except FileNotFoundError:
        raise UserError(f"{path}: no such figure") from None


def encode(figure: Figure) -> str:
    """Return a figure as base64-encoded PNG, without the date that would change every time."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return base64.b64encode(stream.getvalue()).decode()


def format_number(value: float | None) -> str:
    """Write a number as people read it: 1,234,567 or 0.4922; a dash for what is not known."""
    if value is None:
        return "–"
    if isinstance(value, float) and (not value.is_integer() or abs(value) < 1):
        return f"{value:.4g}" if math.isfinite(value) else "–"
    return f"{int(value):,}"
