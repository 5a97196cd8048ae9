"""The report: one self-contained HTML file with what was built and what was learned."""

import base64
import io
import math
from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from provenance.errors import UserError
from provenance.files import atomic_output, read_json
from workflow import figures

TEMPLATES = Path(__file__).parent / "report"
SPLITS = ("train", "val", "test")
# Labels shown as jet pictures, the first that occur.
SHOWN = ("X_bb", "X_gg", "X_tauhtauh", "X_YY_bbbb", "X_YY_qqqq", "X_YY_ccss", "QCD_bb", "QCD_light")
MAX_SHOWN = 4


def write_report(manifest: Path, evaluations: list[Path], output: Path) -> None:
    """Write the report of a dataset and of the models trained on it.

    Parameters
    ----------
    manifest
        The dataset's manifest.
    evaluations
        Folders with a `metrics.json` and PNG figures, one per model; the folder's name is the
        task's.
    output
        The HTML file.

    Raises
    ------
    UserError
        When the manifest or a metrics file is missing or not JSON.
    """
    content = read_json(manifest)
    if not content.get("files"):
        raise UserError(f"{manifest}: lists no files, so there is nothing to report")
    parts = rows_by_part(content["files"])
    total = {key: sum(row[key] for row in parts.values()) for key in (*SPLITS, "shards", "bytes")}
    figures.style()
    captions = yaml.safe_load((TEMPLATES / "captions.yaml").read_text(encoding="utf-8"))
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["number"] = format_number
    page = environment.get_template("report.html.jinja").render(
        manifest=content,
        splits=SPLITS,
        parts=parts,
        total=total | {"jets": sum(total[split] for split in SPLITS)},
        simulated=simulated_by_part(content["files"]),
        labels=sorted(label_counts(content["files"]).items(), key=lambda item: (-item[1], item[0])),
        figures=dataset_figures(content, manifest.parent, captions),
        evaluations=[read_evaluation(folder, captions) for folder in evaluations],
    )
    with atomic_output(output) as temporary:
        temporary.write_text(page, encoding="utf-8")


def rows_by_part(files: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Return jets per part and split."""
    rows: dict[str, dict[str, int]] = {}
    for file in files:
        part = rows.setdefault(file["part"], dict.fromkeys(SPLITS, 0) | {"shards": 0, "bytes": 0})
        part[file["split"]] += file["rows"]
        part["shards"] += 1
        part["bytes"] += file["bytes"]
    return rows


def simulated_by_part(files: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return what each part cost: events, jets made and left over, seconds, from the ledgers."""
    totals: dict[str, Counter[str]] = {}
    for file in files:
        ledger = file["ledger"]
        total = totals.setdefault(file["part"], Counter())
        for key in ("events_generated", "jets_labelled", "jets_left_over", "wall_seconds"):
            total[key] += ledger.get(key, 0)
    return {part: dict(total) for part, total in totals.items()}


def label_counts(files: list[dict[str, Any]]) -> Counter[str]:
    """Return jets per label name over the whole dataset."""
    counts: Counter[str] = Counter()
    for file in files:
        counts.update(file["class_counts"])
    return counts


def dataset_figures(
    manifest: dict[str, Any], folder: Path, captions: dict[str, str]
) -> list[dict[str, str]]:
    """Draw the dataset: example jets, jets per label, pT, soft-drop mass, multiplicity."""
    files = manifest["files"]
    seen: Counter[str] = Counter()
    sample = []
    for file in files:
        seen[file["part"]] += 1
        if seen[file["part"]] <= figures.SHARDS_PER_PART:
            sample.append((file["part"], folder / file["path"]))
    drawn = {
        "jets": figures.plot_jets(example_jets(manifest, folder)),
        "labels": figures.plot_label_counts(label_counts(files)),
    }
    for name, histogram in figures.fill_jets(sample).items():
        drawn[name] = figures.plot_distribution(histogram)
    return [
        {"name": name, "image": encode(figure), "caption": captions[name]}
        for name, figure in drawn.items()
    ]


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


def read_evaluation(folder: Path, captions: dict[str, str]) -> dict[str, Any]:
    """Return a model's numbers and figures as its evaluation left them."""
    metrics = read_json(folder / "metrics.json")
    order = {name: position for position, name in enumerate(captions)}
    return {
        "task": folder.name,
        "metrics": {k: v for k, v in metrics.items() if isinstance(v, int | float)},
        "figures": [
            {
                "name": file.stem,
                "image": base64.b64encode(file.read_bytes()).decode(),
                "caption": captions.get(file.stem, file.stem.replace("_", " ")),
            }
            for file in sorted(
                folder.glob("*.png"), key=lambda file: order.get(file.stem, len(order))
            )
        ],
    }


def encode(figure: Figure) -> str:
    """Return a figure as base64-encoded PNG, without the date that would change every time."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return base64.b64encode(stream.getvalue()).decode()


def format_number(value: float) -> str:
    """Write a number as people read it: 1,234,567 or 0.4922."""
    if isinstance(value, float) and (not value.is_integer() or abs(value) < 1):
        return f"{value:.4g}" if math.isfinite(value) else "–"
    return f"{int(value):,}"
