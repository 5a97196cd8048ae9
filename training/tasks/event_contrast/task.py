"""Pre-training by contrast: of a batch, the two measurements of one event find each other.

Two simulations of the detector of one generated event differ by what the detector does and agree in
the physics (arXiv:2503.11632).
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from training.data.object_features import FEATURES, Smearing, smear
from training.data.reader import Batch
from training.evaluate import figures
from training.events.config import Augmentation
from training.events.network import augmented, inputs_of
from training.events.reader import EventReader
from training.models.object_transformer import ObjectTransformer
from training.task import Evaluation, Task
from training.tasks.event_contrast.config import Config

# Of the smearing of an evaluation.
SMEARING_SEED = 1
# Among so many events an evaluation looks for the partner.
CROWD = 1000


class EventContrast(Task[Config]):
    """Cross-entropy of the partner among the events of a batch, both ways.

    Parameters
    ----------
    config
        The training's configuration.
    """

    measured = ("first", "second")
    fixed_shapes = True
    network: ObjectTransformer

    def __init__(self, config: Config):
        super().__init__(config)
        slots = config.data.slots
        again = tuple(f"{slot}_again" for slot in slots) if config.again else ()
        self.reader = EventReader((*slots, *again), filled=config.data.filled)
        self.network = ObjectTransformer(config.model, len(FEATURES), config.projection)

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss, and how often the nearest event is the partner."""
        objects = batch["objects"]
        first, second = (self._project(view) for view in self._views(objects))
        cosines = first @ second.transpose(0, 1) / self.config.temperature
        partner = torch.arange(len(objects), device=objects.device)
        losses = (
            functional.cross_entropy(scores, partner)
            for scores in (cosines, cosines.transpose(0, 1))
        )
        right = (cosines.argmax(dim=1) == partner).float()
        return {"loss": sum(losses, torch.zeros((), device=objects.device)) / 2,
                "accuracy": right.mean()}  # fmt: skip

    def _views(self, objects: Tensor) -> tuple[Tensor, Tensor]:
        """Return two measurements of each event, (B, S, 5), changed as the configuration says."""
        changes = self.config.augmentation if self.training else Augmentation()
        if self.config.again:
            slots = len(self.config.data.slots)
            return augmented(objects[:, :slots], changes), augmented(objects[:, slots:], changes)
        twice = changes.model_copy(update={"smear": True})
        return augmented(objects, twice), augmented(objects, twice)

    def _project(self, objects: Tensor) -> Tensor:
        """Return unit vectors, (B, projection)."""
        return functional.normalize(self.network(*inputs_of(objects, self.config)).float(), dim=1)

    def predict(self, batch: Batch) -> Batch:
        """Return unit vectors of both measurements, and what the event looks like.

        Returns
        -------
        dict
            first, second (B, projection): of the two simulations, or of the row and the row smeared
            once; embedding (B, width): the mean token of the first.
        """
        slots = len(self.config.data.slots)
        objects = batch["objects"][:, :slots]
        if self.config.again:
            other = batch["objects"][:, slots:]
        else:
            generator = torch.Generator().manual_seed(SMEARING_SEED)
            normal = torch.randn(*objects.shape[:2], 3, generator=generator)
            other = smear(objects, normal.to(objects.device), Smearing())
        features, mask = inputs_of(objects, self.config)
        tokens = self.network.encode(features, mask)
        return {
            "first": self._project(objects),
            "second": self._project(other),
            "embedding": self.network.average(tokens, mask),
        }

    def evaluate(self, rows: Mapping[str, np.ndarray], folder: Path) -> Evaluation:
        """Measure how often partners find each other among a thousand events."""
        ranks = partner_ranks(rows["first"], rows["second"])
        with figures.figure(folder / "ranks") as axes:
            edges = np.unique(np.geomspace(1, CROWD, 30).astype(int)).tolist()
            axes.hist(ranks + 1, edges, histtype="step", lw=2)
            axes.set(xscale="log", xlabel="Place of the partner", ylabel="Events")
        return Evaluation(
            summary={
                "events": len(ranks),
                "accuracy": float((ranks == 0).mean()),
                "accuracy_of_chance": len(ranks) and 1 / min(len(ranks), CROWD),
                "median_place": float(np.median(ranks) + 1),
            },
            figures={"ranks": f"Place of an event's other measurement among {CROWD} events."},
        )

    def compile_network(self) -> None:
        """Compile the encoder."""
        self.network.compile_parts()


def partner_ranks(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return how many other events are nearer than the partner, within groups of `CROWD` events.

    Parameters
    ----------
    first, second
        (n_events, width) unit vectors.

    Returns
    -------
    numpy.ndarray
        int64 (n_events,).
    """
    ranks = []
    for start in range(0, len(first), CROWD):
        cosines = first[start : start + CROWD] @ second[start : start + CROWD].T
        ranks.append((cosines > np.diagonal(cosines)[:, None]).sum(axis=1))
    return np.concatenate(ranks) if ranks else np.zeros(0, np.int64)


TASK = EventContrast
