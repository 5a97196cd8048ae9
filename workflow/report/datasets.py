"""A dataset as the report shows it: rows, labels, examples, kinematics, GEN-jets.

What can be shown follows from what the product says of its rows (`ntuplizer.products.Product`): a
new product appears here without a line of its own.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ntuplizer.display import View
from ntuplizer.products import Label, Product, ProductOptions, get_product
from workflow import figures
from workflow.report.elements import (
    Block,
    Cell,
    Fold,
    Gallery,
    Picture,
    Place,
    Section,
    Table,
    Text,
    cell,
    cells,
    format_number,
    short_number,
    title,
)

SPLITS = ("train", "val", "test")
# Distributions are drawn from at most this many shards of each part: the figure of a dataset of
# 200 million jets looks no different, and takes a minute.
SHARDS_PER_PART = 10
# Example rows: at most so many, each the most varied of the first few that are alike.
EXAMPLES, CANDIDATES = 12, 8

Values = dict[str, dict[str, np.ndarray]]  # part → column → (n,)


def section(path: Path, manifest: Mapping[str, Any], place: Place) -> Section:
    """Return the section of a dataset.

    Parameters
    ----------
    path
        Of the manifest; the shards lie where it says.
    manifest
        Its content.
    place
        Of the page.
    """
    product = get_product(manifest["product"])
    options = product.read_options(manifest["options"])
    label = product.label(options)
    values = read_values(path.parent, manifest, product)
    name = manifest["name"]
    sections = [_rows(manifest, name)]
    if product.view is not None:
        sections.append(_examples(path.parent, manifest, product, options, label, place))
    if label is not None:
        sections.append(_labels(manifest, label, place))
    sections.append(_kinematics(product, values, name, place))
    if product.match is not None:
        sections += _gen_jets(product, values, name, place)
    return Section(
        f"Dataset {name}", f"dataset-{name}", [Text(_summary(manifest, product))], sections
    )


def _summary(manifest: Mapping[str, Any], product: Product) -> str:
    totals = manifest["totals"]
    ledger = manifest["files"][0]["ledger"]
    text = (
        f"{format_number(totals['rows'])} rows in {format_number(totals['files'])} files; a row is "
        f"of the product {product.name}: {product.summary}."
    )
    if totals["class_counts"]:
        text += f" {len(totals['class_counts'])} of {len(manifest['labels'])} labels occur."
    if "card" in ledger:
        pileup = ledger.get("pileup")
        drawn = f", with pile-up of {pileup} where the card merges any" if pileup else ""
        text += f" The detector is {ledger['card']}{drawn}."
    return text


def read_values(folder: Path, manifest: Mapping[str, Any], product: Product) -> Values:
    """Return the columns that are drawn, of some shards of each part."""
    seen: Counter[str] = Counter()
    tables: dict[str, list[pa.Table]] = {}
    for file in manifest["files"]:
        seen[file["part"]] += 1
        if seen[file["part"]] > SHARDS_PER_PART:
            continue
        with pq.ParquetFile(folder / file["path"], page_checksum_verification=True) as shard:
            # Which columns there are can depend on the product's options.
            there = set(shard.schema_arrow.names)
            columns = [axis.column for axis in product.axes if axis.column in there]
            if product.match is not None:
                columns += [product.match.pt, product.match.gen_pt]
            table = shard.read(columns=list(dict.fromkeys(c for c in columns if c in there)))
        tables.setdefault(file["part"], []).append(table)
    values: Values = {}
    for part, read in tables.items():
        joined = pa.concat_tables(read)
        values[part] = {name: joined[name].to_numpy() for name in joined.column_names}
    return values


def _rows(manifest: Mapping[str, Any], name: str) -> Section:
    """Return rows by part and split, and what each part took to simulate."""
    files = manifest["files"]
    parts = list(dict.fromkeys(file["part"] for file in files))

    def row(title: str, chosen: list[dict[str, Any]]) -> tuple[Cell, ...]:
        by_split = [sum(f["rows"] for f in chosen if f["split"] == split) for split in SPLITS]
        size = Cell(f"{sum(f['bytes'] for f in chosen) / 1e6:.1f}", sum(f["bytes"] for f in chosen))
        return cells(title, len(chosen), *by_split, sum(by_split), size)

    rows = [row(part, [f for f in files if f["part"] == part]) for part in parts]
    by_split = Table(
        "Rows by part and split",
        ("Part", "Shards", *(f"Rows, {split}" for split in SPLITS), "Rows", "MB"),
        rows,
        row("all", files),
    )
    return Section("Rows", f"rows-{name}", [by_split, _simulated(files, parts)])


def _simulated(files: list[dict[str, Any]], parts: list[str]) -> Table:
    """Return the table of what was simulated for each part, from the shards' ledgers."""
    totals: dict[str, Counter[str]] = {part: Counter() for part in parts}
    steps: dict[str, None] = {}
    for file in files:
        ledger, total = file["ledger"], totals[file["part"]]
        counts = ledger.get("counts", {})
        for key in ("events_generated", "rows_made", "rows_left_over", "wall_seconds"):
            total[key] += ledger.get(key) or 0
        total["events_skipped"] += sum(counts.get("events_skipped", {}).values())
        total["events_skipped"] += ledger.get("events_failed") or 0
        for step, count in counts.get("steps", {}).items():
            steps[step] = None
            total[step] += count
    rows = []
    for part, total in totals.items():
        events = total["events_generated"]
        milliseconds = 1000 * total["wall_seconds"] / events if events else None
        rows.append(
            cells(
                part,
                events,
                total["events_skipped"],
                *(total[step] for step in steps),
                total["rows_made"],
                total["rows_left_over"],
                Cell(f"{milliseconds:.0f}", milliseconds) if milliseconds else cell(None),
            )
        )
    head = ("Part", "Events", "Events left out", *(title(step) for step in steps))
    return Table(
        "From events to rows", (*head, "Rows made", "Left over", "Time per event (ms)"), rows
    )


def _examples(
    folder: Path,
    manifest: Mapping[str, Any],
    product: Product,
    options: ProductOptions,
    label: Label | None,
    place: Place,
) -> Section:
    """Return pictures of rows: of each group of labels one, or some of each part."""
    found = list(example_rows(folder, manifest, product, options, label))
    panels = [(f"{name}\n{view.title}", view.panels[0]) for name, view, _, _ in found[:EXAMPLES]]
    shown = [{"file": path, "row": row, "name": name} for name, _, path, row in found[:EXAMPLES]]
    first = shown[0]
    caption = (
        "Single rows; of rows that are alike, one with many kinds of objects. Areas are "
        "proportional to transverse momentum"
        + ("; crosses are the generator particles behind the label" if label else "")
        + f". Larger: python -m ntuplizer display {first['file']} --row {first['row']}"
        + " (the data beside the figure list all)."
    )
    picture = place.draw(
        f"{manifest['name']}/examples", figures.plot_examples(panels), {"rows": shown}, caption
    )
    return Section("Examples", f"examples-{manifest['name']}", [picture])


def example_rows(
    folder: Path,
    manifest: Mapping[str, Any],
    product: Product,
    options: ProductOptions,
    label: Label | None,
) -> Iterator[tuple[str, View, str, int]]:
    """Yield name, view, file and number of example rows of the test split, group by group.

    Of each part the first row group of its first shard is read.
    """
    assert product.view is not None
    chosen: dict[str, tuple[str, View, str, int]] = {}
    parts = list(dict.fromkeys(file["part"] for file in manifest["files"]))
    each = max(1, EXAMPLES // 2 // len(parts))
    for part in parts:
        own = [file for file in manifest["files"] if file["part"] == part]
        file = next((file for file in own if file["split"] == "test"), own[0])
        with pq.ParquetFile(folder / file["path"], page_checksum_verification=True) as shard:
            table = shard.read_row_group(0)
        groups: dict[str, list[int]] = {}
        if label is None:
            for row in range(min(table.num_rows, each * CANDIDATES)):
                groups.setdefault(f"{part} {row % each}", []).append(row)
        else:
            for row, code in enumerate(table[label.column].to_numpy()):
                name = label.name_of(code)
                groups.setdefault(part if name is None else label.group_of(name), []).append(row)
        for group, rows in groups.items():
            if group in chosen:
                continue
            few = rows[:CANDIDATES]
            content = table.take(few).to_pylist()
            views = [product.view(row, options) for row in content]
            best = max(range(len(few)), key=lambda i: (len(views[i].panels[0].kinds), -i))
            name = None if label is None else label.name_of(content[best][label.column])
            chosen[group] = (name or part, views[best], file["path"], few[best])
    yield from chosen.values()


def _labels(manifest: Mapping[str, Any], label: Label, place: Place) -> Section:
    """Return rows by label: a chart, and a table with the splits."""
    by_split: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
    for file in manifest["files"]:
        by_split[file["split"]].update(file["class_counts"] or {})
    totals: Mapping[str, int] = manifest["totals"]["class_counts"]
    groups: dict[str, dict[str, int]] = {}
    for name, count in totals.items():
        groups.setdefault(label.group_of(name), {})[name] = count
    missing = [name for name in label.names if name not in totals]
    caption = "Rows by label over all splits" + (
        "." if len(groups) == 1 else ", in groups of like labels."
    )
    name = f"{manifest['name']}/labels"
    picture = place.draw(name, figures.plot_label_counts(groups), {"rows": groups}, caption)
    grouped = len(groups) > 1
    rows = [
        cells(
            own,
            *([group] if grouped else []),
            *(by_split[split][own] for split in SPLITS),
            count,
        )
        for group, members in groups.items()
        for own, count in members.items()
    ]
    foot = cells(
        "all", *([""] if grouped else []), *(sum(by_split[s].values()) for s in SPLITS),
        sum(totals.values()),
    )  # fmt: skip
    head = ("Label", *(["Group"] if grouped else []), *(f"Rows, {s}" for s in SPLITS), "Rows")
    table = Table("Rows by label and split", head, rows, foot)
    blocks: list[Block] = [picture, table]
    if table.searchable:
        blocks[1] = Fold(f"Rows by label and split: {len(rows)} labels", [table])
    if missing:
        blocks.append(Text(f"Labels without a row: {', '.join(missing)}."))
    return Section("Labels", f"labels-{manifest['name']}", blocks)


def _kinematics(product: Product, values: Values, name: str, place: Place) -> Section:
    """Return the distributions that the product names, and their quantiles by part."""
    pictures: list[Picture] = []
    rows = []
    for axis in product.axes:
        parts = {part: own[axis.column] for part, own in values.items() if axis.column in own}
        if not parts:
            continue
        figure, data, outside = figures.plot_distribution(parts, axis)
        caption = f"The column {axis.column} by part, each part normalised to one"
        if outside > 0.0005:
            caption += f"; {100 * outside:.1f} % of the rows lie outside"
        pictures.append(place.draw(f"{name}/{axis.column}", figure, data, caption + "."))
        quantiles = [np.quantile(own, (0.16, 0.5, 0.84)) for own in parts.values()]
        rows.append(
            cells(
                axis.column,
                *(
                    Cell("{1} ({0} to {2})".format(*map(short_number, own)), float(own[1]))
                    for own in quantiles
                ),
            )
        )
    table = Table("Median by part, and the range of the central 68 %", ("Column", *values), rows)
    blocks: list[Block] = [Gallery(pictures), table]
    if any(len(own) == 0 for own in values.values()) or not pictures:
        blocks = [Text("The product names no column to draw.")]
    return Section("Distributions", f"distributions-{name}", blocks)


def _gen_jets(product: Product, values: Values, name: str, place: Place) -> Iterator[Section]:
    """Yield how jets and GEN-jets go together, where the rows have GEN-jets."""
    assert product.match is not None
    pt, gen_pt = product.match.pt, product.match.gen_pt
    pairs = {part: (own[pt], own[gen_pt]) for part, own in values.items() if gen_pt in own}
    if not pairs:
        return
    matched = {part: float((gen > 0).mean()) for part, (_, gen) in pairs.items()}
    pictures = []
    if min(matched.values()) < 1:
        figure, data = figures.plot_matching(pairs)
        caption = "Share of jets with a GEN-jet against the transverse momentum of the jet."
        pictures.append(place.draw(f"{name}/matching", figure, data, caption))
    responses = {
        part: (own[gen > 0] / gen[gen > 0], gen[gen > 0]) for part, (own, gen) in pairs.items()
    }
    figure, data = figures.plot_response(responses)
    caption = (
        "Response: transverse momentum of the jet, as it is stored, over that of its GEN-jet. "
        "Right: the median, with the range of the central 68 % as bars."
    )
    pictures.append(place.draw(f"{name}/response", figure, data, caption))
    rows = []
    for part, (response, _) in responses.items():
        share = Cell(f"{100 * matched[part]:.2f} %", matched[part])
        if len(response):
            low, middle, high = map(float, np.quantile(response, (0.16, 0.5, 0.84)))
            rows.append(cells(part, share, middle, (high - low) / 2 / middle))
        else:
            rows.append(cells(part, share, None, None))
    head = ("Part", "With a GEN-jet", "Median response", "Half of the central 68 % over the median")
    table = Table("Matching and response by part", head, rows)
    yield Section("GEN-jets", f"gen-jets-{name}", [table, *pictures])
