"""Pre-training by invariant masses of combinations of objects.

They follow from the objects, so that no label is needed, and resonances are seen in them; but a
network that attends to single objects has to learn what a mass is, which a few thousand events
with labels do not teach.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ntuplizer.slots import LEPTON, MISSING
from training.baselines.event_trees import W_MASS
from training.data.object_features import ETA, FEATURES, MASS, PHI, PT, TYPE, present
from training.data.reader import Batch
from training.evaluate import figures
from training.events.network import augmented, inputs_of
from training.events.reader import EventReader
from training.models.object_transformer import ObjectTransformer
from training.task import Evaluation, Task
from training.tasks.event_masses.config import Config

# Of log10(m / GeV + 1), about those of a pair of jets: targets are of order one.
MEAN, SPREAD = 2.1, 0.3


class EventMasses(Task[Config]):
    """Masses of combinations of an event's objects, by squared errors of their logarithms.

    Parameters
    ----------
    config
        The training's configuration.
    """

    measured = ("masses", "known", "guess")
    fixed_shapes = True
    network: ObjectTransformer

    def __init__(self, config: Config):
        super().__init__(config)
        slots = config.data.slots
        self.reader = EventReader(slots, filled=config.data.filled)
        outputs = len(combinations_of(len(slots), config.sizes))
        self.network = ObjectTransformer(config.model, len(FEATURES), outputs)

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mean squared error, 1 for the spread of masses."""
        objects = batch["objects"]
        if self.training:
            objects = augmented(objects, self.config.augmentation)
        guess = self.network(*inputs_of(objects, self.config)).float()
        masses, known = self._masses(objects)
        weight = known.float()
        losses = ((masses - MEAN) / SPREAD - guess).square() * weight
        return {"loss": losses.sum() / weight.sum().clamp(min=1)}

    def _masses(self, objects: Tensor) -> tuple[Tensor, Tensor]:
        return log_masses(objects, self.config.sizes, self.config.neutrino)

    def predict(self, batch: Batch) -> Batch:
        """Return guesses beside the truth.

        Returns
        -------
        dict
            guess, masses (B, combinations): log10(m / GeV + 1), in the order of `combinations_of`;
            known (B, combinations): of which all objects are there; embedding (B, width): the mean
            token of the event.
        """
        features, mask = inputs_of(batch["objects"], self.config)
        embedding = self.network.average(self.network.encode(features, mask), mask)
        masses, known = self._masses(batch["objects"])
        guess = MEAN + SPREAD * self.network.head(embedding).float()
        return {"guess": guess, "masses": masses, "known": known, "embedding": embedding}

    def evaluate(self, rows: Mapping[str, np.ndarray], folder: Path) -> Evaluation:
        """Measure how much of the spread of each mass, in events that have it, is explained."""
        slots = self.config.data.slots
        names = [
            "+".join(slots[slot] for slot in chosen)
            for chosen in combinations_of(len(slots), self.config.sizes)
        ]
        explained: dict[str, float | None] = {}
        errors = []
        for i, name in enumerate(names):
            known = rows["known"][:, i].astype(bool)
            truth, guess = (rows[key][known, i].astype(np.float64) for key in ("masses", "guess"))
            errors.append(guess - truth)
            spread = np.square(truth - truth.mean()).sum() if known.any() else 0.0
            explained[name] = 1 - np.square(guess - truth).sum() / spread if spread else None
        off = np.concatenate(errors)
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
                "error_of_log_mass": float(np.std(off)) if len(off) else None,
            },
            figures={
                "masses": "Share of the variance of each combination's log m that is explained."
            },
            details={"explained": explained},
        )

    def compile_network(self) -> None:
        """Compile the encoder."""
        self.network.compile_parts()


def combinations_of(slots: int, sizes: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the combinations of so many slots, those of the first size first."""
    return [chosen for size in sizes for chosen in combinations(range(slots), size)]


def log_masses(objects: Tensor, sizes: Sequence[int], neutrino: bool) -> tuple[Tensor, Tensor]:
    """Return log10(m / GeV + 1) of combinations of slots, and whether all their slots are filled.

    Parameters
    ----------
    objects
        (B, S, 5): pT, η, φ, mass and type.
    sizes
        Of combinations.
    neutrino
        Whether missing momentum gets a momentum along the beam from the mass of a W; otherwise, and
        in events without a lepton, it is taken as transverse. It has no mass.

    Returns
    -------
    masses, known : Tensor
        (B, combinations), in the order of `combinations_of`.
    """
    pt, phi, mass = objects[..., PT], objects[..., PHI], objects[..., MASS]
    missing = objects[..., TYPE] == MISSING
    pz = pt * torch.sinh(objects[..., ETA] * ~missing)
    px, py = pt * torch.cos(phi), pt * torch.sin(phi)
    if neutrino:
        lepton = (objects[..., TYPE] == LEPTON) & present(objects)
        # Of the first lepton, which has the largest pT.
        first = (lepton & (lepton.cumsum(dim=1) == 1)).float()
        x, y, z = ((values * first).sum(dim=1, keepdim=True) for values in (px, py, pz))
        pz = torch.where(missing, _neutrino_pz(x, y, z, px, py), pz)
    energy = (px.square() + py.square() + pz.square() + mass.square()).sqrt()
    momenta = torch.stack((energy, px, py, pz), dim=2)
    filled = present(objects)
    # Object by object: a product of matrices would round in reduced precision, and an index would
    # be copied to a GPU, which a captured step cannot wait for.
    total: dict[tuple[int, ...], Tensor] = {(): torch.zeros_like(momenta[:, 0])}
    complete: dict[tuple[int, ...], Tensor] = {(): torch.ones_like(filled[:, 0])}
    slots = objects.shape[1]
    for chosen in combinations_of(slots, range(1, max(sizes) + 1)):
        total[chosen] = total[chosen[:-1]] + momenta[:, chosen[-1]]
        complete[chosen] = complete[chosen[:-1]] & filled[:, chosen[-1]]
    wanted = combinations_of(slots, sizes)
    totals = torch.stack([total[chosen] for chosen in wanted], dim=1)
    squared = 2 * totals[..., 0].square() - totals.square().sum(dim=2)
    masses = torch.log10(squared.clamp(min=0).sqrt() + 1)
    return masses, torch.stack([complete[chosen] for chosen in wanted], dim=1)


def _neutrino_pz(
    px: Tensor, py: Tensor, pz: Tensor, missing_px: Tensor, missing_py: Tensor
) -> Tensor:
    """Return pz of the neutrino of W → ℓν, 0 without a lepton.

    Of two solutions the smaller one, of a complex pair the real part. The lepton, px, py and pz in
    GeV, has no mass.
    """
    pt2 = px.square() + py.square()
    missing_pt2 = missing_px.square() + missing_py.square()
    half = W_MASS**2 / 2 + px * missing_px + py * missing_py
    root = (half.square() - pt2 * missing_pt2).clamp(min=0).sqrt() * (pt2 + pz.square()).sqrt()
    smaller = half * pz - torch.sign(half * pz) * root
    return smaller / pt2.clamp(min=1e-3)


TASK = EventMasses
