"""Delphes event files made for a test: selections and alterations of real ones."""

from pathlib import Path

import awkward as ak
import numpy as np
import uproot

from ntuplizer.delphes import TREE, Batch, read_events
from ntuplizer.jets import OPTIONAL_BRANCHES, JetSelection

BRANCHES = JetSelection().branches | OPTIONAL_BRANCHES


def read_batch(path: Path, n_events: int) -> Batch:
    """Read the first events of a file with everything that jets need."""
    batch = next(read_events(path, BRANCHES))
    chosen = np.arange(len(batch["Particle"].offsets) - 1) < n_events
    return {branch: collection.select(chosen) for branch, collection in batch.items()}


def write_events(
    path: Path,
    batch: Batch,
    compression: uproot.compression.Compression | None = None,
    times: int = 1,
) -> Path:
    """Write a batch as an event file, readable as Delphes' own are, or several times so."""
    arrays = {
        f"{branch}.{leaf}": ak.unflatten(values, collection.counts)
        for branch, collection in batch.items()
        for leaf, values in collection.columns.items()
    }
    with uproot.recreate(path, compression=compression) as file:
        types = {name: f"var * {array.type.content.content}" for name, array in arrays.items()}
        tree = file.mktree(TREE, types)
        for _ in range(times if len(next(iter(arrays.values()))) else 0):
            tree.extend(arrays)
    return path
