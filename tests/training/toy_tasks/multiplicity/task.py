"""The reader, the network and what it is worth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from training.data.reader import Batch, Reader, RowGroup
from training.data.shards import read_table
from training.evaluate.figures import figure
from training.task import Evaluation, Task

from .config import Config

INPUTS = ("jet_pt", "jet_energy", "jet_sdmass")
TRUTH = "jet_nparticles"


@dataclass(frozen=True)
class Columns:
    """Columns as they are."""

    scalars: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.scalars[INPUTS[0]])


class ColumnReader(Reader[Columns]):
    """Reads a few numbers per jet."""

    noun = "jet"
    scalars = (*INPUTS, TRUTH)
    carried = ("jet_pt",)

    def __init__(self):
        self.inputs = dict.fromkeys(INPUTS, "number")
        self.truth = {TRUTH: "number"}

    def read(self, groups: Sequence[RowGroup], truth: bool = True) -> Columns:
        names = self.scalars if truth else INPUTS
        tables = [read_table(group, names) for group in groups]
        return Columns({n: np.concatenate([t[n].to_numpy() for t in tables]) for n in names})

    def collate(self, rows: Columns, chosen: np.ndarray) -> Batch:
        return {n: torch.from_numpy(v[chosen]).float() for n, v in rows.scalars.items()}

    def describe(self) -> dict[str, list[str]]:
        return {"features": [f"ln {name}" for name in INPUTS]}


class Multiplicity(Task[Config]):
    """Mean squared error of the logarithm."""

    measured = ("logarithm", TRUTH)

    def __init__(self, config: Config):
        super().__init__(config)
        self.reader = ColumnReader()
        self.network = nn.Sequential(
            nn.BatchNorm1d(len(INPUTS)),
            nn.Linear(len(INPUTS), config.width),
            nn.GELU(),
            nn.Linear(config.width, 1),
        )

    def step(self, batch: Batch) -> dict[str, Tensor]:
        residual = self.predict(batch)["logarithm"] - batch[TRUTH].log()
        return {"loss": residual.square().mean(), "bias": residual.mean()}

    def predict(self, batch: Batch) -> Batch:
        features = torch.stack([batch[name].clamp(min=1e-3).log() for name in INPUTS], dim=1)
        return {"logarithm": 3 + self.network(features).squeeze(1)}

    def evaluate(self, rows: Mapping[str, np.ndarray], folder: Path) -> Evaluation:
        residual = rows["logarithm"] - np.log(rows[TRUTH])
        with figure(folder / "residuals") as axes:
            axes.hist(residual, bins=20)
        return Evaluation(
            summary={"bias": float(residual.mean()), "spread": float(residual.std())},
            figures={"residuals": "Logarithm of the predicted over the true number."},
        )


TASK = Multiplicity
