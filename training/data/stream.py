"""Streams of batches: which jets come when, and where a stream was left.

A training stream passes over the row groups for ever. In each pass the row groups are ordered anew,
interleaved so that every stretch holds the parts in their proportions, and cut into chunks; the
jets of a chunk are shuffled together. Chunk c of a pass belongs to stream c modulo the number of
streams (loader processes times devices). All of it follows from the seed, so that a *cursor* (pass,
chunk, batch) is all that a stream has to remember to go on where it was.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from provenance.errors import UserError
from training.config import DataConfig
from training.data.features import FEATURES, VECTORS, fill_batch
from training.data.shards import Jets, RowGroup, read_row_groups, selected
from training.data.weights import SamplingWeights

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Cursor:
    """The next batch of a stream."""

    number: int = 0  # of the pass over the data
    chunk: int = 0  # among the stream's own chunks of that pass
    batch: int = 0  # within the chunk


def make_batch(jets: Jets, chosen: np.ndarray, max_constituents: int) -> Batch:
    """Assemble a batch, padded to its longest jet.

    Parameters
    ----------
    jets
        Where the jets are.
    chosen
        (B,) indices into `jets`.
    max_constituents
        Longer jets keep their first, hardest constituents.

    Returns
    -------
    dict
        features (B, N, 17), vectors (B, N, 4), mask (B, N); label, jet_pt, jet_sdmass (B,).
    """
    counts = jets.offsets[chosen + 1] - jets.offsets[chosen]
    shape = (len(chosen), min(max(int(counts.max()), 1), max_constituents))
    features = np.zeros((*shape, len(FEATURES)), np.float32)
    vectors = np.zeros((*shape, len(VECTORS)), np.float32)
    mask = np.zeros(shape, np.bool_)
    columns = (jets.offsets, jets.floats, jets.codes, jets.pt, jets.energy)
    fill_batch(chosen, columns, (features, vectors, mask))
    arrays = {
        "features": features,
        "vectors": vectors,
        "mask": mask,
        "label": jets.label[chosen],
        "jet_pt": jets.pt[chosen],
        "jet_sdmass": jets.sdmass[chosen],
    }
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def interleave(groups: list[RowGroup], rng: np.random.Generator) -> list[RowGroup]:
    """Shuffle row groups so that each part is spread evenly over the sequence."""
    parts = np.array([group.part for group in groups])
    position = np.empty(len(groups))
    for part in np.unique(parts):
        members = np.flatnonzero(parts == part)
        strata = (np.arange(len(members)) + rng.random(len(members))) / len(members)
        position[members] = rng.permutation(strata)
    return [groups[i] for i in np.argsort(position, kind="stable")]


class TrainingStream(IterableDataset):
    """Endless shuffled batches.

    Parameters
    ----------
    groups
        All row groups of the split.
    config
        Batch size, buffer, selection, ...
    weights
        Sampling weights, or None to draw every jet once per pass.
    seed
        Of everything random here.
    rank, ranks
        Which of how many devices this process serves.

    Raises
    ------
    UserError
        When there are fewer row groups than streams; while reading, when no jet is left to train
        on.
    """

    def __init__(
        self,
        groups: list[RowGroup],
        config: DataConfig,
        weights: SamplingWeights | None,
        *,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
    ):
        self.groups, self.config, self.weights, self.seed = groups, config, weights, seed
        self.rank = rank
        self.local_streams = max(config.workers, 1)
        self.streams = self.local_streams * ranks
        if len(groups) < self.streams:
            raise UserError(
                f"{len(groups)} row groups cannot feed {self.streams} loader processes: "
                "lower data.workers or run.devices"
            )
        rows = sum(group.rows for group in groups)
        rounds = -(-rows // (config.buffer_jets * self.streams))
        self.chunks_per_stream = min(rounds, len(groups) // self.streams)
        self.consumed = 0
        self.cursors = [Cursor() for _ in range(self.local_streams)]

    def advance(self, batch: Batch) -> None:
        """Note that `batch` was trained on."""
        stream, *cursor = batch["cursor"].tolist()
        self.cursors[stream] = Cursor(*cursor)
        self.consumed += 1

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        # Batches alternate between the streams without end; the loader begins with worker 0.
        stream = ((worker.id if worker else 0) + self.consumed) % self.local_streams
        cursor = self.cursors[stream]
        number = cursor.number
        while True:
            whole, empty = cursor == Cursor(number), True
            for chunk in range(cursor.chunk, self.chunks_per_stream):
                for batch in self._chunk(stream, Cursor(number, chunk, cursor.batch)):
                    empty = False
                    yield batch
                cursor = Cursor()
            if whole and empty:
                raise UserError(
                    f"no training jet passes the selection ({self.config.selection}) and weights"
                )
            number += 1
            cursor = Cursor(number)

    def _chunk(self, stream: int, cursor: Cursor) -> Iterator[Batch]:
        index = (cursor.chunk * self.streams) + self.rank * self.local_streams + stream
        order = interleave(self.groups, np.random.default_rng([self.seed, cursor.number]))
        pieces = np.array_split(np.arange(len(order)), self.chunks_per_stream * self.streams)
        jets = read_row_groups(order[i] for i in pieces[index])
        rng = np.random.default_rng([self.seed, cursor.number, index])
        chosen = np.flatnonzero(selected(jets, self.config.selection))
        if self.weights is not None:
            copies = self.weights.copies(jets, chosen, self.config.max_resample, rng)
            chosen = np.repeat(chosen, copies)
        rng.shuffle(chosen)
        # Equal batches, none tiny: a batch norm would suffer from a last batch of one jet.
        batches = np.array_split(chosen, -(-len(chosen) // self.config.batch_size) or 1)
        for i in range(cursor.batch, len(batches)):
            if len(batches[i]):
                batch = make_batch(jets, batches[i], self.config.max_constituents)
                batch["cursor"] = torch.tensor([stream, cursor.number, cursor.chunk, i + 1])
                yield batch


class EvaluationStream(IterableDataset):
    """Every selected jet once, in the order of the row groups that this process reads."""

    def __init__(self, groups: list[RowGroup], config: DataConfig, rank: int = 0, ranks: int = 1):
        self.groups, self.config = groups[rank::ranks], config

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        own = self.groups[worker.id :: worker.num_workers] if worker else self.groups
        for group in own:
            jets = read_row_groups([group])
            chosen = np.flatnonzero(selected(jets, self.config.selection))
            for begin in range(0, len(chosen), self.config.batch_size):
                batch = chosen[begin : begin + self.config.batch_size]
                yield make_batch(jets, batch, self.config.max_constituents)
