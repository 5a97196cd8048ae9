"""`python -m ntuplizer display`: a picture of one row of a file."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ntuplizer.display import Row, View
from ntuplizer.products import Label, Product, get_product
from ntuplizer.shards import read_metadata
from provenance.errors import UserError
from provenance.files import atomic_output
from provenance.scratch import Scratch

SUFFIXES = (".png", ".pdf", ".svg")
MOST_PROBABLE = 5
# Columns of a prediction that say nothing to a reader.
UNREADABLE = "embedding"


@dataclass(frozen=True)
class Found:
    """A row of a file with what the file says of it."""

    product: Product
    view: View
    label: str | None
    table: pa.Table  # of this row alone

    @property
    def identity(self) -> str:
        """What names the row for good; empty where rows have no names."""
        row = self.table.to_pylist()[0]
        return ", ".join(f"{name} {row[name]}" for name in self.product.identity if name in row)


def display(path: Path, row: int, output: Path, checkpoint: Path | None = None) -> None:
    """Draw a row of a file.

    Parameters
    ----------
    path
        A file of any product that has a view.
    row
        Its number, from 0.
    output
        PNG, PDF or SVG.
    checkpoint
        Of a trained network: what it says of the row stands beside.

    Raises
    ------
    UserError
        When the file, the row or the checkpoint cannot be used.
    """
    if output.suffix not in SUFFIXES:
        raise UserError(f"{output}: a picture ends with one of {', '.join(SUFFIXES)}")
    found = find_row(path, row)
    predicted: Row = {}
    labels: list[str] = []
    if checkpoint is not None:
        predicted, labels = predict(found.table, checkpoint, path)

    from ntuplizer.display import draw

    scores = [
        draw.Score(_plain(name), probability, name == found.label)
        for name, probability in most_probable(predicted, labels)
    ]
    title = f"{path.name}, row {row}" + ("" if found.label is None else f": {found.label}")
    facts = [] if not found.identity else [_plain(found.identity)]
    facts += [
        f"network: {name.replace('_', ' ')} {_as_text(value)}"
        for name, value in predicted.items()
        if name not in {"probabilities", UNREADABLE}
    ]
    with draw.style():
        figure = draw.draw_view(found.view, _plain(title), facts, scores)
        with atomic_output(output) as temporary:
            figure.savefig(temporary, dpi=110)


def find_row(path: Path, row: int) -> Found:
    """Read a row of a file with its view.

    Raises
    ------
    UserError
        When the file is no file of rows or damaged, has no such row, or its product no view.
    """
    metadata = read_metadata(path)
    product = get_product(str(metadata.get("product")))
    options = product.read_options(metadata.get("options") or {})
    if product.view is None:
        raise UserError(f"{path}: the product {product.name} does not say what a row looks like")
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = _read_row(file, row)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a readable Parquet file ({error})") from None
    if table is None:
        rows = pq.read_metadata(path).num_rows
        has = f"has rows 0 to {rows - 1}" if rows else "has no rows"
        raise UserError(f"{path}: {has}, not {row}")
    content = table.to_pylist()[0]
    label, name = product.label(options), None
    if label is not None and label.column in content:
        # Imported sets have labels of their own.
        name = Label(label.column, tuple(metadata.get("labels") or ())).name_of(
            content[label.column]
        )
    return Found(product, product.view(content, options), name, table)


def _read_row(file: pq.ParquetFile, row: int) -> pa.Table | None:
    """Return a table of one row; None where the file has no such row."""
    begin = 0
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        if begin <= row < begin + rows:
            return file.read_row_group(group).slice(row - begin, 1)
        begin += rows
    return None


def predict(row: pa.Table, checkpoint: Path, path: Path) -> tuple[Row, list[str]]:
    """Return what a network says of a row of a file, and the names of its labels if it has any.

    Raises
    ------
    UserError
        When the checkpoint cannot be used, or its task reads another product.
    """
    with Scratch("display") as folder:
        source, output = Path(folder) / "row.parquet", Path(folder) / "prediction.parquet"
        pq.write_table(row, source, write_page_checksum=True)
        command = [sys.executable, "-m", "training", "predict", "--checkpoint", str(checkpoint)]
        result = subprocess.run(
            [*command, "--input", str(source), "--output", str(output)],
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            reason = result.stderr.strip().splitlines()[-1:] or ["the prediction failed"]
            raise UserError(reason[0].removeprefix("error: ").replace(str(source), str(path)))
        table = pq.read_table(output)
    names = (table.schema.metadata or {}).get(b"labels", b"").decode()
    carried = set(row.column_names)
    predicted: dict[str, Any] = table.to_pylist()[0]
    return (
        {name: value for name, value in predicted.items() if name not in carried},
        names.split(",") if names else [],
    )


def most_probable(predicted: Row, labels: list[str]) -> list[tuple[str, float]]:
    """Return the labels of the highest probabilities, the highest first."""
    if "probabilities" not in predicted:
        return []
    probabilities = np.array(predicted["probabilities"], float)
    best = np.argsort(-probabilities, kind="stable")[:MOST_PROBABLE]
    return [(labels[place], float(probabilities[place])) for place in best]


def _plain(text: str) -> str:
    """Return a text that is drawn as it stands: between two `$` matplotlib sees a formula."""
    return text.replace("$", r"\$")


def _as_text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(_as_text(item) for item in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
