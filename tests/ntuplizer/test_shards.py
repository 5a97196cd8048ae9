"""Shards: exact in number, shuffled, reproducible, checksummed."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from jet_tables import JETS, OPTIONS, SCHEMA, jet_table

from ntuplizer.labels import LABELS
from ntuplizer.products import count_classes
from ntuplizer.shards import (
    ROWS_PER_GROUP,
    ShardKey,
    describe,
    read_metadata,
    read_table,
    read_tables,
    write_shard,
    write_tables,
)
from provenance.errors import UserError
from provenance.ledger import write_ledger

KEY = ShardKey("jets", "Res34P", 7, "train", 3)


def write(path, tables, rows, key=KEY):
    return write_shard(path, tables, rows, key, JETS, OPTIONS, "hash", "max_events_per_shard")


def test_holds_the_first_jets_in_another_order(tmp_path):
    tables = [jet_table(30, 1), jet_table(40, 2), jet_table(50, 3)]
    write(tmp_path / "shard.parquet", tables, 100)
    shard = read_table(tmp_path / "shard.parquet")
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
        "dataset": replace(KEY, dataset="jets2"),
        "index": replace(KEY, index=8),
        "part": replace(KEY, part="Res2P"),
        "seed": replace(KEY, seed=4),
        "large seed": replace(KEY, seed=3 + (1 << 63)),
    }
    write(tmp_path / "first.parquet", tables, 50)
    for name, key in others.items():
        write(tmp_path / f"{name}.parquet", tables, 50, key)
        content[name] = (tmp_path / f"{name}.parquet").read_bytes()
    assert content["same"] == (tmp_path / "first.parquet").read_bytes()
    orders = {tuple(pq.read_table(tmp_path / f"{n}.parquet")["jet_pt"].to_pylist()) for n in others}
    assert len(orders) == len(others)


def test_splitting_of_the_input_does_not_matter(tmp_path):
    whole = jet_table(90, 1)
    write(tmp_path / "one.parquet", [whole], 80)
    write(tmp_path / "many.parquet", [whole.slice(i, 9) for i in range(0, 90, 9)], 80)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "many.parquet").read_bytes()


def test_too_few_jets(tmp_path):
    with pytest.raises(UserError, match=r"only 50 of 51 rows .* raise max_events_per_shard"):
        write(tmp_path / "shard.parquet", [jet_table(50, 1)], 51)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dataset", ""), ("dataset", "a b"), ("dataset", "x" * 65), ("part", ""), ("part", "Ä"),
        ("part", "2P"), ("part", "a" * 33), ("index", -1), ("split", "dev"), ("seed", -1),
        ("seed", 1 << 64),
    ],
)  # fmt: skip
def test_names_that_cannot_be(field, value):
    with pytest.raises(UserError):
        replace(KEY, **{field: value})


def test_names_at_the_limits():
    ShardKey("x" * 64, "a" * 32, 0, "test", (1 << 64) - 1).generator()


def test_no_two_names_share_an_order():
    """Names that run together the same way are still told apart."""
    keys = [("a", "b1", 2), ("a", "b", 12), ("ab", "a1", 2), ("a-b", "c", 1), ("a", "bc", 1)]
    orders = {
        tuple(ShardKey(dataset, part, index, "train", 1).generator().permutation(20))
        for dataset, part, index in keys
    }
    assert len(orders) == len(keys)


def test_metadata_and_format(tmp_path):
    write(tmp_path / "shard.parquet", [jet_table(50, 1)], 50)
    metadata = read_metadata(tmp_path / "shard.parquet")
    assert metadata["key"] == {
        "dataset": "jets", "part": "Res34P", "index": 7, "split": "train", "seed": 3,
    }  # fmt: skip
    assert metadata["rows"] == 50
    assert (metadata["product"], metadata["product_version"]) == ("jets", JETS.version)
    assert metadata["options"] == OPTIONS.model_dump()
    assert metadata["labels"] == list(LABELS)
    assert metadata["identity"] == []
    assert metadata["fingerprint"] == "hash"
    assert "pyarrow" in metadata["versions"]
    file = pq.ParquetFile(tmp_path / "shard.parquet")
    assert file.schema_arrow.equals(SCHEMA)
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"


def test_row_groups_have_the_same_size(tmp_path):
    tables = [jet_table(n, n) for n in (3, ROWS_PER_GROUP, 1, ROWS_PER_GROUP - 2, 5)]
    write_tables(tmp_path / "jets.parquet", tables, SCHEMA, dict)
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
            read_table(tmp_path / "damaged.parquet")


def test_classes_are_counted():
    table = jet_table(500, 1)
    counts = count_classes(table, JETS.label(OPTIONS))
    assert sum(counts.values()) == 500
    bb = pc.sum(pc.equal(table["jet_label"], 0)).as_py()
    assert counts.get("X_bb", 0) == bb
    assert list(counts) == [label for label in LABELS if label in counts]


def test_files_that_are_no_rows_of_a_product(tmp_path):
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"jet_pt": [1.0]}), other)
    with pytest.raises(UserError, match="no metadata"):
        read_table(other)
    with pytest.raises(UserError, match="no such"):
        read_table(tmp_path / "missing.parquet")
    (tmp_path / "text.parquet").write_text("no Parquet")
    with pytest.raises(UserError, match="not a readable Parquet file"):
        read_table(tmp_path / "text.parquet")
    few = jet_table(5, 1).select(["jet_pt"])
    write_tables(other, [few], few.schema, lambda: describe(JETS, OPTIONS))
    with pytest.raises(UserError, match="columns are not those of the product jets"):
        read_table(other)
    for changed, words in (
        ({"product": "muons"}, "no product 'muons'"),
        ({"options": {"jet_width": 1}}, "option jet_width"),
        ({"options": None}, "do not name a product"),
    ):
        write_tables(other, [], SCHEMA, lambda own=changed: describe(JETS, OPTIONS) | own)
        with pytest.raises(UserError, match=words):
            read_table(other)


def test_a_file_of_another_product(tmp_path):
    write(tmp_path / "shard.parquet", [jet_table(50, 1)], 50)
    assert read_table(tmp_path / "shard.parquet", "jets").num_rows == 50
    with pytest.raises(UserError, match="rows of the product jets, not energy"):
        read_table(tmp_path / "shard.parquet", "energy")


def test_files_made_otherwise_are_not_mixed(tmp_path):
    def make(name, **changed):
        metadata = describe(JETS, OPTIONS) | changed
        write_tables(tmp_path / name, [jet_table(5, 1)], SCHEMA, lambda: metadata)
        return tmp_path / name

    first, same = make("first.parquet"), make("same.parquet")
    product, options, tables = read_tables([first, same])
    assert (product, options) == (JETS, OPTIONS)
    assert sum(table.num_rows for table in tables) == 10
    wide = make("wide.parquet", options=JETS.read_options({"jet_radius": 1.5}).model_dump())
    with pytest.raises(UserError, match=r"wide\.parquet: made with another options than"):
        read_tables([first, wide])
    old = make("old.parquet", product_version=0)
    with pytest.raises(UserError, match=r"old\.parquet: made with another product_version"):
        read_tables([first, old])


def test_files_that_are_not_those_of_their_ledgers_are_refused(tmp_path):
    path = tmp_path / "rows.parquet"
    write_tables(path, [jet_table(5, 1)], SCHEMA, lambda: describe(JETS, OPTIONS))
    write_ledger(path, 0.0)
    assert next(read_tables([path])[2]).num_rows == 5
    write_tables(path, [jet_table(5, 2)], SCHEMA, lambda: describe(JETS, OPTIONS))
    with pytest.raises(UserError, match=r"rows\.parquet: damaged, or changed since its ledger"):
        read_tables([path])
