"""Order of the jets: every one, reproducible, resumable."""

import gc
import multiprocessing
import os
from itertools import islice

import numpy as np
import pytest
import torch

from provenance.errors import UserError
from training.config import load_config
from training.data.loaders import TrainingData, TrainingLoader, evaluation_loader
from training.data.shards import draw_subset, interleave, list_row_groups, read_dataset
from training.data.stream import TrainingStream
from training.jets.config import JetDataConfig
from training.jets.reader import JetReader

READER = JetReader(JetDataConfig())


@pytest.fixture
def groups(manifest):
    return list_row_groups(read_dataset(manifest).shards("train"), READER)


def settings(**changes) -> JetDataConfig:
    return JetDataConfig(**{"batch_size": 50, "workers": 0, "buffer_rows": 200, **changes})


def make_loader(groups, config, seed=5, rank=0, ranks=1) -> TrainingLoader:
    stream = TrainingStream(groups, READER, config, None, seed=seed, rank=rank, ranks=ranks)
    return TrainingLoader(stream)


def keys(drawn) -> list[list[float]]:
    return [one.batch["jet_pt"].tolist() for one in drawn]


def selected_pt(groups) -> np.ndarray:
    jets = READER.read(groups)
    return np.sort(jets.pt[READER.select(jets.scalars)])


def test_a_pass_holds_every_selected_jet_once(groups):
    passed = []
    for drawn in make_loader(groups, settings()):
        if drawn.after.number > 0:
            break
        passed.append(drawn.batch["jet_pt"])
    sizes = [len(pt) for pt in passed]
    assert min(sizes) > 10
    assert max(sizes) <= 50
    np.testing.assert_array_equal(np.sort(torch.cat(passed)), selected_pt(groups))


def test_order_follows_from_seed_and_differs_between_passes(groups):
    config = settings(workers=2)
    first = keys(islice(make_loader(groups, config), 30))
    assert first == keys(islice(make_loader(groups, config), 30))
    assert first != keys(islice(make_loader(groups, config, seed=6), 30))
    assert first[0] not in first[1:]


def test_devices_share_the_data_without_overlap(groups):
    config = settings()
    seen = []
    for rank in range(2):
        for drawn in make_loader(groups, config, rank=rank, ranks=2):
            if drawn.after.number > 0:
                break
            seen.append(drawn.batch["jet_pt"])
    np.testing.assert_array_equal(np.sort(torch.cat(seen)), selected_pt(groups))


@pytest.mark.parametrize(("workers", "buffer_rows"), [(0, 100), (2, 100), (0, 10**6)])
def test_resumes_where_it_was_trained_to(groups, workers, buffer_rows):
    config = settings(workers=workers, buffer_rows=buffer_rows)
    whole = keys(islice(make_loader(groups, config), 25))
    loader = make_loader(groups, config)
    for drawn in islice(loader, 11):
        loader.advance(drawn)
    resumed = make_loader(groups, config)
    resumed.load_state_dict(loader.state_dict())
    assert keys(islice(resumed, 14)) == whole[11:]


def test_a_loader_process_without_a_selected_jet_is_named(groups):
    reader = JetReader(JetDataConfig(selection={"jet_pt": (2000.0, 2001.0)}))
    for workers, words in ((0, "no training jet passes"), (2, "shared out to 2 loader processes")):
        stream = TrainingStream(groups, reader, settings(workers=workers), None, seed=5)
        with pytest.raises(UserError, match=words):
            next(iter(stream))


def test_resuming_on_other_devices_is_refused(groups):
    state = make_loader(groups, settings()).state_dict()
    with pytest.raises(UserError, match="ran on 1 devices and now has 2"):
        make_loader(groups, settings(), ranks=2).load_state_dict(state)


def test_a_batch_knows_where_it_came_from(groups):
    loader = make_loader(groups, settings(buffer_rows=100))
    for drawn in islice(loader, 9):
        sources = loader.stream.sources(drawn)
        assert len(sources) < len(groups)
        assert np.isin(drawn.batch["jet_pt"], READER.read(sources).pt).all()


def test_rows_on_the_device_come_in_the_order_of_the_stream(groups, manifest):
    settings = '{"task": "sophon", "data": {"workers": 0, "batch_size": 50, "on_device": %s}}'
    batches = {}
    for on_device in ("true", "false"):
        config = load_config(settings % on_device)
        data = TrainingData(read_dataset(manifest), JetReader(config.data), config)
        batches[on_device] = list(islice(data.training_loader(torch.device("cpu")), 20))
    for resident, streamed in zip(*batches.values(), strict=True):
        length = streamed.batch["mask"].shape[1]
        assert not resident.batch["mask"][:, length:].any()
        # What is for the host alone stays there.
        assert resident.batch.keys() == streamed.batch.keys() - {"sizes"}
        for name, kept in resident.batch.items():
            values = streamed.batch[name]
            assert torch.equal(kept[:, :length] if kept.ndim > 1 else kept, values)


def test_few_rows_keep_the_proportions_of_the_classes_and_follow_from_the_seed(groups):
    jets = READER.read(groups)
    label = jets.label[READER.select(jets.scalars)]
    shares = np.bincount(label, minlength=188) / len(label)
    few = READER.read(draw_subset(groups, READER, 120, seed=1))
    assert len(few) == 120
    assert READER.select(few.scalars).all()
    assert np.isin(few.pt, jets.pt).all()
    # Whole numbers cannot come nearer.
    assert np.abs(np.bincount(few.label, minlength=188) - 120 * shares).max() < 1
    again, other = (READER.read(draw_subset(groups, READER, 120, seed)) for seed in (1, 2))
    np.testing.assert_array_equal(few.pt, again.pt)
    assert len(np.intersect1d(few.pt, other.pt)) < 60
    assert draw_subset(groups, READER, 10**6, seed=1) == groups


def test_few_rows_are_read_once(groups, monkeypatch):
    few = draw_subset(groups, READER, 30, seed=1)
    loader, calls = make_loader(few, settings(batch_size=16)), []
    monkeypatch.setattr(
        JetReader, "read", lambda *a, read=JetReader.read: calls.append(1) or read(*a)
    )
    drawn = list(islice(loader, 20))
    assert [one.rows for one in drawn] == [15] * 20
    assert len(calls) == 1
    # Every pass holds every row.
    for first, second in zip(drawn[::2], drawn[1::2], strict=True):
        both = torch.cat([first.batch["jet_pt"], second.batch["jet_pt"]])
        np.testing.assert_array_equal(np.sort(both), selected_pt(few))


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
    loader = evaluation_loader(groups, READER, config)
    seen = torch.cat([drawn.batch["jet_pt"] for drawn in loader])
    np.testing.assert_array_equal(np.sort(seen), selected_pt(groups))


class Captured:
    """Garbage only a collection finds; it says which process destroys it."""

    def __init__(self, path):
        self.own, self.path = self, path

    def __del__(self):
        with self.path.open("a") as stream:
            stream.write(f"{os.getpid()}\n")


def test_a_loader_process_destroys_nothing_of_its_parent(groups, tmp_path, monkeypatch):
    """A captured graph destroyed in a fork kills it."""

    def read(self, groups):
        gc.collect()
        return plain(self, groups)

    plain = JetReader.read
    monkeypatch.setattr(JetReader, "read", read)
    path = tmp_path / "destroyed"
    gc.collect()
    gc.disable()
    try:
        Captured(path)
        next(iter(make_loader(groups, settings(workers=1))))
    finally:
        gc.enable()
    assert not path.exists()
    gc.collect()
    assert path.read_text().split() == [str(os.getpid())]


def test_loaders_fork_whatever_is_usual(groups, monkeypatch):
    """Readers hold functions, which other processes could not be sent."""
    monkeypatch.setattr(READER, "held", lambda: None, raising=False)
    usual = multiprocessing.get_start_method()
    multiprocessing.set_start_method("spawn", force=True)
    try:
        assert next(iter(make_loader(groups, settings(workers=1)))).rows > 0
    finally:
        multiprocessing.set_start_method(usual, force=True)
