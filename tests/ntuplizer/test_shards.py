"""Shards: exact in number, shuffled, reproducible, checksummed."""

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from jet_tables import jet_table

from ntuplizer.labels import LABELS
from ntuplizer.schema import JET_SCHEMA
from ntuplizer.shards import (
    ROWS_PER_GROUP,
    ShardKey,
    class_counts,
    read_jets,
    read_metadata,
    write_shard,
    write_tables,
)
from provenance.errors import UserError

KEY = ShardKey("Res34P", 7, "train", 3)


def write(path, tables, n_jets, key=KEY):
    return write_shard(path, tables, n_jets, key, "hash", "dataset.max_events_per_shard")


def test_holds_the_first_jets_in_another_order(tmp_path):
    tables = [jet_table(30, 1), jet_table(40, 2), jet_table(50, 3)]
    write(tmp_path / "shard.parquet", tables, 100)
    shard = read_jets(tmp_path / "shard.parquet")
    first = pa.concat_tables(tables).slice(0, 100)
    assert shard.num_rows == 100
    assert not shard["jet_pt"].equals(first["jet_pt"])
    order = [("jet_pt", "ascending")]
    assert shard.sort_by(order).equals(first.sort_by(order).combine_chunks())


def test_reads_no_more_tables_than_needed(tmp_path):
    def tables():
        yield jet_table(60, 1)
        yield jet_table(60, 2)
        raise AssertionError("a third step was asked for")

    write(tmp_path / "shard.parquet", tables(), 120)


def test_bytes_depend_on_name_and_seed_alone(tmp_path):
    tables = [jet_table(50, 1)]
    content = {}
    others = {
        "same": KEY,
        "index": ShardKey("Res34P", 8, "train", 3),
        "part": ShardKey("Res2P", 7, "train", 3),
        "seed": ShardKey("Res34P", 7, "train", 4),
    }
    write(tmp_path / "first.parquet", tables, 50)
    for name, key in others.items():
        write(tmp_path / f"{name}.parquet", tables, 50, key)
        content[name] = (tmp_path / f"{name}.parquet").read_bytes()
    assert content["same"] == (tmp_path / "first.parquet").read_bytes()
    orders = {tuple(pq.read_table(tmp_path / f"{n}.parquet")["jet_pt"].to_pylist()) for n in others}
    assert len(orders) == 4


def test_splitting_of_the_input_does_not_matter(tmp_path):
    whole = jet_table(90, 1)
    write(tmp_path / "one.parquet", [whole], 80)
    write(tmp_path / "many.parquet", [whole.slice(i, 9) for i in range(0, 90, 9)], 80)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "many.parquet").read_bytes()


def test_too_few_jets(tmp_path):
    with pytest.raises(UserError, match=r"only 50 of 51 jets .* raise dataset\.max_events"):
        write(tmp_path / "shard.parquet", [jet_table(50, 1)], 51)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [("", 0, "train", 1), ("Ä", 0, "train", 1), ("QCD", -1, "train", 1), ("QCD", 0, "dev", 1)],
)
def test_names_that_cannot_be(arguments):
    with pytest.raises(UserError):
        ShardKey(*arguments)


def test_metadata_and_format(tmp_path):
    write(tmp_path / "shard.parquet", [jet_table(50, 1)], 50)
    metadata = read_metadata(tmp_path / "shard.parquet")
    assert {key: metadata[key] for key in ("part", "index", "split", "seed", "jets")} == {
        "part": "Res34P", "index": 7, "split": "train", "seed": 3, "jets": 50,
    }  # fmt: skip
    assert metadata["labels"] == list(LABELS)
    assert metadata["config_sha256"] == "hash"
    assert "pyarrow" in metadata["versions"]
    file = pq.ParquetFile(tmp_path / "shard.parquet")
    assert file.schema_arrow.equals(JET_SCHEMA)
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"


def test_row_groups_have_the_same_size(tmp_path):
    tables = [jet_table(n, n) for n in (3, ROWS_PER_GROUP, 1, ROWS_PER_GROUP - 2, 5)]
    write_tables(tmp_path / "jets.parquet", tables, JET_SCHEMA, dict)
    file = pq.ParquetFile(tmp_path / "jets.parquet")
    sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert sizes == [ROWS_PER_GROUP, ROWS_PER_GROUP, 7]
    assert file.read().equals(pa.concat_tables(tables).combine_chunks())


def test_a_flipped_bit_is_noticed(tmp_path):
    write(tmp_path / "shard.parquet", [jet_table(200, 1)], 200)
    content = bytearray((tmp_path / "shard.parquet").read_bytes())
    for place in range(100, len(content) // 2, 997):
        damaged = bytearray(content)
        damaged[place] ^= 16
        (tmp_path / "damaged.parquet").write_bytes(damaged)
        with pytest.raises(UserError, match=r"damaged\.parquet"):
            read_jets(tmp_path / "damaged.parquet")


def test_class_counts():
    table = jet_table(500, 1)
    counts = class_counts(table)
    assert sum(counts.values()) == 500
    bb = pc.sum(pc.equal(table["jet_label"], 0)).as_py()
    assert counts.get("X_bb", 0) == bb
    assert list(counts) == [label for label in LABELS if label in counts]


def test_other_columns_are_refused(tmp_path):
    pq.write_table(pa.table({"jet_pt": [1.0]}), tmp_path / "other.parquet")
    with pytest.raises(UserError, match="columns"):
        read_jets(tmp_path / "other.parquet")
    with pytest.raises(UserError, match="no metadata"):
        read_metadata(tmp_path / "other.parquet")
    with pytest.raises(UserError, match="no such"):
        read_jets(tmp_path / "missing.parquet")
    (tmp_path / "text.parquet").write_text("no Parquet")
    with pytest.raises(UserError, match="not a readable Parquet file"):
        read_metadata(tmp_path / "text.parquet")
