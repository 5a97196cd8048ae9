"""Sophon: one Particle Transformer over all labels (arXiv:2405.12972)."""

import math
from typing import Any

from lightning import LightningModule
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from training.config import FitConfig, OptimizerConfig
from training.data.features import FEATURES, VECTORS
from training.data.stream import Batch
from training.models.particle_transformer import ParticleTransformer


class Sophon(LightningModule):
    """Classification of jets by cross-entropy.

    Parameters
    ----------
    config
        The training's configuration.
    labels
        Names of the classes, in index order.
    """

    def __init__(self, config: FitConfig, labels: tuple[str, ...]):
        super().__init__()
        self.config, self.labels = config, labels
        self.network = ParticleTransformer(config.model, len(FEATURES), len(labels))
        self.loss = nn.CrossEntropyLoss()
        self.train_loss = MeanMetric()
        # A training that goes on in mid-epoch keeps the batches before.
        self.train_loss.persistent(True)
        self.val_loss = MeanMetric()
        self.val_accuracy = MulticlassAccuracy(len(labels), average="micro")

    def forward(self, features: Tensor, vectors: Tensor, mask: Tensor) -> Tensor:
        """Return the logits, (B, labels)."""
        return self.network(features, vectors, mask)

    def training_step(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        loss = self.loss(self(batch["features"], batch["vectors"], batch["mask"]), batch["label"])
        self.train_loss.update(loss.detach(), len(batch["label"]))
        return loss

    def on_train_epoch_end(self) -> None:
        """Log the epoch's mean loss."""
        self.log("train_loss", self.train_loss.compute())
        self.train_loss.reset()

    def validation_step(self, batch: Batch) -> None:
        """Accumulate loss and accuracy."""
        logits = self(batch["features"], batch["vectors"], batch["mask"])
        self.val_loss.update(self.loss(logits, batch["label"]), len(batch["label"]))
        self.val_accuracy.update(logits, batch["label"])

    def on_validation_epoch_end(self) -> None:
        """Log the split's loss and accuracy."""
        self.log("val_loss", self.val_loss.compute(), prog_bar=True)
        self.log("val_accuracy", self.val_accuracy.compute(), prog_bar=True)
        self.val_loss.reset()
        self.val_accuracy.reset()

    def configure_optimizers(self) -> dict[str, Any]:
        """Return AdamW and its schedule, stepped with every batch."""
        optimizer = adamw(self.network, self.config.optimizer)
        # Not `estimated_stepping_batches`: that sets up the loader before its state is restored.
        steps = self.trainer.max_epochs * self.trainer.limit_train_batches
        schedule = warmup_flat_decay(optimizer, self.config.optimizer, steps)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the norm; Lightning refuses to beside a fused optimiser under mixed precision.

        Its reason, gradients scaled for 16-bit floats, does not hold for bfloat16.
        """
        nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what is needed to use the checkpoint without its configuration (contract 5)."""
        checkpoint["description"] = {
            "task": self.config.task,
            "config": self.config.model_dump(mode="json"),
            "features": list(FEATURES),
            "vectors": list(VECTORS),
            "labels": list(self.labels),
        }


def adamw(network: nn.Module, config: OptimizerConfig) -> Optimizer:
    """Return AdamW that decays matrices only, not biases, norms, scales and tokens."""
    matrices, others = [], []
    for parameter in filter(lambda parameter: parameter.requires_grad, network.parameters()):
        (matrices if parameter.squeeze().ndim > 1 else others).append(parameter)
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=config.learning_rate, betas=(0.95, 0.999), eps=1e-5, fused=True)


def warmup_flat_decay(optimizer: Optimizer, config: OptimizerConfig, steps: int) -> LambdaLR:
    """Return the schedule: linear rise, flat stretch, exponential fall to `final_fraction`."""
    warmup, flat = config.warmup * steps, config.flat * steps

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if step <= flat:
            return 1.0
        return math.exp(math.log(config.final_fraction) * (step - flat) / max(steps - flat, 1))

    return LambdaLR(optimizer, factor)
