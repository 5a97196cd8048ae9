"""The configuration of a training: typed, described, extra keys refused; imports no heavy package.

What all tasks share is here. A task adds its own keys in `tasks/<name>/config.py`, and `task` says
whose they are.
"""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from provenance.errors import UserError
from provenance.validation import checked
from provenance.yaml_file import parse_yaml, read_yaml
from training.models.sizes import Section
from training.tasks import config_type

MOST_ROWS = 10**12
MOST_STEPS = 10**10
Moment = Annotated[float, Field(ge=0, lt=1)]


class DataConfig(Section):
    """How rows are read; a task adds which of them and what of them."""

    batch_size: int = Field(512, gt=0, le=1_000_000, description="rows per step and device")
    workers: int = Field(
        4, ge=0, le=256, description="loader processes per device; 0 reads in-process"
    )
    buffer_rows: int = Field(
        100_000, gt=0, le=100_000_000, description="rows that one loader shuffles at a time"
    )
    on_device: bool = Field(
        False,
        description="keep all rows on the device as one padded batch and draw from there: for rows "
        "so small that reading takes longer than learning; needs workers = 0",
    )
    rows_per_epoch: int | None = Field(
        None,
        gt=0,
        le=MOST_ROWS,
        description="rows between validations; null: as many as are trained on",
    )
    validation_rows: int | None = Field(
        None,
        gt=0,
        le=MOST_ROWS,
        description="rows per validation, of all parts alike; null: the whole split",
    )
    train_rows: int | None = Field(
        None,
        gt=0,
        le=MOST_ROWS,
        description="train on so few of the selected rows, classes in proportion, drawn by the "
        "seed; null: on all",
    )
    validation_share: float | None = Field(
        None,
        gt=0,
        le=1,
        description="with `train_rows`: validate on so many rows as this share of them, drawn "
        "likewise, for they are labels too; 0.33 makes a quarter of the labels. null: on the split",
    )
    max_resample: int = Field(
        10,
        gt=0,
        le=10_000,
        description="most copies of a row drawn in one pass with sampling weights",
    )

    @model_validator(mode="after")
    def _a_share_of_something(self) -> Self:
        if self.validation_share is not None and self.train_rows is None:
            raise ValueError("validation_share is a share of train_rows: give that too")
        return self

    @model_validator(mode="after")
    def _no_processes_read_for_a_device(self) -> Self:
        if self.on_device and self.workers:
            raise ValueError("on_device draws in the training's own process: set workers to 0")
        return self


class WarmupFlatDecay(Section):
    """A linear rise, a flat stretch and an exponential decay."""

    name: Literal["warmup_flat_decay"] = "warmup_flat_decay"
    warmup: float = Field(0.01, ge=0, lt=1, description="share of all steps in the linear rise")
    flat: float = Field(0.7, ge=0, le=1, description="share of all steps before the decay")
    final_fraction: float = Field(0.01, gt=0, le=1, description="last learning rate over the flat")


class Cosine(Section):
    """A linear rise and half a period of a cosine."""

    name: Literal["cosine"]
    warmup: float = Field(0.0, ge=0, lt=1, description="share of all steps in the linear rise")
    final_fraction: float = Field(0.01, ge=0, le=1, description="last learning rate over the first")


class Plateau(Section):
    """A learning rate that falls when the validation loss no longer does."""

    name: Literal["plateau"]
    factor: float = Field(0.2, gt=0, lt=1, description="of each fall")
    patience: int = Field(
        5, ge=0, le=1_000_000, description="validations without progress before a fall"
    )
    min_delta: float = Field(1e-4, ge=0, description="smallest change of the loss that counts")


def _named(default: str, *others: str) -> Discriminator:
    """Tell the models of a union apart by `name`, which may be left out for the default."""

    def name(value: object) -> str | None:
        found = (
            value.get("name", default) if isinstance(value, dict) else getattr(value, "name", None)
        )
        return str(found)

    return Discriminator(
        name,
        custom_error_type="unknown_name",
        custom_error_message=f"name has to be one of {', '.join((default, *others))}",
    )


Schedule = Annotated[
    Annotated[WarmupFlatDecay, Tag("warmup_flat_decay")]
    | Annotated[Cosine, Tag("cosine")]
    | Annotated[Plateau, Tag("plateau")],
    _named("warmup_flat_decay", "cosine", "plateau"),
]


class _Optimizer(Section):
    learning_rate: float = Field(5e-4, gt=0, le=100, description="the highest of the schedule")
    weight_decay: float = Field(
        0.0, ge=0, le=100, description="on matrices, not on biases and norms"
    )
    schedule: Schedule = WarmupFlatDecay()
    gradient_clip: float | None = Field(
        1.0, gt=0, description="largest norm of the gradient; null: any"
    )
    ema_decay: float | None = Field(
        0.999,
        ge=0,
        lt=1,
        description="of the moving average of the weights, per step, which is validated and kept; "
        "null: the weights themselves are",
    )


class AdamW(_Optimizer):
    """Adam with decoupled weight decay (arXiv:1711.05101)."""

    name: Literal["adamw"] = "adamw"
    weight_decay: float = Field(
        0.01, ge=0, le=100, description="on matrices, not on biases and norms"
    )
    betas: tuple[Moment, Moment] = Field((0.95, 0.999), description="decays of the two moments")
    epsilon: float = Field(1e-5, gt=0, le=1, description="added to the denominator")


class Adam(_Optimizer):
    """Adam (arXiv:1412.6980)."""

    name: Literal["adam"]
    betas: tuple[Moment, Moment] = Field((0.9, 0.999), description="decays of the two moments")
    epsilon: float = Field(1e-8, gt=0, le=1, description="added to the denominator")


class SGD(_Optimizer):
    """Stochastic gradient descent."""

    name: Literal["sgd"]
    momentum: float = Field(0.9, ge=0, lt=1, description="of the gradient")


Optimizer = Annotated[
    Annotated[AdamW, Tag("adamw")] | Annotated[Adam, Tag("adam")] | Annotated[SGD, Tag("sgd")],
    _named("adamw", "adam", "sgd"),
]


class RunConfig(Section):
    """Where and how the training runs."""

    devices: Annotated[int, Field(ge=1, le=10_000)] | Literal["auto"] = Field(
        "auto", description="GPUs, or processes on CPU"
    )
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    threads: int | None = Field(
        None, gt=0, le=4096, description="of PyTorch on a CPU; null: as many as PyTorch finds cores"
    )
    precision: Literal["32-true", "bf16-mixed"] = Field(
        "32-true", description="of the layers; what needs 32 bits keeps them either way"
    )
    compile: bool | None = Field(
        None,
        description="compile the network with torch.compile, a minute or two at the start; "
        "null: on GPUs (on a CPU it makes a step slower)",
    )
    checkpoint_steps: int | None = Field(
        None,
        gt=0,
        le=MOST_STEPS,
        description="also save for resuming every so many steps, not only per epoch",
    )


class StartConfig(Section):
    """What a network begins with."""

    checkpoint: Path | None = Field(
        None, description="of a training whose weights to begin with; null: new weights"
    )
    parts: tuple[str, ...] | None = Field(
        None, min_length=1, description="parts to take from it, as the task names them; null: all"
    )
    frozen: bool = Field(False, description="train only the parts that are not taken")


class FitConfig(Section):
    """One training: what all tasks share."""

    # Of `ntuplizer`: what the task can read.
    products: ClassVar[tuple[str, ...]]
    # Of the network, by which `start` takes and freezes weights.
    parts: ClassVar[tuple[str, ...]]
    # Raised with every change of code after which the same configuration learns something else: a
    # training of another version is not gone on with.
    version: ClassVar[int] = 1
    # What the summary of an evaluation can hold: studies compare one of them.
    numbers: ClassVar[tuple[str, ...]] = ()

    task: str = Field(description="what is learned: a folder of tasks/")
    seed: int = Field(1, ge=0, lt=2**64, description="of weights, dropout and data order")
    epochs: int = Field(
        80, gt=0, le=1_000_000, description="passes over `data.rows_per_epoch` rows"
    )
    steps: int | None = Field(
        None,
        gt=0,
        le=MOST_STEPS,
        description="steps of the optimiser, where given; epochs then do not count",
    )
    keep: Literal["last", "best"] = Field(
        "last",
        description="which weights are the result: the last ones, or those of the validation with "
        "the lowest loss",
    )
    data: DataConfig = DataConfig()
    optimizer: Optimizer = AdamW()
    run: RunConfig = RunConfig()
    start: StartConfig = StartConfig()

    @property
    def has_sampling_weights(self) -> bool:
        """Whether rows can be drawn flat, with `python -m training weights`."""
        return False

    def check_dataset(self, columns: Collection[str], processes: Collection[str]) -> None:
        """Refuse a dataset that lacks what the configuration reads.

        Parameters
        ----------
        columns
            Of its rows.
        processes
            Of its events.

        Raises
        ------
        UserError
            Naming the key and what there is.
        """
        label = getattr(self.data, "label", None)
        if label is not None and label not in columns:
            raise UserError(
                f"data.label = {label!r}: the dataset has no such column; its labels are "
                f"{', '.join(name for name in sorted(columns) if 'label' in name) or 'none'}"
            )

    @model_validator(mode="after")
    def _parts_exist(self) -> Self:
        for part in self.start.parts or ():
            if part not in self.parts:
                raise ValueError(
                    f"start.parts names {part!r}, but the parts of the task {self.task} are "
                    f"{', '.join(self.parts)}"
                )
        if self.start.frozen and set(self.start.parts or self.parts) == set(self.parts):
            raise ValueError(
                "start.frozen leaves nothing to train: name in start.parts which of "
                f"{', '.join(self.parts)} to take"
            )
        return self


def load_config(source: str | Path, overrides: list[str] | None = None) -> FitConfig:
    """Read a configuration and apply `key.sub=value` overrides (values in YAML).

    Parameters
    ----------
    source
        A YAML file, or JSON text that begins with `{`.
    overrides
        In order.

    Returns
    -------
    FitConfig
        Of the type that belongs to `task`.

    Raises
    ------
    UserError
        When the file is missing or not YAML, the text not JSON, an override has no `=`, the task
        does not exist, or a key or value is wrong.
    """
    name, content = _read(source)
    for override in overrides or []:
        _override(content, override)
    task = content.get("task")
    if not isinstance(task, str):
        raise UserError(f"{name}: task: a name is needed that says what is learned, got {task!r}")
    try:
        return checked(config_type(task), content)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None


def _read(source: str | Path) -> tuple[str, dict[str, Any]]:
    """Return what to call a configuration, and its content."""
    if isinstance(source, str) and source.lstrip().startswith("{"):
        try:
            return "configuration", json.loads(source)
        except json.JSONDecodeError as error:
            raise UserError(f"configuration: not JSON ({error})") from None
    return str(source), read_yaml(source)


def _override(content: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise UserError(f"--set {override}: write key=value, for example epochs=2")
    *parents, last = key.split(".")
    section = content
    for parent in parents:
        section = section.setdefault(parent, {})
        if not isinstance(section, dict):
            raise UserError(f"--set {override}: {parent} is a value, not a section")
    section[last] = parse_yaml(text, f"--set {override}")
