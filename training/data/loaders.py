"""The data of a training: which rows, and loaders that know where training stopped."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

import torch
from torch import distributed
from torch.utils.data import DataLoader

from provenance.errors import UserError
from training.config import DataConfig, FitConfig
from training.data.on_device import DeviceReader
from training.data.reader import RowGroup
from training.data.sampling import SamplingWeights
from training.data.shards import (
    AnyReader,
    Dataset,
    training_rows,
    validation_rows,
)
from training.data.stream import Cursor, Drawn, EvaluationStream, TrainingStream


class StreamState(TypedDict):
    """Where the streams of a device are."""

    consumed: int
    cursors: list[list[int]]


class LoaderState(TypedDict):
    """Where the streams of all devices are."""

    ranks: list[StreamState]


class TrainingData:
    """Training and validation batches of a dataset.

    Parameters
    ----------
    dataset
        With the splits `train` and `val`.
    reader
        Of the task.
    config
        The training.
    weights
        A file of sampling weights, or None to draw every row once per pass.

    Raises
    ------
    UserError
        When a shard or the weights cannot be used, or the weights were made from other rows.
    """

    def __init__(
        self, dataset: Dataset, reader: AnyReader, config: FitConfig, weights: Path | None = None
    ):
        self.reader, self.config, self.seed = reader, config.data, config.seed
        self.weights = None
        if weights is not None:
            self.weights = SamplingWeights.load(weights, reader, config, dataset.sha256)
        self.train = training_rows(dataset, reader, config)
        self.val = validation_rows(dataset, reader, config)

    def steps_per_epoch(self, devices: int) -> int:
        """Return how many batches each of `devices` trains on between validations."""
        rows = self.config.rows_per_epoch or sum(group.rows for group in self.train)
        return -(-rows // (self.config.batch_size * devices))

    def validation_steps(self, devices: int) -> int | None:
        """Return how many batches each of `devices` validates on, None for all there are."""
        rows = self.config.validation_rows
        return None if rows is None else -(-rows // (self.config.batch_size * devices))

    def training_loader(
        self, device: torch.device, rank: int = 0, ranks: int = 1
    ) -> "TrainingLoader":
        """Return the endless training loader of one of `ranks` devices."""
        reader, config = self.reader, self.config
        if config.on_device:
            reader = DeviceReader(reader, device)
            rows = sum(group.rows for group in self.train)
            config = config.model_copy(update={"buffer_rows": rows})
        stream = TrainingStream(
            self.train, reader, config, self.weights, seed=self.seed, rank=rank, ranks=ranks
        )
        return TrainingLoader(stream)

    def validation_loader(self, rank: int = 0, ranks: int = 1) -> DataLoader[Drawn]:
        """Return the validation loader of one of `ranks` devices."""
        return evaluation_loader(self.val, self.reader, self.config, rank, ranks)


class Loader(DataLoader[Drawn]):
    """A loader of a stream, whose processes are forks that leave alone what they inherit.

    Were one to collect garbage of its parent, captured graphs say, it would ask the GPU, which a
    fork must not: it would be killed, and the training with it. Other ways to start processes, the
    usual one from Python 3.14 on, would send them readers, which hold functions.
    """

    def __init__(self, stream: TrainingStream | EvaluationStream, config: DataConfig):
        super().__init__(
            stream,
            batch_size=None,
            num_workers=config.workers,
            pin_memory=torch.cuda.is_available() and not config.on_device,
            multiprocessing_context="fork" if config.workers else None,
        )

    def __iter__(self):  # type: ignore[no-untyped-def]
        """Start the processes."""
        gc.freeze()
        try:
            return super().__iter__()
        finally:
            gc.unfreeze()


class TrainingLoader(Loader):
    """A loader of a training stream; its state is what was trained on, not what was prefetched."""

    def __init__(self, stream: TrainingStream):
        self.stream = stream
        super().__init__(stream, stream.config)

    def advance(self, drawn: Drawn) -> None:
        """Note that a batch was trained on."""
        self.stream.advance(drawn)

    def state_dict(self) -> LoaderState:
        """Return where every stream of every device is; all devices must call it."""
        stream = self.stream
        own = StreamState(consumed=stream.consumed, cursors=[list(c) for c in stream.cursors])
        states = [own]
        if distributed.is_available() and distributed.is_initialized():
            states = [own] * distributed.get_world_size()
            distributed.all_gather_object(states, own)
        return LoaderState(ranks=states)

    def load_state_dict(self, state: LoaderState) -> None:
        """Go on where the streams were.

        Raises
        ------
        UserError
            When the state is of another number of devices.
        """
        states, stream = state["ranks"], self.stream
        devices = stream.streams // stream.local_streams
        if len(states) != devices:
            raise UserError(
                f"the training to go on with ran on {len(states)} devices and now has {devices}: "
                "set run.devices as before, or begin anew with --restart"
            )
        stream.consumed = states[stream.rank]["consumed"]
        stream.cursors = [Cursor(*cursor) for cursor in states[stream.rank]["cursors"]]


@contextmanager
def plain_errors() -> Iterator[None]:
    """Give the one sentence of an error that a loader process wraps in its traceback."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error).strip().splitlines()[-1].rpartition("UserError: ")[2]) from None


def evaluation_loader(
    groups: list[RowGroup],
    reader: AnyReader,
    config: DataConfig,
    rank: int = 0,
    ranks: int = 1,
) -> DataLoader[Drawn]:
    """Return a loader of every selected row once."""
    stream = EvaluationStream(groups, reader, config, rank, ranks)
    return Loader(stream, config)
