"""Models to train, and what they begin with."""

import zipfile
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from provenance.errors import UserError
from provenance.yaml_file import parse_yaml
from workflow.config_model.sections import ROOT, Name, Section, Value, existing_file


def with_numbers(values: Any) -> Any:
    """Return overrides with numbers such as `1e-4`, which Snakemake's YAML takes for text."""
    if not isinstance(values, dict):
        return values
    return {key: _number(value) for key, value in values.items()}


def _number(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        number = parse_yaml(value, "a value")
    except UserError:
        return value
    return number if isinstance(number, float) else value


def no_start(values: dict[str, Value]) -> dict[str, Value]:
    """Refuse overrides of what has a key of its own."""
    for key in values:
        if key.split(".")[0] in ("start", "task"):
            raise ValueError(f"{key} cannot be set here: `from` says what it begins with")
    return values


Overrides = Annotated[dict[str, Value], BeforeValidator(with_numbers), AfterValidator(no_start)]


class Start(Section):
    """What a training begins with."""

    training: Name | None = Field(None, description="Another training, whose checkpoint it is.")
    checkpoint: str | None = Field(None, description="Or a checkpoint file, relative to the root.")
    parts: list[Name] | None = Field(
        None, description="Parts of the network to take over, as the task names them; null: all."
    )
    frozen: bool = Field(False, description="Whether these parts stay as they are.")

    @field_validator("checkpoint")
    @classmethod
    def _checkpoint_exists(cls, path: str | None) -> str | None:
        if path is not None and not zipfile.is_zipfile(ROOT / existing_file(path)):
            raise ValueError("no checkpoint: it is no archive of PyTorch's")
        return path

    @model_validator(mode="after")
    def _one_of_two(self) -> "Start":
        if (self.training is None) == (self.checkpoint is None):
            raise ValueError("`from` names either a training or a checkpoint")
        return self


class Training(Section):
    """One model to train: a file of `training/configs` and what to change in it."""

    model_config = ConfigDict(populate_by_name=True)

    config: str = Field(description="Training configuration, relative to the project's root.")
    dataset: Name = Field(description="The dataset that it learns from.")
    start: Start | None = Field(None, alias="from", description="What it begins with.")
    seed: int | None = Field(
        None,
        ge=0,
        le=2**32 - 1,
        description="Of weights, dropout and data order; null: the file's.",
    )
    set: Overrides = Field(
        default_factory=dict, description="Keys of that file to override, `data.batch_size: 64`."
    )
    flat_sampling: bool = Field(
        False,
        description="Draw training jets flat in pT and soft-drop mass within label groups.",
    )

    _config_exists = field_validator("config")(existing_file)
