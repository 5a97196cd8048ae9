"""Sophon: one Particle Transformer over all labels, or over your own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from provenance.errors import UserError, first_line
from training.data.reader import Batch
from training.jets.features import FEATURES
from training.jets.reader import JetReader
from training.models.arrangement import Sizes
from training.models.particle_transformer import ParticleTransformer
from training.models.weaver import convert_weaver
from training.task import Evaluation, Exported, Task
from training.tasks.sophon.config import Config
from training.tasks.sophon.evaluation import evaluate_classes, evaluate_labels
from training.tasks.sophon.export import exported
from training.tasks.sophon.meanings import MEANINGS
from training.tasks.sophon.sampling import sampling_scheme


class Sophon(Task[Config]):
    """Classification of jets by cross-entropy.

    Parameters
    ----------
    config
        The training's configuration.
    """

    meanings = MEANINGS
    measured = ("probabilities", "label", "jet_pt", "jet_sdmass")
    # With the labels of QCD jets no jet is without a label and left out.
    event_options = ("--qcd-labels",)
    network: ParticleTransformer

    def __init__(self, config: Config):
        super().__init__(config)
        has_own_labels = config.labels is not None
        scheme = None if has_own_labels else sampling_scheme(config.data.label)
        self.reader = JetReader(config.data, config.labels, scheme)
        self.labels = self.reader.labels
        self.network = ParticleTransformer(config.model, len(FEATURES), len(self.labels))

    def forward(self, batch: Batch) -> Tensor:
        """Return the logits, (B, labels)."""
        return self.network(*inputs_of(batch))

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Return cross-entropy and accuracy."""
        logits = self(batch)
        label = batch["label"]
        return {
            "loss": functional.cross_entropy(logits, label),
            "accuracy": (logits.argmax(dim=1) == label).float().mean(),
        }

    def predict(self, batch: Batch) -> Batch:
        """Return the probabilities, (B, labels), and the embedding, (B, width)."""
        embedding = self.network.encode(*inputs_of(batch))
        probabilities = self.network.head(embedding).softmax(dim=1)
        return {"probabilities": probabilities, "embedding": embedding}

    def evaluate(self, rows: Mapping[str, np.ndarray], folder: Path) -> Evaluation:
        """Measure the classification."""
        probabilities, label = rows["probabilities"], rows["label"]
        if self.config.labels is None:
            return evaluate_labels(probabilities, label, rows["jet_pt"], rows["jet_sdmass"], folder)
        return evaluate_classes(probabilities, label, self.labels, folder)

    def exported(self) -> Exported:
        """Return the network with the inputs of the public Sophon file."""
        return exported(self.network, self.config.data, self.labels)

    def compile_network(self) -> None:
        """Compile embeddings and blocks."""
        self.network.compile_parts()

    @classmethod
    def convert(cls, weights: Path) -> Self:
        """Return a Sophon with weights of weaver, such as the released ones.

        Raises
        ------
        UserError
            When the file holds no weights of weaver's Particle Transformer at Sophon's sizes.
        """
        if not weights.is_file():
            raise UserError(f"{weights}: no such file")
        task = cls(Config())
        try:
            state = torch.load(weights, map_location="cpu", weights_only=True)
            task.network.load_state_dict(convert_weaver(state))
        except Exception as error:  # torch raises half a dozen unrelated types here
            reason = first_line(error)
            raise UserError(f"{weights}: not weaver's weights of a Sophon ({reason})") from None
        return task


def inputs_of(batch: Batch) -> tuple[Tensor, Tensor, Tensor, Sizes | None]:
    """Return what the network takes of a batch."""
    return batch["features"], batch["vectors"], batch["mask"], batch.get("sizes")


TASK = Sophon
