"""The training loop: steps, validations, and all that is needed to go on with it later."""

import math
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.tensorboard import SummaryWriter

from commandline.progress import Progress
from provenance.errors import UserError
from training.average import MovingAverage
from training.captured import CapturedUpdate, Numbers, plain_optimizer_state
from training.checkpoint import Checkpoint
from training.data.loaders import TrainingData
from training.data.reader import Batch
from training.data.stream import Drawn
from training.devices import compiles
from training.means import Means
from training.optimizers import make_optimizer, make_schedule
from training.task import AnyTask

# A row per validation: epoch, step, means over training and validation, learning rate, speed.
HistoryRow = dict[str, float]
LOGGED_STEPS = 50
NAMED_SOURCES = 3


class Taken(NamedTuple):
    """A step whose numbers may still be under way from the device."""

    step: int
    drawn: Drawn
    numbers: Tensor  # loss and gradient's norm, on the host
    arrived: torch.cuda.Event | None


class Training:
    """A training: everything that `last.ckpt` holds, and how it goes on.

    Parameters
    ----------
    task
        What is trained.
    data
        What on.
    fabric
        Launched; says on which devices.
    logs
        Folder for TensorBoard.
    """

    def __init__(self, task: AnyTask, data: TrainingData, fabric: Fabric, logs: Path):
        config = task.config
        devices = fabric.world_size
        self.task, self.data, self.fabric, self.config = task, data, fabric, config
        self.steps_per_epoch = data.steps_per_epoch(devices)
        self.total = config.steps or config.epochs * self.steps_per_epoch
        self.module = fabric.setup_module(task)
        self.module.mark_forward_method("step")
        self.average = MovingAverage(task, config.optimizer.ema_decay)
        self.optimizer = make_optimizer(task, config.optimizer)
        self.schedule = make_schedule(self.optimizer, config.optimizer.schedule, self.total)
        self.loader = data.training_loader(fabric.device, fabric.global_rank, devices)
        self.validation = data.validation_loader(fabric.global_rank, devices)
        self.means = Means(fabric)
        self.step = 0
        self.seconds = 0.0
        self.history: list[HistoryRow] = []
        self.best: dict[str, Tensor] | None = None
        self.logs = logs
        self._validated: list[Drawn] = []
        self._taken: Taken | None = None
        self._rows, self._clock = 0, 0.0
        self._update_weights: Callable[[Batch], Numbers] = self._update
        if task.fixed_shapes and devices == 1 and compiles(config.run) and on_gpu(fabric):
            captured = CapturedUpdate(self._update, self.task, self.optimizer)
            self._update_weights = lambda batch: captured(task.with_fixed_shapes(batch))

    def run(self, save: Callable[[Checkpoint], None]) -> None:
        """Train to the end.

        Parameters
        ----------
        save
            Called with the whole state after each validation, and every `run.checkpoint_steps`.

        Raises
        ------
        UserError
            When a loss or gradient is no number; the state before was saved. When the task sees no
            use in going on.
        """
        every = self.config.run.checkpoint_steps
        writer = None
        if self.fabric.is_global_zero:
            writer = SummaryWriter(str(self.logs), purge_step=self.step)
        if self.history:
            # What it said of the last validation holds when the same training is called again.
            self.task.after_validation(self.history)
        self.task.train()
        batches = iter(self.loader) if self.step < self.total else iter(())
        shown = Progress(
            "training", self.total, "steps", done=self.step, silent=not self.fabric.is_global_zero
        )
        with shown:
            self._rows, self._clock = 0, time.perf_counter()
            while self.step < self.total:
                self._train_on(next(batches))
                shown.update(self.step)
                if writer is not None and self.step % LOGGED_STEPS == 0:
                    self._check_last()
                    writer.add_scalar("loss", self._last_loss, self.step)
                    writer.add_scalar("learning_rate", self._learning_rate(), self.step)
                if self.step % self.steps_per_epoch == 0 or self.step == self.total:
                    self._finish_epoch(writer)
                    save(self.state_dict())
                    self.task.after_validation(self.history)
                elif every and self.step % every == 0:
                    save(self.state_dict())
        if writer is not None:
            writer.close()

    def state_dict(self) -> Checkpoint:
        """Return all that is needed to go on; all devices must call it.

        Raises
        ------
        UserError
            When the last step's loss or gradient is no number.
        """
        self._check_last()
        return {
            "state_dict": self.task.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": plain_optimizer_state(self.optimizer),
            "schedule": self.schedule.state_dict(),
            "loader": self.loader.state_dict(),
            "means": self.means.state_dict(),
            "history": self.history,
            "best": self.best,
            "step": self.step,
            "seconds": self.seconds,
        }

    def load_state_dict(self, state: Checkpoint) -> None:
        """Go on where a training was.

        Raises
        ------
        UserError
            When it ran on another number of devices.
        """
        self.loader.load_state_dict(state["loader"])
        self.task.load_state_dict(state["state_dict"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.means.load_state_dict(state["means"])
        self.history = list(state["history"])
        self.best = state["best"]
        self.step, self.seconds = state["step"], state["seconds"]

    def result(self) -> dict[str, Tensor]:
        """Return the weights that are the result: the best ones, the averaged ones or the last."""
        return self._weights() if self.best is None else self.best

    @property
    def kept(self) -> HistoryRow:
        """The row of the history that belongs to the result."""
        if self.best is None:
            return self.history[-1]
        return min(self.history, key=lambda row: row["val_loss"])

    def _weights(self) -> dict[str, Tensor]:
        with self.average.in_place():
            return {name: x.detach().cpu().clone() for name, x in self.task.state_dict().items()}

    def _train_on(self, drawn: Drawn) -> None:
        # Dropout is the same after a restart.
        self._seed(self.step, self.fabric.global_rank)
        outcome, norm = self._update_weights(self.fabric.to_device(drawn.batch))
        if not isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.step()
        self.step += 1
        self.task.after_step(self.step / self.total)
        self.average.update()
        self.loader.advance(drawn)
        self.means.add(outcome, drawn.rows)
        self._rows += drawn.rows
        # One step late, when a GPU has sent the numbers and works on the next step.
        before, self._taken = self._taken, self._sent(drawn, outcome["loss"], norm)
        self._check(before)

    def _update(self, batch: Batch) -> Numbers:
        """Update the weights; return what the task's step returns, and the gradient's norm."""
        # On a single device Fabric calls the task as it is, without the precision.
        with self.fabric.autocast():
            outcome = self.module.step(batch)
        self.optimizer.zero_grad()
        self.fabric.backward(outcome["loss"])
        limit = self.config.optimizer.gradient_clip
        norm = nn.utils.clip_grad_norm_(self.task.parameters(), limit or math.inf)
        self.optimizer.step()
        return {name: x.detach() for name, x in outcome.items()}, norm

    def _sent(self, drawn: Drawn, loss: Tensor, norm: Tensor) -> Taken:
        """Send the numbers of the step just taken to the host, and wait for nothing."""
        numbers = torch.stack((loss.float(), norm.float())).to("cpu", non_blocking=True)
        arrived = None
        if on_gpu(self.fabric):
            arrived = torch.cuda.Event()
            arrived.record()
        return Taken(self.step, drawn._replace(batch={}), numbers, arrived)

    def _check_last(self) -> None:
        before, self._taken = self._taken, None
        self._check(before)

    def _check(self, taken: Taken | None) -> None:
        """Refuse to go on from a step without numbers."""
        if taken is None:
            return
        if taken.arrived is not None:
            taken.arrived.synchronize()
        drawn = taken.drawn
        self._last_loss, norm = taken.numbers.tolist()
        for name, value in (("loss", self._last_loss), ("gradient", norm)):
            if not math.isfinite(value):
                raise UserError(
                    f"the {name} became {value} in step {taken.step}, on batch {drawn.after.batch} "
                    f"of chunk {drawn.after.chunk} in pass {drawn.after.number} of stream "
                    f"{drawn.stream}, which was drawn from {self._sources(drawn)}: lower "
                    "optimizer.learning_rate or look at these rows; what was saved before is kept"
                )

    def _sources(self, drawn: Drawn) -> str:
        groups = self.loader.stream.sources(drawn)
        names = [f"{group.path.name} (row group {group.index})" for group in groups[:NAMED_SOURCES]]
        more = len(groups) - len(names)
        return ", ".join(names) + (f" and {more} more row groups" if more else "")

    def _finish_epoch(self, writer: SummaryWriter | None) -> None:
        """Validate and add a row to the history."""
        self._check_last()
        elapsed = time.perf_counter() - self._clock
        trained, validated = self.means.compute(), self._validate()
        if isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.step(validated["loss"])
        self.means.reset()
        epoch = -(-self.step // self.steps_per_epoch)
        row: HistoryRow = {
            "epoch": epoch,
            "step": self.step,
            **{f"train_{name}": value for name, value in trained.items()},
            **{f"val_{name}": value for name, value in validated.items()},
            "learning_rate": self._learning_rate(),
            "rows_per_second": self._rows * self.fabric.world_size / max(elapsed, 1e-9),
        }
        losses = [before["val_loss"] for before in self.history]
        if self.config.keep == "best" and validated["loss"] < min(losses, default=math.inf):
            self.best = self._weights()
        self.history.append(row)
        if writer is not None:
            for name, value in row.items():
                writer.add_scalar(f"epoch/{name}", value, self.step)
        if self.fabric.is_global_zero:
            epochs = -(-self.total // self.steps_per_epoch)
            numbers = ", ".join(f"{name} {value:.4f}" for name, value in validated.items())
            sys.stderr.write(
                f"epoch {epoch}/{epochs}: training loss {trained['loss']:.4f}, validation "
                f"{numbers}, {row['rows_per_second']:.0f} {self.data.reader.noun}s/s\n"
            )
        self.seconds += time.perf_counter() - self._clock
        self._rows, self._clock = 0, time.perf_counter()

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        """Return the means over the validation split, with the averaged weights."""
        limit = self.data.validation_steps(self.fabric.world_size)
        means = Means(self.fabric)
        batches = self._validated or islice(self.validation, limit)
        self.task.eval()
        with self.average.in_place():
            for number, drawn in enumerate(batches):
                # What a task draws at random is the same in every validation.
                self._seed(number, self.fabric.global_rank, 1)
                batch = self.fabric.to_device(drawn.batch)
                if self.config.data.on_device and len(self._validated) == number:
                    self._validated.append(drawn._replace(batch=batch))
                # Not through the module of all devices, which would wait for those with less rows.
                with self.fabric.autocast():
                    means.add(self.task.step(batch), drawn.rows)
        self.task.train()
        result = means.compute()
        if not result:
            noun = self.data.reader.noun
            raise UserError(
                f"no {noun} of the split 'val' passes the selection ({self.data.reader.selection})"
            )
        if not math.isfinite(result["loss"]):
            raise UserError(
                f"the loss of the validation after step {self.step} is {result['loss']}: lower "
                "optimizer.learning_rate; what was saved before is kept"
            )
        return result

    def _learning_rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def _seed(self, *numbers: int) -> None:
        sequence = np.random.SeedSequence([self.config.seed, *numbers])
        torch.manual_seed(int(sequence.generate_state(1)[0]))


def on_gpu(fabric: Fabric) -> bool:
    """Return whether a training runs on a GPU."""
    return fabric.device.type == "cuda"
