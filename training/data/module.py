"""The data of a training: loaders for Lightning that know where training stopped."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import LightningDataModule
from torch import distributed
from torch.utils.data import DataLoader

from ntuplizer.labels import LABELS
from provenance.errors import UserError
from training.config import DataConfig
from training.data.shards import RowGroup, list_row_groups, list_shards, thin
from training.data.stream import Batch, Cursor, EvaluationStream, TrainingStream, interleave
from training.data.weights import SamplingWeights


class JetData(LightningDataModule):
    """Training and validation batches of a dataset.

    Parameters
    ----------
    manifest
        Of the dataset.
    config
        How jets are read.
    seed
        Of the order of the jets.
    labels
        What the manifest must have been written for; None: any.
    classes
        How many classes `config.label` may speak of.

    Raises
    ------
    UserError
        When the manifest, a shard or the weights cannot be used, or the weights were made for
        another selection.
    """

    def __init__(
        self,
        manifest: str | Path,
        config: DataConfig,
        seed: int,
        labels: tuple[str, ...] | None = LABELS,
        classes: int = len(LABELS),
    ):
        super().__init__()
        self.config, self.seed = config, seed
        self.weights = None
        if config.weights is not None:
            self.weights = SamplingWeights.load(config.weights)
            self.weights.check(config.selection, config.weights)
        self.groups = {
            split: list_row_groups(list_shards(manifest, split, labels), config.label, classes)
            for split in ("train", "val")
        }
        # A validation that stops early has seen all parts alike.
        self.groups["val"] = interleave(self.groups["val"], np.random.default_rng(seed))
        if config.train_jets is not None:
            self.groups["train"] = thin(self.groups["train"], config.train_jets, seed)

    def steps_per_epoch(self, devices: int) -> int:
        """Return how many batches each of `devices` trains on between validations."""
        jets = self.config.jets_per_epoch or sum(group.rows for group in self.groups["train"])
        return -(-jets // (self.config.batch_size * devices))

    def validation_steps(self, devices: int) -> int | float:
        """Return how many batches each of `devices` validates on, 1.0 for all there are."""
        jets = self.config.validation_jets
        return 1.0 if jets is None else -(-jets // (self.config.batch_size * devices))

    def train_dataloader(self) -> "TrainingLoader":
        """Return the endless training loader."""
        stream = TrainingStream(
            self.groups["train"],
            self.config,
            self.weights,
            seed=self.seed,
            rank=self.trainer.global_rank,
            ranks=self.trainer.world_size,
        )
        return TrainingLoader(stream, **loader_options(self.config))

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the validation loader."""
        return evaluation_loader(
            self.groups["val"], self.config, self.trainer.global_rank, self.trainer.world_size
        )


class TrainingLoader(DataLoader[Batch]):
    """A loader of a training stream; its state is what was trained on, not what was prefetched.

    Lightning saves and restores the state with its checkpoints.
    """

    dataset: TrainingStream

    def advance(self, batch: Batch) -> None:
        """Note that `batch` was trained on."""
        self.dataset.advance(batch)

    def state_dict(self) -> dict[str, Any]:
        """Return where every stream of every device is; all devices must call it."""
        stream = self.dataset
        cursors = [[c.number, c.chunk, c.batch] for c in stream.cursors]
        states: list[Any] = [{"consumed": stream.consumed, "cursors": cursors}]
        if distributed.is_available() and distributed.is_initialized():
            own, states = states[0], [None] * distributed.get_world_size()
            distributed.all_gather_object(states, own)
        return {"ranks": states}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the streams were.

        Raises
        ------
        UserError
            When the state is of another number of devices or loader processes.
        """
        states, stream = state_dict["ranks"], self.dataset
        saved = (len(states), len(states[0]["cursors"]))
        if saved != (stream.streams // stream.local_streams, stream.local_streams):
            raise UserError(
                f"the checkpoint to resume from was made with {saved[0]} devices and {saved[1]} "
                "loader processes each: use the same run.devices and data.workers"
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


def loader_options(config: DataConfig) -> dict[str, Any]:
    """Return the options of a loader whose stream gives ready batches."""
    return {
        "batch_size": None,
        "num_workers": config.workers,
        "pin_memory": torch.cuda.is_available(),
    }


def evaluation_loader(
    groups: list[RowGroup], config: DataConfig, rank: int = 0, ranks: int = 1
) -> DataLoader[Batch]:
    """Return a loader of every selected jet once."""
    return DataLoader(EvaluationStream(groups, config, rank, ranks), **loader_options(config))
