"""Paths and splits."""

from collections import Counter

import pytest

from workflow.paths import split_of


@pytest.mark.parametrize(
    ("shards", "expected"),
    [(6, (4, 1, 1)), (300, (200, 50, 50)), (1290, (860, 215, 215)), (420, (280, 70, 70))],
)
def test_splits_are_four_to_one_to_one_by_range(shards, expected):
    splits = [split_of(index, shards) for index in range(shards)]
    counts = Counter(splits)
    assert (counts["train"], counts["val"], counts["test"]) == expected
    assert splits == sorted(splits, key=["train", "val", "test"].index)


def test_a_shard_beyond_the_last_is_refused():
    with pytest.raises(ValueError, match="beyond the last"):
        split_of(6, 6)
