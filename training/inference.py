"""Running a trained network over a stream of batches."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from training.data.stream import Batch
from training.tasks.sophon import Sophon


@dataclass(frozen=True)
class Scores:
    """What the network says of a batch of jets, and what the jets are."""

    probabilities: np.ndarray  # (B, n_labels) float32
    embedding: np.ndarray  # (B, width) float32
    label: np.ndarray  # (B,) int64
    jet_pt: np.ndarray  # (B,) float32, GeV
    jet_sdmass: np.ndarray  # (B,) float32, GeV


@torch.inference_mode()
def score(task: Sophon, batches: Iterable[Batch]) -> Iterator[Scores]:
    """Yield the scores of each batch; `task` decides the device."""
    for batch in batches:
        inputs = (batch[name].to(task.device) for name in ("features", "vectors", "mask"))
        embedding = task.network.encode(*inputs)
        probabilities = task.network.head(embedding).softmax(dim=1)
        yield Scores(
            probabilities.float().cpu().numpy(),
            embedding.float().cpu().numpy(),
            *(batch[name].numpy() for name in ("label", "jet_pt", "jet_sdmass")),
        )
