"""Trainings on event objects that differ in seed, start and learning rate, as one vectorised one.

The network is so small that a GPU waits for the launches of its kernels. Here one kernel serves all
members, and on a GPU a step (drawing, loss, gradients, optimiser) is a CUDA graph, of one launch.

Each member has the weights, the subset of rows, the order of batches and the schedule that
`training.fit` gives a training of its seed, and writes the same files. What is drawn within a step
(dropout, augmentation, what is hidden) comes from one stream of random numbers for all members:
without such draws a member is that training but for rounding, with them another of its kind.
"""

import csv
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from provenance.errors import UserError
from provenance.files import atomic_output, refuse_replacing, sha256, write_json
from provenance.ledger import write_ledger
from training.captured import CapturedUpdate
from training.checkpoint import make_task, start_from, write_checkpoint
from training.data.loaders import TrainingData
from training.data.on_device import DeviceReader, RowsOnDevice
from training.data.reader import Batch
from training.data.shards import open_dataset
from training.data.stream import Drawn, TrainingStream
from training.devices import (
    best_device,
    check_devices,
    device_name,
    limit_threads,
    plain_device_errors,
)
from training.events.config import EventConfig
from training.fit import RESULT, lock_of
from training.models.ensemble import Ensemble
from training.optimizers import make_optimizer, make_schedule
from training.task import AnyTask, Description


@dataclass(frozen=True)
class Member:
    """One training of an ensemble.

    Attributes
    ----------
    seed
        In the place of the configuration's.
    output
        Folder for `checkpoint.ckpt`, `history.csv` and `summary.json`.
    start
        A checkpoint to begin with, or None.
    learning_rate
        In the place of the configuration's, or None.
    """

    seed: int
    output: Path
    start: Path | None = None
    learning_rate: float | None = None

    def config(self, shared: EventConfig) -> EventConfig:
        """Return the configuration of this training alone."""
        optimizer = shared.optimizer
        if self.learning_rate is not None:
            optimizer = optimizer.model_copy(update={"learning_rate": self.learning_rate})
        return shared.model_copy(update={"seed": self.seed, "optimizer": optimizer})


@plain_device_errors()
def fit_ensemble(
    config: EventConfig,
    manifest: Path,
    members: Sequence[Member],
    device: torch.device | None = None,
) -> None:
    """Train all members at once; write checkpoint, history and summary of each.

    It is not gone on with after an interruption: it takes minutes.

    Parameters
    ----------
    config
        The training; its seed does not count.
    manifest
        Of the dataset; its splits `train` and `val` are used.
    members
        Seeds, places, starts and learning rates.
    device
        Where to train; None: what `run` asks for.

    Raises
    ------
    UserError
        When the configuration asks for what an ensemble does not do, the data or a start cannot be
        used, another training works in a member's folder, a start would be replaced, or the loss
        of a member is no number.
    """
    config.check_vectorised()
    if config.start.frozen and any(member.start is None for member in members):
        raise UserError("start.frozen speaks of a checkpoint: give start.checkpoint")
    started = time.perf_counter()
    check_devices(config.run)
    limit_threads(config.run)
    if device is None:
        device = torch.device("cpu") if config.run.accelerator == "cpu" else best_device()
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    starts = [member.start for member in members if member.start is not None]
    refuse_replacing([member.output / RESULT for member in members], starts)
    with ExitStack() as alone:
        for member in members:
            alone.enter_context(lock_of(member.output))
        made = [_Made.of(config, manifest, member, device) for member in members]
        training = EnsembleTraining(config, made, device)
        training.run()
        for number, one in enumerate(made):
            _write_results(training, number, one, started)


@dataclass(frozen=True)
class _Made:
    """A member before the first step."""

    member: Member
    task: AnyTask
    data: TrainingData
    draws: "_Draws"
    order: Iterator[Drawn]
    description: Description

    @classmethod
    def of(cls, config: EventConfig, manifest: Path, member: Member, device: torch.device) -> Self:
        own = member.config(config)
        torch.manual_seed(member.seed)
        task = make_task(own)
        dataset = open_dataset(manifest, own, task.reader)
        data = TrainingData(dataset, task.reader, own)
        if member.start is not None:
            start_from(task, member.start)
        description = task.describe() | {
            "product": dataset.product,
            "dataset_sha256": dataset.sha256,
            "start_sha256": None if member.start is None else sha256(member.start),
            "weights_sha256": None,
        }
        draws = _Draws(task.reader, device)
        rows = sum(group.rows for group in data.train)
        # One stream of all rows, as a training has that keeps them on its device.
        loading = own.data.model_copy(update={"buffer_rows": rows, "workers": 0})
        stream = TrainingStream(data.train, draws, loading, None, seed=member.seed)
        return cls(member, task, data, draws, iter(stream), description)


class _Draws(DeviceReader):
    """Keeps rows on the device and makes batches of their numbers."""

    kept: RowsOnDevice

    def read(self, groups: Sequence[Any], truth: bool = True) -> RowsOnDevice:
        self.kept = super().read(groups, truth)
        return self.kept

    def collate(self, rows: RowsOnDevice, chosen: np.ndarray) -> Batch:
        return {"index": torch.from_numpy(chosen)}


class _Steps(nn.Module):
    """A task whose call is its step, of tensors by their names."""

    def __init__(self, task: AnyTask, names: Sequence[str]):
        super().__init__()
        self.task, self.names = task, names

    def forward(self, *tensors: Tensor) -> dict[str, Tensor]:
        return self.task.step(dict(zip(self.names, tensors, strict=True)))


class EnsembleTraining:
    """The loop over steps and validations of all members.

    Parameters
    ----------
    config
        What they share.
    made
        The members.
    device
        Where they are.
    """

    def __init__(self, config: EventConfig, made: Sequence[_Made], device: torch.device):
        self.config, self.made, self.device = config, made, device
        self.steps_per_epoch = made[0].data.steps_per_epoch(1)
        self.total = config.steps or config.epochs * self.steps_per_epoch
        self._first = [next(one.order) for one in made]
        self.train = _stacked([one.draws.kept.batch for one in made])
        self.val = _stacked([_validation_rows(one, device) for one in made])
        names = list(self.train)
        self.ensemble = Ensemble([_Steps(one.task, names).to(device) for one in made])
        template = make_optimizer(made[0].task, config.optimizer)
        schedule = make_schedule(template, config.optimizer.schedule, self.total)
        assert isinstance(schedule, LambdaLR)  # the configuration was checked
        self.factor = schedule.lr_lambdas[0]
        self.optimizer = _stacked_optimizer(template, made[0].task, self.ensemble, device)
        self.rates = [one.task.config.optimizer.learning_rate for one in made]
        self._rates = torch.tensor(self.rates, device=device)
        self.histories: list[list[dict[str, float]]] = [[] for _ in made]
        self.best = [parameter.detach().clone() for parameter in self.ensemble.parameters()]
        self._lowest = torch.full((len(made),), math.inf, device=device)
        self._sums: dict[str, Tensor] = {}
        self._update: Callable[[Batch], dict[str, Tensor]] = self._step
        if device.type == "cuda":
            self._update = CapturedUpdate(self._step, self.ensemble, self.optimizer)
        self._rows = torch.arange(len(made), device=device)[:, None]

    def run(self) -> None:
        """Train to the end.

        Raises
        ------
        UserError
            When the loss of a member is no number.
        """
        self.ensemble.train()
        torch.manual_seed(self.config.seed)
        trained = 0
        for step in range(self.total):
            drawn = self._first if step == 0 else [next(one.order) for one in self.made]
            index = torch.stack([one.batch["index"] for one in drawn])
            for group in self.optimizer.param_groups:
                group["lr"].fill_(self.factor(step))
            outcome = self._train_on(index)
            trained += drawn[0].rows
            for name, values in outcome.items():
                self._sums[name] = self._sums.get(name, 0.0) + values.detach() * drawn[0].rows
            if (step + 1) % self.steps_per_epoch == 0 or step + 1 == self.total:
                self._finish_epoch(step + 1, trained)
                trained = 0

    def result(self, number: int) -> dict[str, Tensor]:
        """Return the weights of a member that are its result."""
        names = [name for name, _ in self.ensemble.members.named_parameters()]
        last: list[Tensor] = [*self.ensemble.parameters()]
        kept = self.best if self.config.keep == "best" else last
        return {
            name.removeprefix("task."): tensor[number].detach().cpu().clone()
            for name, tensor in zip(names, kept, strict=True)
        }

    def _train_on(self, index: Tensor) -> dict[str, Tensor]:
        if self.device.type == "cuda":
            # Pinned, so that the next batch is drawn while this step runs.
            index = index.pin_memory()
        return self._update({"index": index.to(self.device, non_blocking=True)})

    def _step(self, drawn: Batch) -> dict[str, Tensor]:
        index = drawn["index"]
        batch = [values[self._rows, index] for values in self.train.values()]
        outcome = self.ensemble(*batch)
        self.optimizer.zero_grad(set_to_none=True)
        outcome["loss"].sum().backward()
        self._clip()
        self._move()
        return {name: values.detach() for name, values in outcome.items()}

    @torch.no_grad()
    def _move(self) -> None:
        """Let the optimiser step at a rate of one, and go each member's rate of the way.

        Steps of SGD and Adam, their decay included, are proportional to the learning rate.
        """
        trained = [p for p in self.ensemble.parameters() if p.grad is not None]
        before = [parameter.clone() for parameter in trained]
        self.optimizer.step()
        for parameter, old in zip(trained, before, strict=True):
            rates = self._rates.view(-1, *[1] * (parameter.ndim - 1))
            parameter.copy_(old + rates * (parameter - old))

    def _clip(self) -> None:
        """Shorten the gradient of each member to the largest norm, as `clip_grad_norm_` does."""
        limit = self.config.optimizer.gradient_clip
        if limit is None:
            return
        gradients = [p.grad for p in self.ensemble.parameters() if p.grad is not None]
        squares = [gradient.flatten(1).square().sum(dim=1) for gradient in gradients]
        norm = torch.stack(squares).sum(dim=0).sqrt()
        factor = (limit / (norm + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(factor.view(-1, *[1] * (gradient.ndim - 1)))

    def _finish_epoch(self, step: int, trained: int) -> None:
        """Validate, keep the best weights, and add a row to each history."""
        validated = self._validate()
        if self.config.keep == "best":
            better = validated["loss"] < self._lowest
            self._lowest = torch.where(better, validated["loss"], self._lowest)
            with torch.no_grad():
                for kept, parameter in zip(self.best, self.ensemble.parameters(), strict=True):
                    chosen = better.view(-1, *[1] * (parameter.ndim - 1))
                    kept.copy_(torch.where(chosen, parameter, kept))
        columns = {f"train_{name}": total / trained for name, total in self._sums.items()}
        columns |= {f"val_{name}": values for name, values in validated.items()}
        numbers = {name: values.tolist() for name, values in columns.items()}
        self._sums = {}
        for number, history in enumerate(self.histories):
            row = {name: values[number] for name, values in numbers.items()}
            for name in ("train_loss", "val_loss"):
                if not math.isfinite(row[name]):
                    raise UserError(
                        f"the {name} of the member with seed {self.made[number].member.seed} "
                        f"became {row[name]} by step {step}: lower optimizer.learning_rate"
                    )
            rate = self.rates[number] * self.factor(step)
            history.append({"epoch": len(history) + 1, "step": step, **row, "learning_rate": rate})

    @torch.no_grad()
    def _validate(self) -> dict[str, Tensor]:
        """Return the means over the validation rows of each member, (members,) each."""
        self.ensemble.eval()
        random = torch.get_rng_state()
        on_device = torch.cuda.get_rng_state() if self.device.type == "cuda" else None
        size = self.config.data.batch_size
        rows = next(iter(self.val.values())).shape[1]
        if self.config.data.validation_rows is not None:
            rows = min(rows, -(-self.config.data.validation_rows // size) * size)
        sums: dict[str, Tensor] = {}
        for number, first in enumerate(range(0, rows, size)):
            # What a task draws at random is the same in every validation.
            torch.manual_seed(number)
            batch = [values[:, first : min(first + size, rows)] for values in self.val.values()]
            for name, values in self.ensemble(*batch).items():
                sums[name] = sums.get(name, 0.0) + values * batch[0].shape[1]
        torch.set_rng_state(random)
        if on_device is not None:
            torch.cuda.set_rng_state(on_device)
        self.ensemble.train()
        return {name: total / rows for name, total in sums.items()}


def _validation_rows(made: _Made, device: torch.device) -> Batch:
    """Return all validation rows of a member as one batch on the device.

    Raises
    ------
    UserError
        When no row passes the selection.
    """
    drawn = [one.batch for one in made.data.validation_loader()]
    if not drawn:
        reader = made.task.reader
        raise UserError(
            f"no {reader.noun} of the split 'val' passes the selection ({reader.selection})"
        )
    return {name: torch.cat([one[name] for one in drawn]).to(device) for name in drawn[0]}


def _stacked(batches: Sequence[Batch]) -> dict[str, Tensor]:
    """Return batches of members as tensors (members, n, ...).

    Raises
    ------
    UserError
        When members have different numbers of rows.
    """
    sizes = {len(next(iter(batch.values()))) for batch in batches}
    if len(sizes) > 1:
        raise UserError(f"the members of an ensemble need equally many rows, and have {sizes}")
    return {name: torch.stack([batch[name] for batch in batches]) for name in batches[0]}


def _stacked_optimizer(
    template: Optimizer, task: AnyTask, ensemble: Ensemble, device: torch.device
) -> Optimizer:
    """Return the optimiser of one member for the parameters of all of them.

    The learning rate is a tensor, which a captured step reads, and is the share of each member's.
    """
    names = {parameter: f"task.{name}" for name, parameter in task.named_parameters()}
    stacked = dict(ensemble.members.named_parameters())
    groups = []
    for group in template.param_groups:
        own = {**group, "params": [stacked[names[parameter]] for parameter in group["params"]]}
        own.pop("initial_lr", None)
        own["lr"] = torch.tensor(1.0, device=device)
        if "capturable" in own:
            own["capturable"] = device.type == "cuda"
        groups.append(own)
    kind: Any = type(template)
    optimizer: Optimizer = kind(groups, lr=torch.tensor(1.0, device=device), fused=True)
    return optimizer


def _write_results(training: EnsembleTraining, number: int, made: _Made, started: float) -> None:
    output, history = made.member.output, training.histories[number]
    checkpoint = output / RESULT
    content = {
        "description": made.description,
        "state_dict": training.result(number),
        "history": history,
    }
    write_checkpoint(content, checkpoint)
    with atomic_output(output / "history.csv") as temporary, temporary.open("w") as stream:
        writer = csv.DictWriter(stream, list(history[0]))
        writer.writeheader()
        writer.writerows(history)
    best = min(history, key=lambda row: row["val_loss"])
    summary = {
        "task": made.description["task"],
        "parameters": sum(p.numel() for p in made.task.network.parameters()),
        "device": device_name(training.device),
        "devices": 1,
        "members": len(training.made),
        "epochs": len(history),
        "steps": training.total,
        "result": best if training.config.keep == "best" else history[-1],
        "config": made.description["config"],
        "dataset_sha256": made.description["dataset_sha256"],
    }
    write_ledger(checkpoint, started, **summary)
    seconds = round(time.perf_counter() - started, 3)
    write_json(output / "summary.json", summary | {"wall_seconds": seconds})
