"""Regression of log(pT_gen / pT), with heads for resolution, neutrinos and mass."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.data.reader import Batch
from training.jec.controls import LARGEST_TARGET
from training.models.deep_sets import DeepSets
from training.models.particle_net import ParticleNet
from training.models.ragged import Collection
from training.task import Evaluation, Task
from training.tasks.jet_energy.config import Config, DeepSetsModel
from training.tasks.jet_energy.evaluation import QUANTILES, evaluate_corrections
from training.tasks.jet_energy.meanings import MEANINGS
from training.tasks.jet_energy.reader import EnergyReader

# Head → number of outputs, after that of the correction.
WIDTHS = {"quantiles": len(QUANTILES), "neutrinos": 1, "mass": 1}


class JetEnergy(Task[Config]):
    """Mean absolute error of the logarithm of the correction.

    Parameters
    ----------
    config
        The training's configuration.
    """

    meanings = MEANINGS

    reader: EnergyReader
    network: DeepSets | ParticleNet

    def __init__(self, config: Config):
        super().__init__(config)
        self.reader = EnergyReader(config.data)
        self.heads = [name for name in WIDTHS if getattr(config.heads, name)]
        outputs = 1 + sum(WIDTHS[name] for name in self.heads)
        widths = {name: len(names) for name, names in self.reader.names.items()}
        jet_width = len(config.data.jet)
        if isinstance(config.model, DeepSetsModel):
            self.network = DeepSets(config.model, widths, jet_width, outputs)
        else:
            self.network = ParticleNet(config.model, widths, jet_width, outputs)
        more = {
            "quantiles": ("quantiles",),
            "neutrinos": ("factor_with_neutrinos", "target_neutrinos"),
            "mass": ("mass_factor", "target_mass"),
        }
        self.measured = (
            *self.compared, "flavour", "event", *(x for name in self.heads for x in more[name]),
        )  # fmt: skip
        self._training: Mapping[str, np.ndarray] | None = None

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the outputs by head, (B,) or (B, 3): logarithms of factors."""
        collections = {
            name: Collection(batch[name], batch[f"{name}_offsets"], batch[f"{name}_positions"])
            for name in self.reader.names
        }
        out = self.network(collections, batch["jets"])
        widths = [1, *(WIDTHS[name] for name in self.heads)]
        return {
            name: part.squeeze(1) if part.shape[1] == 1 else part
            for name, part in zip(("correction", *self.heads), out.split(widths, 1), strict=True)
        }

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Return the sum of the losses of all heads, and each of them."""
        out = self(batch)
        losses = {"error": masked_mean(out["correction"] - batch["target"], batch["target"])}
        if "quantiles" in out:
            losses["quantile_loss"] = quantile_loss(out["quantiles"], batch["target"])
        for name in ("neutrinos", "mass"):
            if name in out:
                target = batch[f"target_{name}"]
                losses[f"{name}_error"] = masked_mean(out[name] - target, target)
        return {"loss": torch.stack(list(losses.values())).sum(), **losses}

    def predict(self, batch: Batch) -> Batch:
        """Return the factors (B,) that pT is multiplied by, and what the other heads say.

        `quantiles` (B, 3) are of the factor: the resolution is half of what lies between the
        first and the last.
        """
        out = self(batch)
        predicted = {"factor": out["correction"].exp()}
        if "quantiles" in out:
            # Learned apart, they may cross where there is little to learn from.
            predicted["quantiles"] = out["quantiles"].exp().sort(dim=1).values
        if "neutrinos" in out:
            predicted["factor_with_neutrinos"] = out["neutrinos"].exp()
        if "mass" in out:
            predicted["mass_factor"] = out["mass"].exp()
        return predicted

    @property
    def compared(self) -> tuple[str, ...]:
        """What the standard correction and the controls are fitted to."""
        return ("jet_pt", "genjet_pt", "target", "summary", "factor")

    def compare_with(self, rows: Mapping[str, np.ndarray]) -> None:
        """Take the training jets, which the standard correction and the controls are fitted to."""
        self._training = rows

    def evaluate(self, rows: Mapping[str, np.ndarray], folder: Path) -> Evaluation:
        """Compare with the standard correction and the controls."""
        if self._training is None:
            raise AssertionError("an evaluation gives the training jets first")
        return evaluate_corrections(
            rows, self._training, folder, offset=self.config.offset, seed=self.config.seed
        )

    def compile_network(self) -> None:
        """Compile the layers."""
        self.network.compile_parts()


def masked_mean(residual: Tensor, target: Tensor) -> Tensor:
    """Return the mean absolute residual, where jets with a target of 1 or more count as 0.

    They stay in the number of jets, as published.
    """
    return (residual.abs() * (target.abs() < LARGEST_TARGET)).mean()


def quantile_loss(quantiles: Tensor, target: Tensor) -> Tensor:
    """Return the pinball loss of `QUANTILES`, (B, 3) and (B,), masked as `masked_mean`."""
    levels = quantiles.new_tensor(QUANTILES)
    above = target[:, None] - quantiles
    loss = torch.maximum(levels * above, (levels - 1) * above).sum(dim=1)
    return (loss * (target.abs() < LARGEST_TARGET)).mean()


TASK = JetEnergy
