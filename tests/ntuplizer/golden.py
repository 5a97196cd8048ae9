"""The rows that each product makes of fixed event files, as numbers to compare with.

    python tests/ntuplizer/golden.py FOLDER_OF_THE_REFERENCE_DATA

writes them anew, for products whose `version` was raised.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
from event_files import energy_rows

from ntuplizer.ntuplize import ntuplize
from ntuplizer.products import get_product

FILE = Path(__file__).with_name("golden_rows.json")
# Product → (event file of the reference data, options).
INPUTS = {
    "jets": (
        ("delphes/res34p_1.root", {}),
        ("delphes/qcd_3.root", {"qcd_labels": True}),
    ),
    "energy": (("delphes/ttbar_events.root", {"jet_eta_max": 5.0}),),
    "events": (("delphes/ttbar_events.root", {}),),
}


def rows_of(product: str, reference: Path) -> pa.Table:
    """Return the rows that a product makes of its files."""

    def rows(path: Path, options: dict) -> pa.Table:
        made = (
            energy_rows(path, options) if product == "energy" else ntuplize(path, product, options)
        )
        return made[0]

    return pa.concat_tables(
        rows(reference / name, options) for name, options in INPUTS[product]
    ).combine_chunks()


def describe_column(column: pa.ChunkedArray) -> dict:
    """Return what tells the values of a column from others, for floats up to the last digits.

    The last digits of a sine depend on the processor, so that numbers are summed: once with equal
    weights, once with weights that notice another order.
    """
    array = column.combine_chunks()
    lengths = b""
    if pa.types.is_list(array.type):
        lengths = np.diff(array.offsets.to_numpy()).astype("<i4").tobytes()
        array = array.flatten()
    if not pa.types.is_floating(array.type):
        values = json.dumps(array.to_pylist()).encode()
        return {"sha256": hashlib.sha256(lengths + values).hexdigest()}
    numbers = array.to_numpy().astype(np.float64)
    return {
        "sha256": hashlib.sha256(lengths).hexdigest(),
        "size": float(np.abs(numbers).sum()),
        "sum": float(numbers.sum()),
        "weighted": float((numbers * np.cos(np.arange(len(numbers)))).sum()),
    }


def describe(table: pa.Table) -> dict[str, dict]:
    """Return what tells a table from others, by column."""
    return {name: describe_column(table[name]) for name in table.column_names}


def changed_columns(got: dict[str, dict], expected: dict[str, dict]) -> list[str]:
    """Return the columns that differ by more than rounding."""

    def same(name: str) -> bool:
        own, other = got.get(name), expected.get(name)
        if own is None or other is None or own["sha256"] != other["sha256"]:
            return False
        # Where τ_N has several minima, rounding may decide between them.
        precision = 1e-4 if "tau" in name else 1e-6
        return all(
            abs(own[kind] - other[kind]) <= precision * other["size"]
            for kind in ("size", "sum", "weighted")
            if kind in other
        )

    return [name for name in dict.fromkeys((*expected, *got)) if not same(name)]


def main() -> None:
    known = json.loads(FILE.read_text()) if FILE.exists() else {}
    for name in INPUTS:
        version = get_product(name).version
        columns = describe(rows_of(name, Path(sys.argv[1])))
        old = known.get(name)
        if old is None or version > old["version"]:
            known[name] = {"version": version, "columns": columns}
        elif changed := changed_columns(columns, old["columns"]):
            sys.exit(f"{name}: raise its version first; changed: {', '.join(changed)}")
    FILE.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
