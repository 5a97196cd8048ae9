"""Delphes event files made for a test: selections and alterations of real ones."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import uproot

from ntuplizer.batch import Collection, EventBatch, simulated_identity
from ntuplizer.counts import Counts
from ntuplizer.products import get_product
from ntuplizer.sources import delphes

JETS = get_product("jets")
BRANCHES = JETS.branches(JETS.Options()) | JETS.optional_branches(JETS.Options())


def read_batch(path: Path, n_events: int) -> dict[str, Collection]:
    """Read the first events of a file with everything that jets need."""
    batch = next(delphes.batches(path, BRANCHES))
    return dict(batch.select(np.arange(batch.n_events) < n_events).collections)


def as_batch(collections: Mapping[str, Collection]) -> EventBatch:
    """Return collections as the events of a simulated batch."""
    n_events = len(collections["Particle"].offsets) - 1
    return EventBatch(collections, simulated_identity("test", 0, n_events), "test")


def energy_rows(
    path: Path,
    values: Mapping[str, Any] | None = None,
    alter: Callable[[Collection], Collection] = lambda vertices: vertices,
) -> tuple[pa.Table, Counts]:
    """Make rows of the product `energy` of a file whose card found no vertices.

    The true interactions stand for reconstructed vertices: the first is the hard one in both.
    `alter` changes what the branch `Vertex` holds.
    """
    product, counts = get_product("energy"), Counts()
    options = product.read_options(values or {})
    optional = dict(product.optional_branches(options))
    optional["Vertex"] = optional.pop("ReconstructedVertex")
    tables = []
    for batch in delphes.batches(path, product.branches(options), optional):
        more = {"ReconstructedVertex": batch["Vertex"], "Vertex": alter(batch["Vertex"])}
        whole = replace(batch, collections={**batch.collections, **more})
        tables.append(product.rows(whole, options, counts))
    return pa.concat_tables(tables).combine_chunks(), counts


def write_events(
    path: Path,
    collections: Mapping[str, Collection],
    compression: uproot.compression.Compression | None = None,
    times: int = 1,
) -> Path:
    """Write events as a file, readable as Delphes' own are, or several times so."""
    arrays = {
        f"{branch}.{leaf}": ak.unflatten(values, collection.counts)
        for branch, collection in collections.items()
        for leaf, values in collection.columns.items()
    }
    with uproot.recreate(path, compression=compression) as file:
        types = {name: f"var * {array.type.content.content}" for name, array in arrays.items()}
        tree = file.mktree(delphes.TREE, types)
        for _ in range(times if len(next(iter(arrays.values()))) else 0):
            tree.extend(arrays)
    return path
