"""Paths and splits."""

from collections import Counter

import pytest
import yaml

from provenance.files import write_json
from workflow.config_model import ROOT, load_config
from workflow.growth import refuse_moved_splits
from workflow.paths import Paths, split_of


@pytest.mark.parametrize(
    ("shards", "expected"),
    [(6, (4, 1, 1)), (300, (200, 50, 50)), (1290, (860, 215, 215)), (420, (280, 70, 70))],
)
def test_splits_are_four_to_one_to_one_by_range(shards, expected):
    splits = [split_of(index, (shards,)) for index in range(shards)]
    counts = Counter(splits)
    assert (counts["train"], counts["val"], counts["test"]) == expected
    assert splits == sorted(splits, key=["train", "val", "test"].index)


@pytest.mark.parametrize("grown", [(6, 6), (6, 12), (6, 6, 300)])
def test_growth_moves_no_shard(grown):
    before = [split_of(index, (6,)) for index in range(6)]
    after = [split_of(index, grown) for index in range(sum(grown))]
    assert after[:6] == before
    counts = Counter(after)
    assert counts["train"] == 4 * counts["val"] == 4 * counts["test"]


def test_a_shard_beyond_the_last_is_refused():
    with pytest.raises(ValueError, match="beyond the last"):
        split_of(12, (6, 6))


def test_a_number_that_would_move_shards_is_refused_before_any_job(tmp_path, monkeypatch):
    raw = yaml.safe_load((ROOT / "config" / "quickstart.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    config = load_config(raw)
    manifest = tmp_path / Paths(config).manifest.format(dataset="jets")
    files = [{"part": "QCD", "index": index, "split": split_of(index, (6,))} for index in range(6)]
    write_json(manifest, {"files": files})
    refuse_moved_splits(config, Paths(config))
    part = raw["datasets"]["jets"]["parts"]["QCD"]
    part["shards"] = [6, 12]
    refuse_moved_splits(load_config(raw), Paths(config))
    part["shards"] = 12
    with pytest.raises(SystemExit, match=r"QCD_0004 .* in the split val .* move it to train"):
        refuse_moved_splits(load_config(raw), Paths(config))
