"""From an event file to all rows of a product at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from ntuplizer.counts import Counts
from ntuplizer.products import get_product
from ntuplizer.sources import delphes


def ntuplize(
    path: str | Path, product: str, options: Mapping[str, Any] | None = None
) -> tuple[pa.Table, Counts]:
    """Make the rows of a Delphes event file.

    Parameters
    ----------
    path
        A Delphes event file.
    product
        Name of the product.
    options
        Its options, those that differ from their defaults.

    Returns
    -------
    table : pyarrow.Table
        The rows, in the order of the events.
    counts : Counts
        What was read, lost and kept.

    Raises
    ------
    UserError
        When the file cannot be read (see `ntuplizer.sources.delphes.batches`), or the product or an
        option does not exist.
    """
    kind, counts = get_product(product), Counts()
    checked = kind.read_options(options or {})
    batches = delphes.batches(path, kind.branches(checked), kind.optional_branches(checked))
    tables = list(kind.tables(batches, checked, counts))
    empty = kind.schema(checked).empty_table()
    return pa.concat_tables([empty, *tables]).combine_chunks(), counts
