"""Pre-training by guessing the hidden types, or the hidden kinematics, of objects."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from training.data.object_features import FEATURES, FILLED, TYPE_FEATURES
from training.data.reader import Batch
from training.events.network import augmented, inputs_of
from training.events.reader import EventReader
from training.models.object_transformer import ObjectTransformer
from training.task import Evaluation, Task
from training.tasks.event_pretraining.config import Config
from training.tasks.event_pretraining.evaluation import evaluate_kinematics, evaluate_types
from training.tasks.event_pretraining.meanings import MEANINGS

KINEMATIC_FEATURES = slice(0, TYPE_FEATURES.start)
# Of what an evaluation hides.
HIDING_SEED = 1


class EventPretraining(Task[Config]):
    """A guess for each object, by cross-entropy (types) or squared errors (kinematics).

    Parameters
    ----------
    config
        The training's configuration.
    """

    meanings = MEANINGS
    measured = ("objects", "hidden", "guess")
    fixed_shapes = True
    network: ObjectTransformer

    def __init__(self, config: Config):
        super().__init__(config)
        self.reader = EventReader(config.data.slots, filled=config.data.filled)
        of_types = config.hidden == "types"
        self.hidden_features = TYPE_FEATURES if of_types else KINEMATIC_FEATURES
        outputs = self.hidden_features.stop - self.hidden_features.start
        self.network = ObjectTransformer(config.model, len(FEATURES), outputs, of="object")

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss, and for types the accuracy on hidden ones."""
        objects = batch["objects"]
        if self.training:
            objects = augmented(objects, self.config.augmentation)
        features, mask = inputs_of(objects, self.config)
        if self.config.shuffled_types:
            features = shuffle_types(features, mask, torch.rand(mask.shape, device=mask.device))
        hidden = mask & (torch.rand(mask.shape, device=mask.device) < self.config.probability)
        guess = self.network(self.hide(features, hidden), mask)
        truth = features[..., self.hidden_features]
        counted = hidden if self.config.counted == "hidden" else mask
        if self.config.hidden == "kinematics":
            losses = functional.mse_loss(guess.float(), truth, reduction="none").mean(dim=2)
            return {"loss": _mean(losses, counted)}
        kind = truth.argmax(dim=2)
        losses = functional.cross_entropy(
            guess.float().flatten(0, 1), kind.flatten(), reduction="none"
        )
        right = (guess.argmax(dim=2) == kind).float()
        return {
            "loss": _mean(losses.view_as(right), counted),
            "accuracy": _mean(right, hidden),
        }

    def hide(self, features: Tensor, hidden: Tensor) -> Tensor:
        """Return features, (B, S, 9), with 0 for what is hidden of the objects (B, S)."""
        chosen = torch.zeros(features.shape[2], dtype=torch.bool, device=features.device)
        chosen[self.hidden_features] = True
        return features.masked_fill(hidden[..., None] & chosen, 0.0)

    def predict(self, batch: Batch) -> Batch:
        """Return what is guessed while some of it is hidden, and what the whole event looks like.

        Returns
        -------
        dict
            hidden (B, S): of which objects; guess: (B, S) types, or (B, 5 S) kinematic features,
            object by object; embedding (B, width): the mean token of the event with nothing hidden.
        """
        features, mask = inputs_of(batch["objects"], self.config)
        generator = torch.Generator().manual_seed(HIDING_SEED)
        drawn = torch.rand(mask.shape, generator=generator).to(mask.device)
        hidden = mask & (drawn < self.config.probability)
        guess = self.network(self.hide(features, hidden), mask)
        if self.config.hidden == "types":
            guess = torch.tensor(FILLED, device=mask.device)[guess.argmax(dim=2)]
        tokens = self.network.encode(features, mask)
        return {
            "hidden": hidden,
            "guess": guess.flatten(1),
            "embedding": self.network.average(tokens, mask),
        }

    def evaluate(self, rows: Mapping[str, np.ndarray], folder: Path) -> Evaluation:
        """Measure the guesses beside those that need no network."""
        evaluated = evaluate_types if self.config.hidden == "types" else evaluate_kinematics
        return evaluated(rows["objects"], rows["hidden"], rows["guess"], folder)

    def compile_network(self) -> None:
        """Compile the encoder."""
        self.network.compile_parts()


def shuffle_types(features: Tensor, mask: Tensor, drawn: Tensor) -> Tensor:
    """Let the types of an event change places among its objects.

    Parameters
    ----------
    features
        (B, S, 9).
    mask
        bool (B, S): filled slots; empty ones stay as they are.
    drawn
        (B, S): numbers in [0, 1) whose order is the new one.
    """
    absent = (~mask).float()
    places, order = (absent + 0.5 * drawn).argsort(dim=1), absent.argsort(dim=1, stable=True)
    source = places.gather(1, order.argsort(dim=1))
    index = source[..., None].expand(-1, -1, TYPE_FEATURES.stop - TYPE_FEATURES.start)
    types = features[..., TYPE_FEATURES].gather(1, index)
    return torch.cat((features[..., KINEMATIC_FEATURES], types), dim=2)


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    weight = chosen.float()
    return (values * weight).sum() / weight.sum().clamp(min=1)


TASK = EventPretraining
