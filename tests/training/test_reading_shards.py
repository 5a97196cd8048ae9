"""Bad shards and manifests are named in one sentence."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from provenance.errors import UserError
from training.config import load_config
from training.data.shards import list_row_groups, open_dataset, read_dataset
from training.jets.config import JetDataConfig
from training.jets.reader import JetReader

READER = JetReader(JetDataConfig())


@pytest.fixture
def shard(manifest):
    return manifest.parent / "QCD_0000.parquet"


def read(path):
    return READER.read(list_row_groups([(path, "QCD")], READER))


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
    with pytest.raises(UserError, match=r"column jet_sdmass holds NaN or infinity in row 3$"):
        read(shard)


def replaced(shard, name, values):
    table = pq.read_table(shard)
    pq.write_table(table.set_column(table.column_names.index(name), name, values(table)), shard)


def test_constituents_of_unequal_number(shard):
    replaced(
        shard, "part_dzerr", lambda table: pa.array([[0.1]] * len(table), pa.list_(pa.float32()))
    )
    with pytest.raises(
        UserError, match=r"part_px and part_dzerr differ in length, \d+ and 1, in row 0$"
    ):
        read(shard)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("part_px", "a list"), ("jet_pt", "a number"), ("jet_label", "an integer")],
)
def test_column_of_another_kind(shard, name, wanted):
    replaced(shard, name, lambda table: pa.array(["text"] * len(table)))
    with pytest.raises(UserError, match=f"column {name} is string, where {wanted} per row"):
        read(shard)


def test_label_out_of_range(shard):
    replaced(shard, "jet_label", lambda table: pa.array([188] * len(table), pa.int32()))
    with pytest.raises(
        UserError, match="jet_label holds 188 in row 0, where an index of the 188 classes"
    ):
        read(shard)


def test_manifest_of_other_labels(manifest):
    content = json.loads(manifest.read_text())
    content["labels"] = content["labels"][:10]
    manifest.write_text(json.dumps(content))
    with pytest.raises(UserError, match="its 10 labels are not the 188"):
        open_dataset(manifest, load_config('{"task": "sophon"}'), READER)


def test_manifest_without_the_split(manifest):
    with pytest.raises(UserError, match="no file of the split 'nothing'"):
        read_dataset(manifest).shards("nothing")


@pytest.mark.parametrize("missing", ["files", "product"])
def test_a_file_that_is_no_manifest(manifest, missing):
    content = json.loads(manifest.read_text())
    del content[missing]
    manifest.write_text(json.dumps(content))
    with pytest.raises(UserError, match="not a dataset manifest"):
        read_dataset(manifest)


def test_a_dataset_is_known_by_its_hash_or_by_that_of_its_manifest(manifest):
    assert read_dataset(manifest).sha256 == "5eed" * 16
    content = json.loads(manifest.read_text())
    del content["dataset_sha256"]
    manifest.write_text(json.dumps(content))
    own = read_dataset(manifest).sha256
    manifest.write_text(json.dumps(content | {"name": "other"}))
    assert len(own) == 64
    assert own != read_dataset(manifest).sha256


def test_without_the_truth_its_column_may_be_missing(shard):
    pq.write_table(pq.read_table(shard).drop_columns(["jet_label"]), shard)
    with pytest.raises(UserError, match="has no column jet_label, which is the truth"):
        read(shard)
    jets = READER.read(list_row_groups([(shard, "QCD")], READER, truth=False), truth=False)
    assert "label" not in READER.collate(jets, np.arange(len(jets)))


def test_missing_shard(manifest, shard):
    shard.unlink()
    with pytest.raises(UserError, match="no such shard"):
        list_row_groups(read_dataset(manifest).shards("train"), READER)
