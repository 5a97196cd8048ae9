"""Bad shards and manifests are named in one sentence."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ntuplizer.labels import LABELS
from provenance.errors import UserError
from training.data.shards import list_row_groups, list_shards, read_row_groups


@pytest.fixture
def shard(manifest):
    return manifest.parent / "QCD_0000.parquet"


def read(path):
    return read_row_groups(list_row_groups([(path, "QCD")]))


def test_flipped_bit(shard):
    data = bytearray(shard.read_bytes())
    data[2000] ^= 1
    shard.write_bytes(data)
    with pytest.raises(UserError, match=r"QCD_0000\.parquet: row group 0 cannot be read"):
        read(shard)


def test_truncated_file(shard):
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(UserError, match="not a readable Parquet file"):
        read(shard)


def test_missing_column(shard):
    table = pq.read_table(shard).drop_columns(["part_d0err"])
    pq.write_table(table, shard)
    with pytest.raises(UserError, match="has no column part_d0err"):
        read(shard)


def test_nan(shard):
    table = pq.read_table(shard)
    values = table["jet_sdmass"].to_numpy().copy()
    values[3] = np.nan
    index = table.column_names.index("jet_sdmass")
    table = table.set_column(index, "jet_sdmass", pa.array(values))
    pq.write_table(table, shard)
    with pytest.raises(UserError, match="column jet_sdmass holds NaN or infinity in row group 0"):
        read(shard)


def test_manifest_of_other_labels(manifest):
    content = json.loads(manifest.read_text())
    content["labels"] = content["labels"][:10]
    manifest.write_text(json.dumps(content))
    with pytest.raises(UserError, match="its 10 labels are not the 188"):
        list_shards(manifest, "train", LABELS)


def test_manifest_without_the_split(manifest):
    with pytest.raises(UserError, match="no file of the split 'nothing'"):
        list_shards(manifest, "nothing", LABELS)


def test_missing_shard(manifest, shard):
    shard.unlink()
    with pytest.raises(UserError, match="no such shard"):
        list_row_groups(list_shards(manifest, "train", LABELS))
