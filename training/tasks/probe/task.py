"""A probe: classes of jets from an encoder's tokens, the encoder frozen or not."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Tensor
from torch.nn import functional

from training.data.reader import Batch
from training.jets.constituents import FEATURES, ConstituentReader, jets_of
from training.models.compilation import compile_for_all_sizes
from training.models.jet_encoder import JetEncoder
from training.models.joint_embedding import TokenClassifier
from training.models.sizes import PatchEncoderConfig
from training.task import Evaluation, Task
from training.tasks.probe.config import Config
from training.tasks.probe.meanings import MEANINGS
from training.tasks.sophon.evaluation import EFFICIENCIES, evaluate_classes


class Probe(Task[Config]):
    """Classification of jets by cross-entropy.

    Parameters
    ----------
    config
        The training's configuration.
    """

    meanings = MEANINGS
    measured = ("probabilities", "label")
    network: TokenClassifier
    reader: ConstituentReader

    def __init__(self, config: Config):
        super().__init__(config)
        encoder = config.model.encoder
        patches = encoder.patches if isinstance(encoder, PatchEncoderConfig) else None
        self.reader = ConstituentReader(
            config.data, patches=patches, seed=config.seed, shuffled=config.data.shuffle_labels
        )
        self.labels = self.reader.labels or ()
        self.network = TokenClassifier(
            config.model.classifier, JetEncoder(encoder, len(FEATURES)), len(self.labels)
        )

    def forward(self, batch: Batch) -> Tensor:
        """Return the logits, (B, classes)."""
        return self.network(jets_of(batch))

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Return cross-entropy and accuracy."""
        logits, label = self(batch), batch["label"]
        return {
            "loss": functional.cross_entropy(logits, label),
            "accuracy": (logits.argmax(dim=1) == label).float().mean(),
        }

    def predict(self, batch: Batch) -> Batch:
        """Return the probabilities, (B, classes)."""
        return {"probabilities": self(batch).softmax(dim=1)}

    def evaluate(self, rows: Mapping[str, np.ndarray], folder: Path) -> Evaluation:
        """Measure the classification, with rejections of the other classes."""
        found = evaluate_classes(rows["probabilities"], rows["label"], self.labels, folder)
        return replace(found, summary={**found.summary, **self._rejections(found)})

    def compile_network(self) -> None:
        """Compile the blocks of the encoder."""
        encoder = self.network.encoder
        compile_for_all_sizes((encoder.pair_bias, *encoder.blocks))

    def _rejections(self, found: Evaluation) -> dict[str, float | None]:
        """Return rejections: of two classes at the efficiency of the second, of more the mean.

        The mean is a geometric one, over classes for which the sample tells it.
        """
        of_classes = found.details["rejection_of_other_classes"]
        assert isinstance(of_classes, dict)
        names = self.labels[1:] if len(self.labels) == 2 else self.labels
        summary: dict[str, float | None] = {}
        for efficiency in EFFICIENCIES:
            values = [of_classes[name][f"at_{efficiency:.0%}"] for name in names]
            known = [math.log(value) for value in values if value]
            summary[f"rejection_at_{efficiency:.0%}"] = (
                math.exp(sum(known) / len(known)) if known else None
            )
        return summary


TASK = Probe
