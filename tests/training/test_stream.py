"""Order of the jets: every one, reproducible, resumable."""

from itertools import islice

import numpy as np
import pytest
import torch

from ntuplizer.labels import LABELS
from provenance.errors import UserError
from training.config import DataConfig
from training.data.module import TrainingLoader, evaluation_loader, loader_options
from training.data.shards import list_row_groups, list_shards, read_row_groups, selected
from training.data.stream import TrainingStream, interleave


@pytest.fixture
def groups(manifest):
    return list_row_groups(list_shards(manifest, "train", LABELS))


def settings(**changes) -> DataConfig:
    return DataConfig(**{"batch_size": 50, "workers": 0, "buffer_jets": 200, **changes})


def make_loader(groups, config, seed=5, rank=0, ranks=1) -> TrainingLoader:
    stream = TrainingStream(groups, config, None, seed=seed, rank=rank, ranks=ranks)
    return TrainingLoader(stream, **loader_options(config))


def keys(batches) -> list[list[float]]:
    return [batch["jet_pt"].tolist() for batch in batches]


def test_a_pass_holds_every_selected_jet_once(groups):
    jets = read_row_groups(groups)
    expected = np.sort(jets.pt[selected(jets, DataConfig().selection)])
    stream = make_loader(groups, settings())
    passed = []
    for batch in stream:
        if batch["cursor"][1] > 0:
            break
        passed.append(batch["jet_pt"])
    sizes = [len(pt) for pt in passed]
    assert min(sizes) > 10
    assert max(sizes) <= 50
    np.testing.assert_array_equal(np.sort(torch.cat(passed)), expected)


def test_order_follows_from_seed_and_differs_between_passes(groups):
    config = settings(workers=2)
    first = keys(islice(make_loader(groups, config), 30))
    assert first == keys(islice(make_loader(groups, config), 30))
    assert first != keys(islice(make_loader(groups, config, seed=6), 30))
    assert first[0] not in first[1:]


def test_devices_share_the_data_without_overlap(groups):
    config = settings()
    jets = read_row_groups(groups)
    expected = np.sort(jets.pt[selected(jets, config.selection)])
    seen = []
    for rank in range(2):
        for batch in make_loader(groups, config, rank=rank, ranks=2):
            if batch["cursor"][1] > 0:
                break
            seen.append(batch["jet_pt"])
    np.testing.assert_array_equal(np.sort(torch.cat(seen)), expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_resumes_where_it_was_trained_to(groups, workers):
    config = settings(workers=workers, buffer_jets=100)
    whole = keys(islice(make_loader(groups, config), 25))
    loader = make_loader(groups, config)
    for batch in islice(loader, 11):
        loader.advance(batch)
    resumed = make_loader(groups, config)
    resumed.load_state_dict(loader.state_dict())
    assert keys(islice(resumed, 14)) == whole[11:]


def test_resuming_with_other_workers_is_refused(groups):
    state = make_loader(groups, settings(workers=2)).state_dict()
    with pytest.raises(UserError, match="1 devices and 2 loader processes"):
        make_loader(groups, settings()).load_state_dict(state)


def test_more_streams_than_row_groups_is_refused(groups):
    with pytest.raises(UserError, match="cannot feed"):
        make_loader(groups, settings(workers=len(groups) + 1))


def test_parts_are_spread_evenly(groups):
    order = interleave(groups * 20, np.random.default_rng(0))
    share = {part: np.mean([g.part == part for g in order]) for part in ("QCD", "Res2P")}
    for begin in range(0, len(order) - 60, 60):
        stretch = [group.part for group in order[begin : begin + 60]]
        for part, expected in share.items():
            assert stretch.count(part) / 60 == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_sees_every_selected_jet_once(groups, workers):
    config = settings(workers=workers)
    jets = read_row_groups(groups)
    expected = jets.pt[selected(jets, config.selection)]
    seen = torch.cat([batch["jet_pt"] for batch in evaluation_loader(groups, config)])
    np.testing.assert_array_equal(np.sort(seen), np.sort(expected))
