"""Datasets of files of CMS."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from workflow.config_model.datasets import MAX_SHARDS
from workflow.config_model.sections import LARGEST_SEED, Section, Value, existing_file


class Collisions(Section):
    """One dataset made of files of CMS, collisions or simulation."""

    format: Literal["nanoaod", "pfnano"] = Field(
        "nanoaod", description="`nanoaod`: rows of the product events. `pfnano`: rows of jets."
    )
    era: str | None = Field(
        None,
        description="Era of data taking, or the YAML file of one; `pfnano` takes all events "
        "without.",
    )
    files: list[str] = Field(
        default_factory=list,
        description="Files: absolute paths or relative to the project's root, `https://` or "
        "`root://`. Of copies of an event the one of the first file is kept.",
    )
    samples: list[str] = Field(
        default_factory=list,
        description="Data sets of the era, in place of files; sizes and checksums are compared.",
    )
    certified: str | None = Field(
        None, description="JSON file of certified runs, relative to the project's root."
    )
    all_runs: bool = Field(False, description="Take collisions that are not certified too.")
    working_point: Literal["loose", "medium", "tight"] = Field(
        "medium", description="Of b-tagging, for `nanoaod`."
    )
    options: dict[str, Value] = Field(
        default_factory=dict,
        description="Options of the rows, as those of `python -m ntuplizer nanoaod --option`.",
    )
    shards: int = Field(
        6, ge=6, le=MAX_SHARDS, multiple_of=6, description="Number of shards, split 4:1:1."
    )
    fetch: bool = Field(
        False,
        description="Let Snakemake's storage plugins copy whole files from elsewhere; otherwise "
        "only the columns needed are read, where they lie.",
    )
    seed: int | None = Field(
        None, ge=0, le=LARGEST_SEED, description="Dataset seed; by default one of its own."
    )

    _certified_exists = field_validator("certified")(
        lambda path: path if path is None else existing_file(path)
    )

    @property
    def product(self) -> str:
        """What a row is."""
        return "events" if self.format == "nanoaod" else "jets"

    @model_validator(mode="after")
    def _files_are_named(self) -> "Collisions":
        if bool(self.files) == bool(self.samples):
            raise ValueError("either files or samples of the era are needed")
        if self.era is None and (self.samples or self.format == "nanoaod"):
            raise ValueError("an era is needed: its name or YAML file")
        return self
