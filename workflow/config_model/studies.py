"""Studies: grids of changes to a training."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, field_validator, model_validator

from workflow.config_model.sections import NAME, ROOT, Name, Section, existing_file
from workflow.config_model.trainings import Overrides, Start


class Sizes(Section):
    """The numeric axis of a study."""

    key: str = Field(
        pattern=r"^[a-z_]+(\.[a-z_]+)*$",
        description="Key of the training's configuration, `data.train_rows`; `from.<key>` is one "
        "of the training that it begins with, which is then trained for each size.",
    )
    values: list[int] = Field(min_length=1, description="Its values.")

    @field_validator("key")
    @classmethod
    def _no_seed(cls, key: str) -> str:
        if key == "seed":
            raise ValueError("give several seeds under `seeds`")
        return key


class Way(Section):
    """One way of training to compare."""

    model_config = ConfigDict(populate_by_name=True)

    config: str | None = Field(None, description="Another training configuration.")
    start: Start | None = Field(
        None, alias="from", description="What it begins with instead; null: from scratch."
    )
    frozen: bool | None = Field(None, description="Whether what it begins with stays as it is.")
    set: Overrides = Field(default_factory=dict, description="Keys to override.")
    of: Name | None = Field(
        None,
        description="Another way, whose networks this one shares: for another number of their "
        "evaluations, `metric`.",
    )
    metric: str | None = Field(None, description="Number to compare; null: the study's.")

    @field_validator("config")
    @classmethod
    def _config_exists(cls, path: str | None) -> str | None:
        return path if path is None else existing_file(path)


class Study(Section):
    """A grid of changes to a training: sizes × ways × seeds, a job for each network."""

    training: Name = Field(description="What is varied.")
    sizes: Sizes | None = Field(None, description="A key that takes several values.")
    ways: dict[Name, Way] = Field(default_factory=dict, description="Ways to compare, by name.")
    configs: str | None = Field(
        None, description="A folder: each of its training configurations is a way."
    )
    seeds: list[Annotated[int, Field(ge=0, le=2**32 - 1)]] = Field(
        min_length=1, description="Each point is trained once with each seed."
    )
    metric: str = Field(description="Number of the evaluation's summary to compare.")
    baseline: Name | None = Field(
        None, description="The way that the others are compared with, seed by seed."
    )
    vectorised: bool = Field(
        False,
        description="Train the seeds of each point as one vectorised training, a job for all of "
        "them: for tasks on event objects.",
    )
    note: str | None = Field(
        None, max_length=100, description="What a reader must know, above the study's figure."
    )

    @model_validator(mode="after")
    def _ways_are_there(self) -> "Study":
        if self.configs is not None and not sorted((ROOT / self.configs).glob("*.yaml")):
            raise ValueError(f"configs: no *.yaml in {self.configs}")
        for name in () if self.configs is None else self.all_ways():
            if not re.fullmatch(NAME, name):
                raise ValueError(f"configs: {name}.yaml: a way's name matches {NAME}")
        ways = self.all_ways()
        for name, way in ways.items():
            if way.of is not None:
                _shares(name, way, ways)
            self._sets_nothing_else(name, way)
        if self.baseline is not None and self.baseline not in ways:
            raise ValueError(f"baseline {self.baseline} is none of the ways: {', '.join(ways)}")
        for what, values in (("seeds", self.seeds), ("sizes", self.sizes and self.sizes.values)):
            if values and len(set(values)) != len(values):
                raise ValueError(f"{what}: a value occurs twice")
        return self

    def _sets_nothing_else(self, name: str, way: Way) -> None:
        """Refuse a way that sets what the points of the study differ in: it would be ignored."""
        for key in way.set:
            if key == "seed" or (self.sizes is not None and key == self.sizes.key):
                axis = "seeds" if key == "seed" else "sizes"
                raise ValueError(f"ways.{name}.set.{key}: the {axis} of the study set it")

    def all_ways(self) -> dict[str, Way]:
        """Return the ways by name, those of a folder of configurations included."""
        folder = [] if self.configs is None else sorted((ROOT / self.configs).glob("*.yaml"))
        of_folder = {
            file.stem: Way(config=str(Path(str(self.configs)) / file.name)) for file in folder
        }
        return (of_folder | self.ways) or {"as configured": Way()}


def _shares(name: str, way: Way, ways: dict[str, Way]) -> None:
    """Refuse a way that is of another one and has more of its own than a metric."""
    if way.of not in ways or ways[way.of].of is not None:
        raise ValueError(f"ways.{name}.of: {way.of} is no way with networks of its own")
    more = way.model_fields_set - {"of", "metric"}
    if more or way.metric is None:
        raise ValueError(f"ways.{name}: with `of` goes `metric`, and nothing else")
