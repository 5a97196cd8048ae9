"""The shard job: exact size, the same bytes every time, one sentence when it cannot be filled."""

import subprocess
import sys
from collections import Counter
from itertools import islice

import numpy as np
import pyarrow.parquet as pq
import pytest

from generation.pileup import build_library
from ntuplizer.products import get_product
from provenance.errors import UserError
from provenance.files import read_json, sha256
from workflow.config_model import BATCHES_PER_SHARD
from workflow.jobs import batches
from workflow.jobs.batches import shard_batches
from workflow.jobs.description import ShardJob
from workflow.jobs.embedded import EmbeddedEvents
from workflow.jobs.shard import fill_shard


def test_processes_alternate_in_proportion():
    drawn = list(islice(shard_batches(2, {"a": 4, "b": 3}), 70))
    for stop in range(7, 71, 7):
        counts = Counter(process for process, _ in drawn[:stop])
        assert (counts["a"], counts["b"]) == (stop // 7 * 4, stop // 7 * 3)
    assert [number for _, number in drawn] == list(
        range(2 * BATCHES_PER_SHARD, 2 * BATCHES_PER_SHARD + 70)
    )


def test_shards_never_share_a_batch():
    numbers = [{n for _, n in shard_batches(index, {"a": 1})} for index in range(3)]
    assert not set.intersection(*numbers[:2]) | set.intersection(*numbers[1:])


def job(**changes) -> ShardJob:
    defaults = {
        "dataset": "jets", "part": "Res2P", "index": 0, "split": "train", "product": "jets",
        "options": {}, "processes": {"res2p": 4, "res2p_charged": 3}, "seed": 3,
        "card": "delphes_cards/jetclass2_fatjet.tcl", "events_per_batch": 10, "rows": 20,
        "inputs": {},
    }  # fmt: skip
    return ShardJob(**defaults | changes)


@pytest.fixture(scope="module")
def pileup(tmp_path_factory):
    path = tmp_path_factory.mktemp("pileup") / "minbias.arrow"
    build_library(path, 100, 3)
    return path


def test_shard_has_the_rows_asked_for_and_the_same_bytes_in_another_process(pileup, tmp_path):
    one = job()
    first = tmp_path / "a" / "Res2P_0000.parquet"
    fill_shard(one, EmbeddedEvents(one, pileup), first)
    file = pq.ParquetFile(first, page_checksum_verification=True)
    assert file.metadata.num_rows == 20
    jets = get_product("jets")
    assert file.schema_arrow.equals(jets.schema(jets.Options()))
    ledger = read_json(f"{first}.json")
    assert ledger["rows_made"] - ledger["rows_left_over"] == ledger["rows"] == 20
    assert ledger["events_asked"] == ledger["events_generated"] == 10 * len(ledger["batches"])
    assert {batch["process"] for batch in ledger["batches"]} == {"res2p", "res2p_charged"}
    assert (ledger["job"], ledger["fingerprint"]) == (one.model_dump(), one.fingerprint)
    # Without the last batch it would not be full.
    assert ledger["rows_left_over"] < 20

    second = tmp_path / "b" / "Res2P_0000.parquet"
    subprocess.run(
        [sys.executable, "-m", "workflow", "shard", "--job", one.text, "--pileup", pileup,
         "--output", second],
        check=True, capture_output=True,
    )  # fmt: skip
    assert sha256(second) == sha256(first)


def test_a_second_simulation_of_the_detector_changes_no_first_one(pileup, tmp_path):
    """Of the same events, both differ by the resolution, and by no more."""
    rows = {}
    for again in (False, True):
        one = job(
            product="events", card="delphes_cards/jetclass2_event.tcl", processes={"ttbar": 1},
            options={"b_jets_min": 0, "light_jets_min": 0, "again": again}, events_per_batch=25,
        )  # fmt: skip
        path = tmp_path / f"{again}.parquet"
        fill_shard(one, EmbeddedEvents(one, pileup), path)
        table = pq.read_table(path).sort_by([("batch", "ascending"), ("event", "ascending")])
        rows[again] = table.to_pandas().set_index(["batch", "event"])
    common = rows[False].index.intersection(rows[True].index)
    assert len(common) > 10
    assert rows[False].loc[common].equals(rows[True].loc[common, rows[False].columns])
    both = rows[True]
    ratio = both["lepton_again_pt"] / both["lepton_pt"]
    assert (ratio != 1).all()
    assert ((ratio - 1).abs() < 0.15).mean() > 0.8
    assert np.corrcoef(both["met_pt"], both["met_again_pt"])[0, 1] > 0.7


def test_a_shard_that_cannot_be_filled_says_so(pileup, tmp_path, monkeypatch):
    monkeypatch.setattr(batches, "BATCHES_PER_SHARD", 2)
    short = job(rows=10_000)
    with pytest.raises(UserError, match=r"only \d+ of 10000 .* datasets\.jets\.parts\.Res2P"):
        fill_shard(short, EmbeddedEvents(short, pileup), tmp_path / "x.parquet")
    assert not list(tmp_path.iterdir())
