"""What a task is: a reader, a network, a loss, and what its results are worth."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn
from torch.export import Dim

from provenance.errors import UserError
from training.config import FitConfig
from training.data.reader import Batch
from training.data.shards import AnyReader

Description = dict[str, object]
Config_co = TypeVar("Config_co", bound=FitConfig, covariant=True)


@dataclass(frozen=True)
class Evaluation:
    """What was measured; plain numbers, lists and mappings, as JSON knows them."""

    summary: Mapping[str, float | None]  # a dozen at most; None: the sample cannot tell
    figures: Mapping[str, str]  # caption by the name of the file
    details: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Exported:
    """A network as other programs run it."""

    network: nn.Module  # in evaluation mode, of tensors to a tuple of tensors
    inputs: Mapping[str, Tensor]  # an example of each
    free: tuple[Mapping[int, Dim], ...]  # which of their sizes are free
    outputs: tuple[str, ...]
    metadata: Mapping[str, object]  # what in- and outputs mean


class Task(nn.Module, ABC, Generic[Config_co]):
    """Something to learn.

    Parameters
    ----------
    config
        The training's, of the task's own type.

    Attributes
    ----------
    reader
        From columns to batches.
    network
        What is trained.
    measured
        What `evaluate` needs of every row: names of what `predict` returns, or of a batch.
    compared
        The same of the rows that were trained on, where a network is measured against something
        that is fitted to them: `compare_with` gets it before `evaluate`.
    """

    reader: AnyReader
    network: nn.Module
    measured: tuple[str, ...]
    # Whether, of what `with_fixed_shapes` makes, a step waits for nothing: it can be captured.
    fixed_shapes: ClassVar[bool] = False
    # What `python -m ntuplizer <product>` is told when a file of events is to be predicted.
    event_options: ClassVar[tuple[str, ...]] = ()
    # What the numbers of an evaluation's summary say, in words, where the name does not.
    meanings: ClassVar[Mapping[str, str]] = {}

    def __init__(self, config: Config_co):
        super().__init__()
        self.config = config
        self.frozen: frozenset[str] = frozenset()

    @abstractmethod
    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Return `loss` and other numbers to watch, each the mean over a batch."""

    def with_fixed_shapes(self, batch: Batch) -> Batch:
        """Return a batch that trains alike and has one of few shapes; needs `fixed_shapes`."""
        return batch

    @abstractmethod
    def predict(self, batch: Batch) -> Batch:
        """Return what the network says of a batch without truth: (B,) or (B, k) by column name."""

    @abstractmethod
    def evaluate(self, rows: Mapping[str, np.ndarray], folder: Path) -> Evaluation:
        """Measure a trained network and draw figures as PNG and PDF into a folder.

        Parameters
        ----------
        rows
            `measured`, over the selected rows of a split.
        folder
            For the figures.
        """

    @property
    def compared(self) -> tuple[str, ...]:
        """What `compare_with` needs, names in a batch or of a prediction; empty: nothing."""
        return ()

    @property
    def joined_by(self) -> tuple[str, ...]:
        """What `join` needs of every row: names in a batch."""
        return ()

    def compare_with(self, rows: Mapping[str, np.ndarray]) -> None:
        """Take `compared` of the rows that the training saw, before `evaluate`.

        What is fitted to them stands beside the network then. The rows that it validated on are
        among them: their labels count as well.
        """
        return

    def join(
        self, rows: Mapping[str, np.ndarray], predictions: pa.Table
    ) -> Mapping[str, np.ndarray]:
        """Return `measured` of the rows of a split, with what files of predictions say of them.

        Parameters
        ----------
        rows
            `measured`, as far as a batch holds it, and `joined_by`.
        predictions
            What `python -m training predict` wrote.

        Raises
        ------
        UserError
            When the task has no such thing, or a row is not among the predictions.
        """
        raise UserError(f"the task {self.config.task} cannot be measured by files of predictions")

    @property
    def calibrated(self) -> tuple[str, ...]:
        """What `calibrate` needs, names in a batch or of a prediction; empty: nothing."""
        return ()

    def calibrate(self, rows: Mapping[str, np.ndarray]) -> Mapping[str, object] | None:
        """Return what predictions are adjusted by, in plain values; None: nothing.

        Parameters
        ----------
        rows
            `calibrated` of the rows that a training validated on, with its result.
        """
        return None

    def use_calibration(self, content: Mapping[str, object] | None) -> None:
        """Adjust predictions by what `calibrate` returned, which a checkpoint keeps."""
        return

    def after_step(self, progress: float) -> None:
        """Do what follows each step of the optimiser; `progress` runs from 0 to 1."""
        return

    def after_validation(self, history: Sequence[Mapping[str, float]]) -> None:
        """Look at what was watched; all of it is saved, and seen again before a training goes on.

        Parameters
        ----------
        history
            Of each validation so far, `val_<name>` and `train_<name>` of what `step` returned.

        Raises
        ------
        UserError
            When it is no use to go on.
        """
        return

    def illustrate(self, batch: Batch, folder: Path) -> Mapping[str, str]:
        """Draw what a batch looks like into a folder; return captions by the names of the files."""
        return {}

    def draw_rows(self, rows: Any, chosen: np.ndarray, folder: Path) -> Mapping[str, str]:
        """Draw the data that the task learns from; return captions by the names of the files.

        Parameters
        ----------
        rows
            What the reader read.
        chosen
            (n,) indices of the rows that it selects.
        folder
            For the figures, each as PNG and PDF.

        Raises
        ------
        UserError
            When the task has no such figures.
        """
        raise UserError(f"the task {self.config.task} has no figures of its data")

    def exported(self) -> Exported:
        """Return the network for `python -m training export`.

        Raises
        ------
        UserError
            When the task has no such form.
        """
        raise UserError(f"the task {self.config.task} cannot be exported")

    @classmethod
    def convert(cls, weights: Path) -> Self:
        """Return the task with the weights of another program.

        Raises
        ------
        UserError
            When there is no such program, or the file is not its.
        """
        raise UserError(f"{weights}: this task knows weights of no other program")

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def compile_network(self) -> None:
        """Compile the network in place; names of parameters stay as they are."""
        self.network.compile(dynamic=True)

    def part_of(self, name: str) -> str:
        """Return the part that a parameter, buffer or module is of, by its dotted name.

        `network.<part>` is of the part of that name, everything else of the first part.
        """
        for part in self.config.parts[1:]:
            if f"{name}.".startswith(f"network.{part}."):
                return part
        return self.config.parts[0]

    def describe(self) -> Description:
        """Return what is needed to use a checkpoint without its configuration (contract 5)."""
        return {
            "task": self.config.task,
            "version": self.config.version,
            "config": self.config.model_dump(mode="json"),
            **self.reader.describe(),
            "labels": None if self.reader.labels is None else list(self.reader.labels),
        }

    def freeze(self, parts: Collection[str]) -> None:
        """Keep parts as they are: no gradient, and no statistics of batches that move."""
        self.frozen = frozenset(parts)
        for name, parameter in self.named_parameters():
            if self.part_of(name) in self.frozen:
                parameter.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set the mode; what is frozen always evaluates."""
        super().train(mode)
        for module in self._frozen_modules():
            module.training = False
        return self

    def _frozen_modules(self) -> Iterator[nn.Module]:
        if not getattr(self, "frozen", None):
            return
        modules = dict(self.named_modules())
        trained = {
            name
            for name, module in modules.items()
            if next(module.children(), None) is None and self.part_of(name) not in self.frozen
        }
        for name, module in modules.items():
            prefix = f"{name}." if name else ""
            if not any(other == name or other.startswith(prefix) for other in trained):
                yield module


AnyTask = Task[FitConfig]
