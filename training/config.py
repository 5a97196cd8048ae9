"""The training configuration: typed, described, extra keys refused; imports no heavy package."""

from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from provenance.errors import UserError
from training.models.sizes import ParticleTransformerConfig, Section

Range = tuple[float, float]


class Selection(Section):
    """Jets that are used: open intervals, in GeV."""

    jet_pt: Range = Field((200.0, 2500.0), description="jet transverse momentum")
    jet_sdmass: Range = Field((20.0, 500.0), description="soft-drop mass")

    @model_validator(mode="after")
    def _intervals_rise(self) -> Self:
        for low, high in (self.jet_pt, self.jet_sdmass):
            if low >= high:
                raise ValueError(f"an interval begins at {low:g} and ends at {high:g}")
        return self

    def __str__(self) -> str:
        return "{:g} < jet_pt < {:g} and {:g} < jet_sdmass < {:g}".format(
            *self.jet_pt, *self.jet_sdmass
        )


class DataConfig(Section):
    """How jets are read."""

    batch_size: int = Field(512, gt=0, description="jets per step and device")
    workers: int = Field(4, ge=0, description="loader processes per device; 0 reads in-process")
    max_constituents: int = Field(128, gt=0, description="leading constituents kept per jet")
    buffer_jets: int = Field(100_000, gt=0, description="jets that one loader shuffles at a time")
    jets_per_epoch: int | None = Field(
        None, gt=0, description="jets between validations; null: as many as the split holds"
    )
    validation_jets: int | None = Field(
        None, gt=0, description="jets per validation, of all parts alike; null: the whole split"
    )
    selection: Selection = Selection()
    train_jets: int | None = Field(
        None, gt=0, description="train on so few jets, before the selection; null: on all"
    )
    label: str = Field("jet_label", description="column with the index of the class")
    weights: Path | None = Field(
        None, description="sampling weights from `python -m training weights`; null: none"
    )
    max_resample: int = Field(10, gt=0, description="most copies of a jet drawn in one pass")


class OptimizerConfig(Section):
    """AdamW with warm-up, a flat stretch and an exponential decay, and averaged weights."""

    learning_rate: float = Field(5e-4, gt=0, description="of the flat stretch")
    weight_decay: float = Field(0.01, ge=0, description="AdamW's, not on biases and norms")
    warmup: float = Field(0.01, ge=0, lt=1, description="share of all steps in the linear rise")
    flat: float = Field(0.7, ge=0, le=1, description="share of all steps before the decay")
    final_fraction: float = Field(0.01, gt=0, le=1, description="last learning rate over the flat")
    gradient_clip: float = Field(1.0, gt=0, description="largest norm of the gradient")
    ema_decay: float = Field(0.999, ge=0, lt=1, description="of the moving average, per step")


class RunConfig(Section):
    """Where and how the training runs."""

    devices: int | Literal["auto"] = Field("auto", description="GPUs, or processes on CPU")
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    threads: int | None = Field(
        None, gt=0, description="of PyTorch on a CPU; null: as many as PyTorch finds cores"
    )
    precision: Literal["32-true", "bf16-mixed"] = Field(
        "32-true", description="pair features stay in 32 bits either way"
    )
    compile: bool | None = Field(
        None,
        description="compile the network with torch.compile, a minute or two at the start; "
        "null: on GPUs (on a CPU it makes a step slower)",
    )
    checkpoint_steps: int | None = Field(
        None, gt=0, description="also save for resuming every so many steps, not only per epoch"
    )


class TransferConfig(Section):
    """What a transfer begins with and learns."""

    labels: tuple[str, ...] = Field(min_length=2, description="names of the classes, by index")
    checkpoint: Path | None = Field(
        None, description="of the network to begin with, whose sizes count; null: from scratch"
    )
    frozen: bool = Field(False, description="train the new head only")


class FitConfig(Section):
    """One training."""

    task: Literal["sophon", "transfer"] = Field(
        "sophon", description="what is learned: a module of tasks/"
    )
    seed: int = Field(1, ge=0, description="of weights, dropout and data order")
    epochs: int = Field(80, gt=0)
    model: ParticleTransformerConfig = ParticleTransformerConfig()
    data: DataConfig = DataConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    run: RunConfig = RunConfig()
    transfer: TransferConfig | None = Field(None, description="for the task of that name")

    @model_validator(mode="after")
    def _transfer_has_its_section(self) -> Self:
        if (self.task == "transfer") != (self.transfer is not None):
            raise ValueError("the section `transfer` belongs to `task: transfer`, and only to it")
        return self


def load_config(path: str | Path, overrides: list[str] | None = None) -> FitConfig:
    """Read a configuration file and apply `key.sub=value` overrides (values in YAML).

    Raises
    ------
    UserError
        When the file is missing or not YAML, an override has no `=`, or a key or value is wrong.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise UserError(f"{path}: no such configuration file") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: not YAML ({error})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds no mapping of keys to values")
    for override in overrides or []:
        _override(content, override)
    try:
        return FitConfig.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if not key:
            raise UserError(f"{path}: {first['msg']}") from None
        raise UserError(f"{path}: {key}: {first['msg']}, got {first['input']!r}") from None


def _override(content: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator:
        raise UserError(f"--set {override}: write key=value, for example epochs=2")
    *parents, last = key.split(".")
    section = content
    for parent in parents:
        section = section.setdefault(parent, {})
        if not isinstance(section, dict):
            raise UserError(f"--set {override}: {parent} is a value, not a section")
    try:
        section[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise UserError(f"--set {override}: {text!r} is not a YAML value") from None
