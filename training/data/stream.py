"""Streams of batches: which rows come when, and where a stream was left.

A training stream passes over the row groups for ever. In each pass the row groups are ordered anew,
interleaved so that every stretch holds the parts in their proportions, and cut into chunks; the
rows of a chunk are shuffled together. Chunk c of a pass belongs to stream c modulo the number of
streams (loader processes times devices). All of it follows from the seed, so that a *cursor* (pass,
chunk, batch) is all that a stream has to remember to go on where it was.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from provenance.errors import UserError
from training.config import DataConfig
from training.data.reader import Batch, RowGroup, Rows
from training.data.sampling import SamplingWeights
from training.data.shards import AnyReader, interleave


class Cursor(NamedTuple):
    """The next batch of a stream."""

    number: int = 0  # of the pass over the data
    chunk: int = 0  # among the stream's own chunks of that pass
    batch: int = 0  # within the chunk


class Drawn(NamedTuple):
    """A batch, and where it came from."""

    batch: Batch
    rows: int
    stream: int = 0  # which of the process's streams
    after: Cursor = Cursor()  # where that stream goes on


class TrainingStream(IterableDataset[Drawn]):
    """Endless shuffled batches.

    Parameters
    ----------
    groups
        All row groups of the split.
    reader
        Makes batches of them.
    config
        Batch size, buffer, ...
    weights
        Sampling weights, or None to draw every row once per pass.
    seed
        Of everything random here.
    rank, ranks
        Which of how many devices this process serves.

    Raises
    ------
    UserError
        When there are fewer row groups than streams; while reading, when no row is left to train
        on.
    """

    def __init__(
        self,
        groups: list[RowGroup],
        reader: AnyReader,
        config: DataConfig,
        weights: SamplingWeights | None,
        *,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
    ):
        self.groups, self.reader, self.config = groups, reader, config
        self.weights, self.seed = weights, seed
        self.rank = rank
        self.local_streams = max(config.workers, 1)
        self.streams = self.local_streams * ranks
        if len(groups) < self.streams:
            raise UserError(
                f"{len(groups)} row groups cannot feed {self.streams} loader processes: "
                "lower data.workers or run.devices"
            )
        rows = sum(group.rows for group in groups)
        rounds = -(-rows // (config.buffer_rows * self.streams))
        self.chunks_per_stream = min(rounds, len(groups) // self.streams)
        self.consumed = 0
        self.cursors = [Cursor() for _ in range(self.local_streams)]
        self._only_chunk: dict[int, Rows] = {}

    def advance(self, drawn: Drawn) -> None:
        """Note that a batch was trained on."""
        self.cursors[drawn.stream] = Cursor(*drawn.after)
        self.consumed += 1

    def sources(self, drawn: Drawn) -> list[RowGroup]:
        """Return the row groups that a batch was drawn from."""
        return self._chunk_groups(drawn.after.number, self._chunk_index(drawn.stream, drawn.after))

    def __iter__(self) -> Iterator[Drawn]:
        worker = get_worker_info()
        # Batches alternate between the streams without end; the loader begins with worker 0.
        stream = ((worker.id if worker else 0) + self.consumed) % self.local_streams
        cursor = self.cursors[stream]
        number = cursor.number
        while True:
            whole, empty = cursor == Cursor(number), True
            for chunk in range(cursor.chunk, self.chunks_per_stream):
                for drawn in self._chunk(stream, Cursor(number, chunk, cursor.batch)):
                    empty = False
                    yield drawn
                cursor = Cursor()
            if whole and empty:
                raise UserError(self._nothing())
            number += 1
            cursor = Cursor(number)

    def _nothing(self) -> str:
        noun, selection = self.reader.noun, self.reader.selection
        if self.streams == 1:
            return f"no training {noun} passes the selection ({selection}) and weights"
        return (
            f"the {len(self.groups)} row groups are shared out to {self.streams} loader processes, "
            f"and of one of them no {noun} passes the selection ({selection}) and weights: lower "
            "data.workers or run.devices"
        )

    def _chunk_index(self, stream: int, cursor: Cursor) -> int:
        return (cursor.chunk * self.streams) + self.rank * self.local_streams + stream

    def _chunk_groups(self, number: int, index: int) -> list[RowGroup]:
        # Streams of one chunk keep it, and what they read.
        number = number if self.chunks_per_stream > 1 else 0
        order = interleave(self.groups, np.random.default_rng([self.seed, number]))
        pieces = np.array_split(np.arange(len(order)), self.chunks_per_stream * self.streams)
        return [order[i] for i in pieces[index]]

    def _rows(self, number: int, index: int) -> Rows:
        if self.chunks_per_stream > 1:
            return self.reader.read(self._chunk_groups(number, index))
        if index not in self._only_chunk:
            self._only_chunk[index] = self.reader.read(self._chunk_groups(number, index))
        return self._only_chunk[index]

    def _chunk(self, stream: int, cursor: Cursor) -> Iterator[Drawn]:
        index = self._chunk_index(stream, cursor)
        rows = self._rows(cursor.number, index)
        rng = np.random.default_rng([self.seed, cursor.number, index])
        batches = draw_batches(rows, self.reader, self.config, self.weights, rng)
        for i in range(cursor.batch, len(batches)):
            if len(batches[i]):
                after = Cursor(cursor.number, cursor.chunk, i + 1)
                batch = self.reader.draw(rows, batches[i], cursor.number)
                yield Drawn(batch, len(batches[i]), stream, after)


def draw_batches(
    rows: Rows,
    reader: AnyReader,
    config: DataConfig,
    weights: SamplingWeights | None,
    rng: np.random.Generator,
) -> list[np.ndarray]:
    """Return the indices, (B,) each, of shuffled batches of the selected rows."""
    chosen = reader.chosen(rows.scalars, len(rows))
    if weights is not None:
        copies = weights.copies(rows.scalars, chosen, config.max_resample, rng)
        chosen = np.repeat(chosen, copies)
    rng.shuffle(chosen)
    # Equal batches, none tiny: a batch norm would suffer from a last batch of one row.
    return np.array_split(chosen, -(-len(chosen) // config.batch_size) or 1)


class EvaluationStream(IterableDataset[Drawn]):
    """Every selected row once, in the order of the row groups that this process reads."""

    def __init__(
        self,
        groups: list[RowGroup],
        reader: AnyReader,
        config: DataConfig,
        rank: int = 0,
        ranks: int = 1,
    ):
        self.groups, self.reader, self.config = groups[rank::ranks], reader, config

    def __iter__(self) -> Iterator[Drawn]:
        worker = get_worker_info()
        own = self.groups[worker.id :: worker.num_workers] if worker else self.groups
        for group in own:
            rows = self.reader.read([group])
            chosen = self.reader.chosen(rows.scalars, len(rows))
            for begin in range(0, len(chosen), self.config.batch_size):
                batch = chosen[begin : begin + self.config.batch_size]
                yield Drawn(self.reader.collate(rows, batch), len(batch))
