"""Rows change only when the version of their product does."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from golden import FILE, INPUTS, changed_columns, describe, rows_of

from ntuplizer.products import get_product

GOLDEN = json.loads(FILE.read_text())


@pytest.mark.parametrize("name", INPUTS)
def test_rows_are_those_of_this_version(reference, name):
    """When this fails, raise `version` of the product and run `tests/ntuplizer/golden.py`."""
    folder = next(Path(reference(path)).parents[1] for path, _ in INPUTS[name])
    changed = changed_columns(describe(rows_of(name, folder)), GOLDEN[name]["columns"])
    assert not changed, f"these columns have changed: raise the version of the product {name}"
    assert get_product(name).version == GOLDEN[name]["version"], "run tests/ntuplizer/golden.py"


def test_changes_are_seen():
    rng = np.random.default_rng(1)
    values = rng.normal(50, 10, 1000).astype("f4")
    counts = rng.integers(0, 4, 1000)

    def lists(lengths: np.ndarray) -> pa.Array:
        offsets = pa.array(np.concatenate(([0], np.cumsum(lengths))), pa.int32())
        return pa.ListArray.from_arrays(offsets, pa.array(np.ones(lengths.sum(), "f4")))

    table = pa.table({"pt": values, "n": counts, "list": lists(counts)})
    known = describe(table)

    def seen(position: int, name: str, column: object) -> list[str]:
        return changed_columns(describe(table.set_column(position, name, column)), known)

    assert seen(0, "pt", table["pt"]) == []
    assert seen(0, "pt", pa.array(np.nextafter(values, np.float32(1e9)))) == []
    assert seen(0, "pt", pa.array(values * np.float32(1.00001))) == ["pt"]
    assert seen(0, "pt", pa.array(values[::-1])) == ["pt"]
    assert seen(0, "energy", table["pt"]) == ["pt", "energy"]
    assert seen(1, "n", pa.array(counts[::-1])) == ["n"]
    assert seen(2, "list", lists(counts[::-1])) == ["list"]
