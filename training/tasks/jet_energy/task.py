"""Regression of log(pT_gen / pT), with heads for resolution, neutrinos and mass."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from provenance.errors import UserError
from training.data.reader import Batch
from training.jec.calibration import LARGEST_TARGET, QUANTILES, Calibration
from training.models.deep_sets import DeepSets
from training.models.jet_regressor import JetRegressor
from training.models.jet_transformer import JetTransformer
from training.models.particle_net import ParticleNet
from training.models.ragged import Collection
from training.task import Evaluation, Task
from training.tasks.jet_energy.config import (
    Config,
    DeepSetsModel,
    ParticleNetModel,
    ParticleTransformerModel,
)
from training.tasks.jet_energy.evaluation import evaluate_corrections
from training.tasks.jet_energy.features import SUMMARY
from training.tasks.jet_energy.meanings import MEANINGS
from training.tasks.jet_energy.reader import IDENTITY, EnergyJets, EnergyReader, event_number

# Head → number of outputs, after that of the correction.
WIDTHS = {"quantiles": len(QUANTILES), "neutrinos": 1, "mass": 1}

# Head → what it says, and its target where that is another than the correction's.
HEADS = {
    "quantiles": ("quantiles",),
    "neutrinos": ("factor_with_neutrinos", "target_neutrinos"),
    "mass": ("mass_factor", "target_mass"),
}
# Logarithms of factors beyond this say nothing of a jet, and without a limit become 0 or infinity.
MOST_LOG = 10.0
# By the type of `model`.
NETWORKS: dict[type, type[JetRegressor]] = {
    DeepSetsModel: DeepSets,
    ParticleNetModel: ParticleNet,
    ParticleTransformerModel: JetTransformer,
}


class JetEnergy(Task[Config]):
    """Mean absolute error of the logarithm of the correction.

    Parameters
    ----------
    config
        The training's configuration.
    """

    meanings = MEANINGS

    reader: EnergyReader
    network: JetRegressor
    levels: Tensor

    def __init__(self, config: Config):
        super().__init__(config)
        self.reader = EnergyReader(config.data)
        self.heads = [name for name in WIDTHS if getattr(config.heads, name)]
        outputs = 1 + sum(WIDTHS[name] for name in self.heads)
        widths = {name: len(names) for name, names in self.reader.names.items()}
        jet_width = len(config.data.jet)
        make: Callable[..., JetRegressor] = NETWORKS[type(config.model)]
        self.network = make(config.model, widths, jet_width, outputs)
        self.measured = (
            *self.compared, "factor", "factor_uncalibrated", "flavour", "event", "batch",
            *(x for name in self.heads for x in HEADS[name]),
        )  # fmt: skip
        # On the device: made anew in each step, they would be copied there, and a step would wait.
        self.register_buffer("levels", torch.tensor(QUANTILES), persistent=False)
        self._calibration: Calibration | None = None
        self._training: Mapping[str, np.ndarray] | None = None

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the outputs by head, (B,) or (B, 3): logarithms of factors."""
        collections = {
            name: Collection(
                batch[name],
                batch[f"{name}_offsets"],
                batch[f"{name}_positions"],
                batch[f"{name}_pt"],
                batch[f"{name}_share"],
            )
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
            losses["quantile_loss"] = quantile_loss(out["quantiles"], batch["target"], self.levels)
        for name in ("neutrinos", "mass"):
            if name in out:
                target = batch[f"target_{name}"]
                losses[f"{name}_error"] = masked_mean(out[name] - target, target)
        return {"loss": torch.stack(list(losses.values())).sum(), **losses}

    def predict(self, batch: Batch) -> Batch:
        """Return the factors (B,) that pT is multiplied by, and what the other heads say.

        `quantiles` (B, 3) are of the factor: the resolution is half of what lies between the
        first and the last. `factor_uncalibrated` is what the network says, the others are adjusted
        by the jets that it was validated on.
        """
        out = self(batch)
        said = {"factor": _factor(out["correction"])}
        if "quantiles" in out:
            # Learned apart, they may cross where there is little to learn from.
            said["quantiles"] = _factor(out["quantiles"]).sort(dim=1).values
        if "neutrinos" in out:
            said["factor_with_neutrinos"] = _factor(out["neutrinos"])
        if "mass" in out:
            said["mass_factor"] = _factor(out["mass"])
        raw = {"factor_uncalibrated": said["factor"]}
        if self._calibration is not None:
            plain = {name: values.cpu().numpy() for name, values in said.items()}
            adjusted = self._calibration.apply(_quantities(_numpy(batch)), plain)
            said = {name: torch.from_numpy(values) for name, values in adjusted.items()}
        return {"factor": said.pop("factor"), **raw, **said}

    @property
    def calibrated(self) -> tuple[str, ...]:
        """What a calibration is fitted to."""
        heads = (x for name in self.heads for x in HEADS[name])
        return ("jet_pt", "summary", "target", "factor", *heads)

    def calibrate(self, rows: Mapping[str, np.ndarray]) -> Mapping[str, object] | None:
        """Close medians and move quantiles."""
        calibration = Calibration.fit(_quantities(rows) | dict(rows), rows)
        return None if calibration is None else calibration.as_dict()

    def use_calibration(self, content: Mapping[str, object] | None) -> None:
        """Adjust predictions from now on."""
        self._calibration = None if content is None else Calibration.from_dict(content)

    @property
    def compared(self) -> tuple[str, ...]:
        """What the standard correction and the controls are fitted to."""
        mass = ("target_mass",) if self.config.heads.mass else ()
        return ("jet_pt", "genjet_pt", "target", "summary", *mass)

    @property
    def joined_by(self) -> tuple[str, ...]:
        """What a batch holds of `measured`, and the jet's identity."""
        said = {"factor", "factor_uncalibrated", *(HEADS[name][0] for name in self.heads)}
        return (*(name for name in self.measured if name not in said), "jet")

    def join(
        self, rows: Mapping[str, np.ndarray], predictions: pa.Table
    ) -> Mapping[str, np.ndarray]:
        """Look jets up by process, batch, event and number."""
        said = [name for name in self.measured if name not in rows]
        missing = [name for name in (*IDENTITY, *said) if name not in predictions.column_names]
        if missing:
            raise UserError(f"the predictions have no column {missing[0]}: of another checkpoint")
        process, batch, event, jet = (predictions[name].to_numpy() for name in IDENTITY)
        asked = np.rec.fromarrays((rows["event"], rows["jet"].astype(np.int64)))
        known = np.rec.fromarrays((event_number(process, batch, event), jet.astype(np.int64)))
        order = np.argsort(known, kind="stable")
        if (known[order][1:] == known[order][:-1]).any():
            raise UserError("the predictions have a jet twice: give each shard's file once")
        place = np.minimum(np.searchsorted(known[order], asked), len(known) - 1)
        found = order[place]
        wrong = np.flatnonzero(known[found] != asked)
        if len(wrong):
            raise UserError(
                f"{len(wrong)} of {len(asked)} jets are not among the predictions: give those of "
                "all shards of the split"
            )
        columns = {name: predictions[name].combine_chunks() for name in said}
        values = {
            name: np.stack(column.to_numpy(zero_copy_only=False))[found]
            if pa.types.is_fixed_size_list(column.type)
            else column.to_numpy()[found]
            for name, column in columns.items()
        }
        return {**{name: x for name, x in rows.items() if name != "jet"}, **values}

    def compare_with(self, rows: Mapping[str, np.ndarray]) -> None:
        """Take the training jets, which the standard correction and the controls are fitted to."""
        self._training = rows

    def evaluate(self, rows: Mapping[str, np.ndarray], folder: Path) -> Evaluation:
        """Compare with the standard correction and the controls."""
        if self._training is None:
            raise AssertionError("an evaluation gives the training jets first")
        return evaluate_corrections(
            rows,
            self._training,
            folder,
            offset=self.config.offset,
            seed=self.config.seed,
            threads=self.config.run.threads,
        )

    def draw_rows(self, rows: EnergyJets, chosen: np.ndarray, folder: Path) -> Mapping[str, str]:
        """Draw kinematics, targets, flavours, shapes and a jet."""
        # Drawing takes a second to import.
        from training.tasks.jet_energy.views import draw_jets

        return draw_jets(rows, chosen, folder)

    def compile_network(self) -> None:
        """Compile the layers."""
        self.network.compile_parts()


def _numpy(batch: Batch) -> dict[str, np.ndarray]:
    return {name: batch[name].cpu().numpy() for name in ("jet_pt", "summary")}


def _quantities(rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what a calibration looks at: `pt` and `mass` in GeV, `eta`."""
    columns = dict(zip(SUMMARY, rows["summary"].T.astype(np.float64), strict=True))
    pt = rows["jet_pt"].astype(np.float64)
    return {"pt": pt, "mass": columns["mass"], "eta": columns["eta"]}


def _factor(log: Tensor) -> Tensor:
    """Return the factor of a logarithm, which may be anything of a jet unlike all others."""
    return log.clamp(-MOST_LOG, MOST_LOG).exp()


def masked_mean(residual: Tensor, target: Tensor) -> Tensor:
    """Return the mean absolute residual, where jets with a target of 1 or more count as 0.

    They stay in the number of jets, as published.
    """
    return (residual.abs() * (target.abs() < LARGEST_TARGET)).mean()


def quantile_loss(quantiles: Tensor, target: Tensor, levels: Tensor) -> Tensor:
    """Return the pinball loss of quantiles (B, 3) at levels (3,), masked as `masked_mean`."""
    above = target[:, None] - quantiles
    loss = torch.maximum(levels * above, (levels - 1) * above).sum(dim=1)
    return (loss * (target.abs() < LARGEST_TARGET)).mean()


TASK = JetEnergy
