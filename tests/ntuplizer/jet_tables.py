"""Jet tables of random values, for tests of files that do not care about physics."""

import numpy as np
import pyarrow as pa

from ntuplizer.products import get_product
from ntuplizer.schema import tabulate

JETS = get_product("jets")
OPTIONS = JETS.Options()
SCHEMA = JETS.schema(OPTIONS)


def jet_table(n_jets: int, seed: int) -> pa.Table:
    """Return `n_jets` rows of the product `jets` with lists of 0 to 4 items."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 5, n_jets)
    offsets = np.concatenate(([0], np.cumsum(counts)))
    columns = {}
    for field in SCHEMA:
        is_list = pa.types.is_list(field.type)
        n_values = offsets[-1] if is_list else n_jets
        values = rng.integers(0, 188, n_values)
        if "float" in str(field.type):
            values = rng.normal(size=n_values)
        columns[field.name] = (offsets, values) if is_list else values
    return tabulate(columns, SCHEMA)
