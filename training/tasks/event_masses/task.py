"""Pre-training by invariant masses of pairs and triples of objects.

They follow from the objects, so that no label is needed, and resonances are seen in them; but a
network that attends to single objects has to learn what a mass is, which a few thousand events
with labels do not teach.
"""

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ntuplizer.slots import MISSING
from training.data.object_features import ETA, FEATURES, MASS, PHI, PT, TYPE, present
from training.data.reader import Batch
from training.evaluate import figures
from training.events.network import augmented, inputs_of
from training.events.reader import EventReader
from training.models.object_transformer import ObjectTransformer
from training.task import Evaluation, Task
from training.tasks.event_masses.config import Config

SIZES = (2, 3)
# Of log10(m / GeV + 1), about those of a pair of jets: targets are of order one.
MEAN, SPREAD = 2.1, 0.3


class EventMasses(Task[Config]):
    """Masses of all pairs and triples of an event, by squared errors of their logarithms.

    Parameters
    ----------
    config
        The training's configuration.
    """

    measured = ("masses", "known", "guess")
    network: ObjectTransformer

    def __init__(self, config: Config):
        super().__init__(config)
        slots = config.data.slots
        self.reader = EventReader(slots)
        outputs = sum(1 for size in SIZES for _ in combinations(slots, size))
        self.network = ObjectTransformer(config.model, len(FEATURES), outputs)

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mean squared error, 1 for the spread of masses."""
        objects = batch["objects"]
        if self.training:
            objects = augmented(objects, self.config.augmentation)
        guess = self.network(*inputs_of(objects, self.config)).float()
        masses, known = log_masses(objects)
        weight = known.float()
        losses = ((masses - MEAN) / SPREAD - guess).square() * weight
        return {"loss": losses.sum() / weight.sum().clamp(min=1)}

    def predict(self, batch: Batch) -> Batch:
        """Return guesses beside the truth.

        Returns
        -------
        dict
            guess, masses (B, combinations): log10(m / GeV + 1), pairs of slots before triples;
            known (B, combinations): of which all objects are there; embedding (B, width): the mean
            token of the event.
        """
        features, mask = inputs_of(batch["objects"], self.config)
        embedding = self.network.average(self.network.encode(features, mask), mask)
        masses, known = log_masses(batch["objects"])
        guess = MEAN + SPREAD * self.network.head(embedding).float()
        return {"guess": guess, "masses": masses, "known": known, "embedding": embedding}

    def evaluate(self, rows: Mapping[str, np.ndarray], folder: Path) -> Evaluation:
        """Measure how much of the spread of each mass, in events that have it, is explained."""
        names = [
            "+".join(slots)
            for size in SIZES
            for slots in combinations(self.config.data.slots, size)
        ]
        explained: dict[str, float | None] = {}
        errors = []
        for i, name in enumerate(names):
            known = rows["known"][:, i].astype(bool)
            truth, guess = (rows[key][known, i].astype(np.float64) for key in ("masses", "guess"))
            errors.append(guess - truth)
            spread = np.square(truth - truth.mean()).sum() if known.any() else 0.0
            explained[name] = 1 - np.square(guess - truth).sum() / spread if spread else None
        values = [value for value in explained.values() if value is not None]
        with figures.figure(folder / "masses") as axes:
            axes.barh(names, [value or 0.0 for value in explained.values()])
            axes.set_xlabel("Explained share of the variance of log m")
            axes.tick_params(axis="y", labelsize=5)
        return Evaluation(
            summary={
                "events": len(rows["guess"]),
                "explained": float(np.mean(values)) if values else None,
                "least_explained": min(values, default=None),
                "error_of_log_mass": float(np.std(np.concatenate(errors))),
            },
            figures={
                "masses": "Share of the variance of each combination's log m that is explained."
            },
            details={"explained": explained},
        )

    def compile_network(self) -> None:
        """Compile the encoder."""
        self.network.compile_parts()


def log_masses(objects: Tensor) -> tuple[Tensor, Tensor]:
    """Return log10(m / GeV + 1) of each pair and triple of slots, and whether all are filled.

    Missing momentum is taken as massless and transverse.

    Parameters
    ----------
    objects
        (B, S, 5): pT, η, φ, mass and type.

    Returns
    -------
    masses, known : Tensor
        (B, combinations), pairs in the order of `itertools.combinations`, then triples.
    """
    pt, phi, mass = objects[..., PT], objects[..., PHI], objects[..., MASS]
    eta = objects[..., ETA] * (objects[..., TYPE] != MISSING)
    px, py, pz = pt * torch.cos(phi), pt * torch.sin(phi), pt * torch.sinh(eta)
    energy = (px.square() + py.square() + pz.square() + mass.square()).sqrt()
    momenta = torch.stack((energy, px, py, pz), dim=2)
    filled = present(objects)
    masses, known = [], []
    # Object by object: a product of matrices would round in reduced precision, and an index would
    # be copied to a GPU, which a captured step cannot wait for.
    for size in SIZES:
        for slots in combinations(range(objects.shape[1]), size):
            total = torch.stack([momenta[:, slot] for slot in slots]).sum(dim=0)
            squared = 2 * total[:, 0].square() - total.square().sum(dim=1)
            masses.append(torch.log10(squared.clamp(min=0).sqrt() + 1))
            known.append(torch.stack([filled[:, slot] for slot in slots]).all(dim=0))
    return torch.stack(masses, dim=1), torch.stack(known, dim=1)


TASK = EventMasses
