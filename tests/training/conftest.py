"""A small dataset made of reference jets, for every training test."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matplotlib import pyplot as plt
from pretended_gpu import RefuseToWait

from ntuplizer.labels import LABELS

CONFIGS = Path(__file__).parents[2] / "training" / "configs"
SMALL = CONFIGS / "sophon-small.yaml"
# The smallest network that learns something, for tests of what is around it.
TINY = [
    "epochs=2",
    "model.embedding=[16,16]",
    "model.pair_embedding=[8]",
    "model.blocks=1",
    "model.head=[16]",
    "data.max_constituents=24",
]


def write_dataset(folder: Path, jets: dict[str, pa.Table], row_group_size: int = 40) -> Path:
    """Write six shards per part (train ×4, val, test) and their manifest; return its path."""
    files = []
    for part, table in jets.items():
        order = np.random.default_rng(0).permutation(len(table))
        for i, rows in enumerate(np.array_split(order, 6)):
            path = f"{part}_{i:04d}.parquet"
            pq.write_table(
                table.take(rows),
                folder / path,
                compression="zstd",
                row_group_size=row_group_size,
                write_page_checksum=True,
            )
            split = "train" if i < 4 else ("val", "test")[i - 4]
            files.append({"path": path, "part": part, "split": split, "rows": len(rows)})
    manifest = folder / "manifest.json"
    content = {"product": "jets", "dataset_sha256": "5eed" * 16, "labels": LABELS, "files": files}
    manifest.write_text(json.dumps({"format": 2, **content}))
    return manifest


@pytest.fixture
def jets(reference) -> dict[str, pa.Table]:
    """Tables of reference jets by part, about 700 jets."""
    files = {
        "Res2P": ["res2p_1", "res2pm_1"],
        "Res34P": ["res34p_1", "res34p_4"],
        "QCD": ["qcd_3"],
    }
    schema = pq.read_schema(reference("published/JetClassII_example.parquet")).remove_metadata()
    return {
        part: pa.concat_tables(
            pq.read_table(reference(f"delphes/{name}.ntuple.parquet"))
            .replace_schema_metadata(None)
            .cast(schema)
            for name in names
        )
        for part, names in files.items()
    }


@pytest.fixture
def manifest(tmp_path, jets) -> Path:
    """The manifest of a dataset of the reference jets."""
    folder = tmp_path / "dataset"
    folder.mkdir()
    return write_dataset(folder, jets)


def drawn_pixels(path: Path) -> int:
    """How many pixels of a figure have a colour, which axes and text have not."""
    image = plt.imread(path)[..., :3]
    return int((np.ptp(image, axis=2) > 0.1).sum())


@pytest.fixture
def refuse_to_wait():
    """What refuses to wait for a GPU, to be entered."""
    return RefuseToWait()
