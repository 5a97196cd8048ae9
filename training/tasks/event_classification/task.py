"""Classification of events by the objects in their slots."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Tensor
from torch.nn import functional

from training.data.object_features import FEATURES
from training.data.reader import Batch
from training.events.network import augmented, inputs_of
from training.events.reader import EventReader
from training.models.object_transformer import ObjectTransformer
from training.task import Evaluation, Task
from training.tasks.event_classification.config import Config
from training.tasks.event_classification.evaluation import evaluate_events, score_trees
from training.tasks.event_classification.meanings import MEANINGS


class EventClassification(Task[Config]):
    """Classes of processes by cross-entropy.

    Parameters
    ----------
    config
        The training's configuration.
    """

    meanings = MEANINGS
    measured = ("probabilities", "label", "objects")
    fixed_shapes = True
    network: ObjectTransformer

    def __init__(self, config: Config):
        super().__init__(config)
        self.reader = EventReader(config.data.slots, config.classes, config.data.filled)
        self.network = ObjectTransformer(config.model, len(FEATURES), len(config.classes))
        self._seen: Mapping[str, np.ndarray] | None = None

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Return cross-entropy and accuracy."""
        objects = batch["objects"]
        if self.training:
            objects = augmented(objects, self.config.augmentation)
        logits = self.network(*inputs_of(objects, self.config))
        label = batch["label"]
        return {
            "loss": functional.cross_entropy(logits.float(), label),
            "accuracy": (logits.argmax(dim=1) == label).float().mean(),
        }

    def predict(self, batch: Batch) -> Batch:
        """Return the probabilities, (B, classes), and the embedding, (B, width)."""
        features, mask = inputs_of(batch["objects"], self.config)
        tokens = self.network.encode(features, mask)
        embedding = self.network.average(tokens, mask)
        logits = self.network.head(embedding)
        return {"probabilities": logits.float().softmax(dim=1), "embedding": embedding}

    def evaluate(self, rows: Mapping[str, np.ndarray], folder: Path) -> Evaluation:
        """Measure the classification, and beside it boosted trees where they are asked for."""
        evaluation = evaluate_events(
            rows["probabilities"], rows["label"], tuple(self.config.classes), folder
        )
        if self._seen is None:
            return evaluation
        trees = score_trees(self._seen, rows, self.config.seed)
        return replace(evaluation, summary={**evaluation.summary, **trees})

    @property
    def compared(self) -> tuple[str, ...]:
        """What trees are trained on, where they are asked for."""
        return ("objects", "label") if self.config.trees else ()

    def compare_with(self, rows: Mapping[str, np.ndarray]) -> None:
        """Take what trees are trained on."""
        self._seen = rows

    def compile_network(self) -> None:
        """Compile the encoder."""
        self.network.compile_parts()


TASK = EventClassification
