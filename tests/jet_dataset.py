"""A dataset of jets drawn at random that a network can take, made by the command line."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from random_jets import random_jet

from ntuplizer.cli import main
from ntuplizer.products import get_product
from ntuplizer.schema import tabulate
from ntuplizer.shards import describe, write_tables

JETS = get_product("jets")
OPTIONS = JETS.Options()
SCHEMA = JETS.schema(OPTIONS)


def sensible_jets(rows: int, seed: int) -> pa.Table:
    """Return jets whose constituents and kinematics make sense, and nothing else of whose does."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(3, 30, rows)
    offsets = np.concatenate(([0], np.cumsum(counts)))
    momenta = np.concatenate([random_jet(rng, n) for n in counts])
    values = {f"part_{name}": momenta[:, i] for i, name in enumerate(("px", "py", "pz", "energy"))}
    values |= {"jet_pt": rng.uniform(250, 1500, rows), "jet_sdmass": rng.uniform(30, 400, rows)}
    values |= {"jet_energy": values["jet_pt"] * 1.2, "jet_label": rng.integers(0, 188, rows)}
    values["part_charge"] = rng.integers(-1, 2, offsets[-1])
    columns = {}
    for field in SCHEMA:
        is_list = pa.types.is_list(field.type)
        drawn = np.abs(rng.normal(size=offsets[-1] if is_list else rows))
        column = values.get(field.name, drawn)
        columns[field.name] = (offsets, column) if is_list else column
    return tabulate(columns, SCHEMA)


def write_jet_dataset(folder: Path, splits: Sequence[str], rows: int) -> Path:
    """Write a shard for each of `splits`, `QCD_0000.parquet` and so on, and their manifest."""
    for index, split in enumerate(splits):
        jets = folder.parent / f"{index}.parquet"
        write_tables(jets, [sensible_jets(rows, index)], SCHEMA, lambda: describe(JETS, OPTIONS))
        main(
            ["shard", str(jets), f"--rows={rows}", "--dataset=jets", "--seed=5", "--part=QCD",
             f"--index={index}", f"--split={split}", f"--output={folder}/QCD_{index:04d}.parquet"]
        )  # fmt: skip
    main(["manifest", str(folder), "--name=jets", "--seed=5", f"--output={folder}/manifest.json"])
    return folder
