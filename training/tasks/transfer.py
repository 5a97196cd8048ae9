"""Transfer: a pre-trained network learns a user's own classes."""

from typing import Any, Self

import torch
from torch import Tensor

from training.config import FitConfig
from training.models.particle_transformer import ParticleTransformer
from training.tasks.sophon import Sophon


class Transfer(Sophon):
    """Classification into other classes, with a new head on the embedding of a network.

    Parameters
    ----------
    config
        The training's configuration; `model` has the sizes of `pretrained`.
    labels
        Names of the classes, in index order.
    pretrained
        Where everything but the head begins; None: from scratch.
    """

    def __init__(
        self,
        config: FitConfig,
        labels: tuple[str, ...],
        pretrained: ParticleTransformer | None = None,
    ):
        super().__init__(config, labels)
        if pretrained is not None:
            body = {k: v for k, v in pretrained.state_dict().items() if not k.startswith("head.")}
            self.network.load_state_dict(body, strict=False)
        self.frozen = config.transfer.frozen
        if self.frozen:
            self.network.requires_grad_(False)
            self.network.head.requires_grad_(True)
        self.train()

    def forward(self, features: Tensor, vectors: Tensor, mask: Tensor) -> Tensor:
        """Return the logits, (B, labels)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            embedding = self.network.encode(features, vectors, mask)
        return self.network.head(embedding)

    def train(self, mode: bool = True) -> Self:
        """Set the mode; a frozen body always evaluates, or its batch norms would move."""
        super().train(mode)
        if getattr(self, "frozen", False):
            self.network.eval()
            self.network.head.train(mode)
        return self

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Describe the checkpoint; the weights it began with are no longer needed."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["description"]["config"]["transfer"]["checkpoint"] = None
