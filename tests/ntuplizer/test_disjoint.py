"""Datasets that share a batch of events are found by their ledgers."""

import json
import shutil

import pytest
from jet_tables import JETS, OPTIONS, SCHEMA, jet_table

from ntuplizer.cli import main
from ntuplizer.disjoint import shared_batches
from ntuplizer.shards import describe, write_tables
from provenance.errors import UserError
from provenance.ledger import SEAL
from provenance.seal import sealed


def make(folder, keys):
    """Write a dataset of a shard per list of keys: the splits in turn."""
    for number, own in enumerate(keys):
        rows = folder / "scratch" / f"{number}.parquet"
        write_tables(rows, [jet_table(20, number)], SCHEMA, lambda: describe(JETS, OPTIONS))
        shard = folder / f"A_{number:04d}.parquet"
        main(
            ["shard", str(rows), "--rows", "15", "--dataset", "d", "--seed", "1", "--part", "A",
             "--index", str(number), "--split", ("train", "val")[number], "--output", str(shard)]
        )  # fmt: skip
        ledger = shard.with_name(f"{shard.name}.json")
        batches = [{"process": "qcd", "batch": i, "key": key} for i, key in enumerate(own)]
        content = json.loads(ledger.read_text()) | {"batches": batches}
        del content[SEAL]
        ledger.write_text(json.dumps(sealed(content, SEAL)))
    main(["manifest", str(folder), "--name", "d", "--seed", "1",
          "--output", str(folder / "manifest.json")])  # fmt: skip
    return folder


def test_batches_that_are_shared_are_counted(tmp_path):
    first = make(tmp_path / "first", [["a", "b"], ["c"]])
    second = make(tmp_path / "second", [["d"], ["b", "c", "e"]])
    assert shared_batches([first]) == []
    # A dataset is not compared with itself.
    assert shared_batches([first, first / "manifest.json"]) == []
    assert shared_batches([first, second]) == [
        f"1 batches of events are shared by {first} (train) and {second} (val)",
        f"1 batches of events are shared by {first} (val) and {second} (val)",
    ]
    within = make(tmp_path / "within", [["x"], ["x"]])
    assert len(shared_batches([within])) == 1
    with pytest.raises(UserError, match="datasets share events"):
        main(["disjoint", str(first), str(second)])
    (shutil.copytree(first, tmp_path / "copy") / "A_0001.parquet.json").unlink()
    with pytest.raises(UserError, match=r"A_0001\.parquet\.json"):
        shared_batches([tmp_path / "copy"])
