"""What the numbers of a column can be: nothing else reaches a network."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from provenance.errors import UserError
from training.data.reader import RowGroup

Limits = tuple[float, float]

# Nothing at a collider carries as much, GeV; sums of squares of larger numbers leave float32.
ENERGY_LIMIT = 1e6
# Of everything that is measured in another unit.
NUMBER_LIMIT = 1e9
# Momenta are divided by those of their jet, GeV.
SMALLEST_JET = 1e-3
# By a column's name, or its last word.
LIMITS: dict[str, Limits] = {
    **dict.fromkeys(("jet_pt", "jet_energy"), (SMALLEST_JET, ENERGY_LIMIT)),
    **dict.fromkeys(("energy", "pt", "ptnu"), (0.0, ENERGY_LIMIT)),
    **dict.fromkeys(("px", "py", "pz", "mass", "sdmass"), (-ENERGY_LIMIT, ENERGY_LIMIT)),
    "charge": (-1.0, 1.0),
}
FLAG, FLAG_LIMITS = "is", (0.0, 1.0)


def check_values(group: RowGroup, table: pa.Table) -> None:
    """Refuse what the columns of a row group cannot hold.

    Parameters
    ----------
    group
        Where the table is from, for the sentence.
    table
        All rows of the row group; a text per row is let through.

    Raises
    ------
    UserError
        For a null, NaN, infinity or a number outside of `LIMITS`, and where the lists of a row that
        begin with the same word differ in length; names file, column and row of the file.
    """
    lengths: dict[str, tuple[str, np.ndarray]] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        array = column.combine_chunks()
        if array.null_count:
            raise _wrong(group, name, int(np.argmax(array.is_null())), "nothing")
        if not _is_list(array.type):
            _check_numbers(group, name, array, None)
            continue
        offsets = array.offsets.to_numpy()
        _check_numbers(group, name, array.flatten(), offsets - offsets[0])
        counts = np.diff(offsets)
        first, expected = lengths.setdefault(name.partition("_")[0], (name, counts))
        if counts is not expected and not np.array_equal(counts, expected):
            row = int(np.argmax(counts != expected))
            raise UserError(
                f"{group.path}: {first} and {name} differ in length, {expected[row]} and "
                f"{counts[row]}, in row {_first_row(group) + row}"
            )


def limits_of(name: str, values: np.ndarray) -> Limits:
    """Return the least and the largest that a column of numbers can hold."""
    word = name.rpartition("_")[2]
    for key in (name, word):
        if key in LIMITS:
            return LIMITS[key]
    if word.startswith(FLAG) and word[len(FLAG) :].istitle():
        return FLAG_LIMITS
    return (-np.inf, np.inf) if values.dtype.kind in "iu" else (-NUMBER_LIMIT, NUMBER_LIMIT)


def row_of(group: RowGroup, index: int) -> int:
    """Return the number in its file of a row that was read of a row group."""
    kept = index if group.kept is None else int(group.kept[index])
    return _first_row(group) + kept


def _check_numbers(group: RowGroup, name: str, array: pa.Array, offsets: np.ndarray | None) -> None:
    """Check values, (n,), with those of row i at `offsets[i]:offsets[i + 1]`, or one a row."""

    def row(index: int) -> int:
        return index if offsets is None else int(np.searchsorted(offsets, index, "right")) - 1

    if array.null_count:
        raise _wrong(group, name, row(int(np.argmax(array.is_null()))), "nothing")
    if offsets is None and (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
        return
    if pa.types.is_boolean(array.type) or not len(array):
        return
    if not (pa.types.is_integer(array.type) or pa.types.is_floating(array.type)):
        raise UserError(f"{group.path}: column {name} is {array.type}, where numbers are expected")
    values = array.to_numpy()
    low, high = limits_of(name, values)
    # False for NaN too.
    if low <= values.min() and values.max() <= high:
        return
    index = int(np.argmin((low <= values) & (values <= high)))
    value = values[index]
    if not np.isfinite(value):
        raise _wrong(group, name, row(index), "NaN or infinity")
    raise _wrong(group, name, row(index), f"{value:g}", f", where {low:g} to {high:g} is possible")


def _wrong(group: RowGroup, name: str, row: int, what: str, but: str = "") -> UserError:
    return UserError(
        f"{group.path}: column {name} holds {what} in row {_first_row(group) + row}{but}"
    )


def _is_list(found: pa.DataType) -> bool:
    return pa.types.is_list(found) or pa.types.is_large_list(found)


def _first_row(group: RowGroup) -> int:
    """Return the number in its file of a row group's first row."""
    metadata = pq.read_metadata(group.path)
    return sum(metadata.row_group(i).num_rows for i in range(group.index))
