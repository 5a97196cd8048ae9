"""The shard job: exact size, the same bytes every time, one sentence when it cannot be filled."""

import subprocess
import sys
from collections import Counter
from itertools import islice
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from generation.pileup import build_library
from ntuplizer.schema import JET_SCHEMA
from provenance.errors import UserError
from provenance.files import read_json, sha256
from workflow.config_model import BATCHES_PER_SHARD, ROOT
from workflow.shard import ShardJob, batches_in_step, fill_shard, parse_shares, shard_batches


def test_shares_are_read():
    assert parse_shares(["res2p=4", "res2p_charged=3"]) == {"res2p": 4, "res2p_charged": 3}


@pytest.mark.parametrize("entry", ["qcd", "qcd=", "=3", "qcd=0", "qcd=-1", "qcd=1.5"])
def test_a_wrong_share_is_named(entry):
    with pytest.raises(UserError, match="expected NAME=SHARE"):
        parse_shares([entry])


def test_processes_alternate_in_proportion():
    batches = list(islice(shard_batches(2, {"a": 4, "b": 3}), 70))
    for stop in range(7, 71, 7):
        counts = Counter(process for process, _ in batches[:stop])
        assert (counts["a"], counts["b"]) == (stop // 7 * 4, stop // 7 * 3)
    assert [number for _, number in batches] == list(
        range(2 * BATCHES_PER_SHARD, 2 * BATCHES_PER_SHARD + 70)
    )


def test_shards_never_share_a_batch():
    numbers = [{n for _, n in shard_batches(index, {"a": 1})} for index in range(3)]
    assert not set.intersection(*numbers[:2]) | set.intersection(*numbers[1:])


def job(**changes) -> ShardJob:
    defaults = {
        "part": "Res2P", "index": 0, "split": "train",
        "processes": ("res2p=4", "res2p_charged=3"), "seed": 3,
        "card": ROOT / "delphes_cards" / "jetclass2_fatjet.tcl", "pileup": Path("minbias.arrow"),
        "events_per_batch": 10, "jet_radius": 0.8, "stored_parton_pt": 10.0, "qcd_labels": False,
        "jets": 20, "max_events": 200, "fingerprint": "f" * 64, "scratch": Path(),
        "output": Path("Res2P_0000.parquet"),
    }  # fmt: skip
    return ShardJob(**defaults | changes)


@pytest.mark.parametrize(
    ("events", "jets", "expected"),
    [
        (0, 0, 50),  # 1,000 jets at two jets per event
        (400, 200, 40),
        (1000, 995, 1),  # the last step is a single batch
        (1000, 1000, 0),  # full
        (3990, 10, 1),  # the limit cuts the step
        (4000, 10, 0),  # the limit
    ],
)
def test_steps_shrink_towards_the_end(events, jets, expected):
    asked = job(jets=1000, max_events=4000)
    assert batches_in_step(asked, events, jets) == expected


@pytest.fixture(scope="module")
def pileup(tmp_path_factory):
    path = tmp_path_factory.mktemp("pileup") / "minbias.arrow"
    build_library(path, 100, 3)
    return path


def test_shard_has_the_jets_asked_for_and_the_same_bytes_in_another_process(pileup, tmp_path):
    first = job(pileup=pileup, scratch=tmp_path, output=tmp_path / "a" / "Res2P_0000.parquet")
    fill_shard(first)
    file = pq.ParquetFile(first.output, page_checksum_verification=True)
    assert file.metadata.num_rows == 20
    assert file.schema_arrow.equals(JET_SCHEMA)
    ledger = read_json(f"{first.output}.json")
    assert ledger["jets_labelled"] - ledger["jets_left_over"] == ledger["rows"] == 20
    assert ledger["events_asked"] == ledger["events_generated"] == 10 * len(ledger["batches"])
    assert {batch["process"] for batch in ledger["batches"]} == {"res2p", "res2p_charged"}
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a"]

    second = tmp_path / "b" / "Res2P_0000.parquet"
    subprocess.run(
        [sys.executable, "-m", "workflow", "shard", "--part", "Res2P", "--index", "0",
         "--split", "train", "--processes", "res2p=4", "res2p_charged=3", "--seed", "3",
         "--card", first.card, "--pileup", pileup, "--events-per-batch", "10", "--jets", "20",
         "--max-events", "200", "--fingerprint", "f" * 64, "--scratch", tmp_path,
         "--output", second],
        check=True, capture_output=True,
    )  # fmt: skip
    assert sha256(second) == sha256(first.output)


def test_a_shard_that_cannot_be_filled_says_what_to_raise(pileup, tmp_path):
    short = job(
        pileup=pileup, scratch=tmp_path, jets=10_000, max_events=20, output=tmp_path / "x.parquet"
    )
    with pytest.raises(UserError, match=r"only \d+ of 10000 jets .* dataset.max_events_per_shard"):
        fill_shard(short)
    assert not list(tmp_path.iterdir())
