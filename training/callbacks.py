"""What watches a training: where the stream is, how fast it runs, how it went."""

import csv
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer

from provenance.errors import UserError
from provenance.files import atomic_output
from training.data.stream import Batch


class StepSeed(Callback):
    """Seeds each step by its number, so that dropout is the same after a restart.

    Parameters
    ----------
    seed
        Of the training.
    """

    def __init__(self, seed: int):
        self.seed = seed

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Seed the step."""
        sequence = np.random.SeedSequence([self.seed, trainer.global_step, trainer.global_rank])
        torch.manual_seed(int(sequence.generate_state(1)[0]))


class StreamPosition(Callback):
    """Tells the training loader which batches were trained on."""

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Advance the stream of the batch."""
        trainer.train_dataloader.advance(batch)


class Throughput(Callback):
    """Measures jets per second over all devices, validation left out."""

    def __init__(self) -> None:
        self.jets = 0
        self.seconds = 0.0
        self._last = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock; an epoch that is resumed has no start."""
        self._last = time.perf_counter()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start again."""
        self.jets, self.seconds, self._last = 0, 0.0, time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Count the batch."""
        now = time.perf_counter()
        self.jets += len(batch["label"]) * trainer.world_size
        self.seconds += now - self._last
        self._last = now
        pl_module.log("jets/s", self.jets / self.seconds, prog_bar=True, logger=False)


class History(Callback):
    """Keeps one row per epoch and writes them to a CSV file after each.

    Parameters
    ----------
    path
        The file.
    throughput
        Whose speed is recorded.
    """

    COLUMNS = (
        "epoch",
        "step",
        "train_loss",
        "val_loss",
        "val_accuracy",
        "learning_rate",
        "jets_per_second",
    )

    def __init__(self, path: Path, throughput: Throughput):
        self.path, self.throughput = path, throughput
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the epoch; validation has run.

        Raises
        ------
        UserError
            When validation had no jet.
        """
        if "val_loss" not in trainer.callback_metrics:
            raise UserError("no jet of the split 'val' passes the selection")
        row = {
            "epoch": trainer.current_epoch,
            "step": trainer.global_step,
            "train_loss": float(pl_module.train_loss.compute()),
            "val_loss": float(trainer.callback_metrics["val_loss"]),
            "val_accuracy": float(trainer.callback_metrics["val_accuracy"]),
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "jets_per_second": self.throughput.jets / max(self.throughput.seconds, 1e-9),
        }
        self.rows.append(row)
        if trainer.is_global_zero:
            sys.stderr.write(
                f"epoch {row['epoch'] + 1}/{trainer.max_epochs}: loss {row['train_loss']:.4f}, "
                f"validation {row['val_loss']:.4f}, accuracy {row['val_accuracy']:.4f}, "
                f"{row['jets_per_second']:.0f} jets/s\n"
            )
            with atomic_output(self.path) as temporary, temporary.open("w", newline="") as stream:
                writer = csv.DictWriter(stream, self.COLUMNS)
                writer.writeheader()
                writer.writerows(self.rows)

    def state_dict(self) -> dict[str, Any]:
        """Return the rows so far."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the rows of the checkpoint."""
        self.rows = list(state_dict["rows"])
