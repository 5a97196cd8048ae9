"""From event objects to a network's inputs, the same for every task."""

import math

import torch
from torch import Tensor

from training.data.object_features import (
    PUBLISHED_EMPTY,
    Smearing,
    object_features,
    present,
    reflect,
    rotate,
    smear,
)
from training.events.config import Augmentation, EventConfig


def augmented(objects: Tensor, augmentation: Augmentation) -> Tensor:
    """Return events, (B, S, 5), with the changes asked for, drawn for each event."""
    number, device = len(objects), objects.device
    if augmentation.smear:
        normal = torch.randn(*objects.shape[:2], 3, device=device)
        objects = smear(objects, normal, Smearing())
    if augmentation.rotate:
        objects = rotate(objects, 2 * math.pi * torch.rand(number, device=device))
    if augmentation.reflect:
        flips = torch.rand(2, number, device=device) < 0.5
        objects = reflect(objects, flips[0], flips[1])
    return objects


def inputs_of(objects: Tensor, config: EventConfig) -> tuple[Tensor, Tensor]:
    """Return the features, (B, S, 9), and which slots are filled, bool (B, S).

    Features of empty slots are those published, or 0 for a masked network.
    """
    empty = 0.0 if config.model.masked else PUBLISHED_EMPTY
    return object_features(objects, empty), present(objects)
