"""Rows of training from Parquet."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.gpu.settings import Row, Settings
from benchmarks.part import synthetic_batch
from training.jets.features import JET_FLOATS, PARTICLE_CODES, PARTICLE_FLOATS


def write_shard(path: Path, jets: int) -> None:
    """Write synthetic jets as a shard: the columns that training reads, as the ntuplizer does."""
    batch = synthetic_batch(jets, np.random.default_rng(3))
    mask = batch["mask"].numpy()
    px, py, pz, energy = batch["vectors"].numpy()[mask].T
    offsets = pa.array(np.concatenate(([0], mask.sum(1).cumsum())), pa.int32())
    rng = np.random.default_rng(4)
    size = len(px)
    values: dict[str, np.ndarray] = {
        "part_px": px, "part_py": py, "part_pz": pz, "part_energy": energy,
        "part_deta": np.arcsinh(pz / np.hypot(px, py)), "part_dphi": np.arctan2(py, px),
    }  # fmt: skip
    for name in PARTICLE_FLOATS:
        values.setdefault(name, np.abs(rng.normal(0, 0.1, size)))
    for name in PARTICLE_CODES:
        values[name] = rng.integers(0, 2, size).astype(np.int8)
    columns: dict[str, Any] = {}
    for name in (*PARTICLE_FLOATS, *PARTICLE_CODES):
        numbers = values[name] if name in PARTICLE_CODES else values[name].astype(np.float32)
        columns[name] = pa.ListArray.from_arrays(offsets, pa.array(numbers))
    for name in JET_FLOATS:
        columns[name] = rng.uniform(200, 400, jets).astype(np.float32)
    columns["jet_label"] = batch["label"].numpy().astype(np.int32)
    table = pa.table(columns)
    pq.write_table(
        table,
        path,
        compression="zstd",
        row_group_size=10_000,
        use_dictionary=False,
        write_page_checksum=True,
    )


class Parquet:
    """Training from shards that the script writes; the one place that knows `training`'s loader."""

    def __init__(self, settings: Settings, folder: Path):
        from benchmarks.end_to_end import write_manifest

        self.settings, self.folder = settings, folder
        self.jets = 200 if settings.quick else 20_000
        write_shard(folder / "jets_0.parquet", self.jets)
        copies = 4 if settings.quick else 16
        shards = [(folder / f"jets_{i}.parquet", "jets") for i in range(copies)]
        for path, _ in shards[1:]:
            shutil.copyfile(shards[0][0], path)
        self.manifest = write_manifest(shards, folder)

    def _data(self, batch_size: int, workers: int, steps: int) -> tuple[Any, Any]:
        from benchmarks.end_to_end import CONFIG
        from training.config import load_config
        from training.data.loaders import TrainingData
        from training.data.shards import open_dataset
        from training.tasks.sophon.task import Sophon

        changes = {
            "epochs": 2,
            "run.devices": 1,
            "run.accelerator": "gpu" if self.settings.device.type == "cuda" else "cpu",
            "data.batch_size": batch_size,
            "data.workers": workers,
            "data.rows_per_epoch": steps * batch_size,
            "data.validation_rows": batch_size,
        }
        config = load_config(CONFIG, [f"{key}={value}" for key, value in changes.items()])
        reader = Sophon(config).reader
        return config, TrainingData(open_dataset(self.manifest, config, reader), reader, config)

    def loader(self, batch_size: int, workers: int) -> Row:
        """Measure the loader alone, transfers included."""
        from benchmarks.end_to_end import loader_rate

        warm_up, measured = (1, 2) if self.settings.quick else (40, 20 * max(workers, 4))
        _, data = self._data(batch_size, workers, warm_up + measured)
        return {"rows_per_second": loader_rate(data, warm_up, measured, self.settings.device)}

    def training(self, batch_size: int, workers: int, turn: Callable[[], None]) -> Row:
        """Measure a training as `fit` runs it, after an epoch in which kernels are compiled.

        `turn` is called when that one is over, and may wait.
        """
        from benchmarks.end_to_end import end_to_end_rate

        config, data = self._data(batch_size, workers, 2 if self.settings.quick else 120)
        device = self.settings.device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        row: Row = {"rows_per_second": end_to_end_rate(config, data, self.folder, turn)}
        row["milliseconds"] = 1e3 * batch_size / row["rows_per_second"]
        if device.type == "cuda":
            row["peak_gib"] = torch.cuda.max_memory_allocated(device) / 2**30
        return row
