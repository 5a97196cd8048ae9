"""A whole run, and what must fit together in it."""

from typing import Any

from pydantic import Field, model_validator

from provenance.errors import UserError
from provenance.validation import checked
from workflow.config_model.collisions import Collisions
from workflow.config_model.datasets import BATCHES_PER_SHARD, Dataset
from workflow.config_model.generation import Generation
from workflow.config_model.sections import LARGEST_SEED, Name, Section
from workflow.config_model.studies import Study
from workflow.config_model.trainings import Training

# No event gives so many rows, of whatever product.
ROWS_PER_EVENT = 100


class Config(Section):
    """A whole run: datasets, trainings, studies, report."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$",
        max_length=100,
        description="Name of the run; everything is written below `results/<name>`.",
    )
    seed: int = Field(1, ge=0, le=LARGEST_SEED, description="Seed of the run, 64 bits.")
    generation: Generation
    datasets: dict[Name, Dataset] = Field(
        default_factory=dict, description="Simulated datasets by name."
    )
    collisions: dict[Name, Collisions] = Field(
        default_factory=dict, description="Datasets of files of CMS, by name."
    )
    training: dict[Name, Training] = Field(
        default_factory=dict, description="Models to train, by name."
    )
    studies: dict[Name, Study] = Field(default_factory=dict, description="Studies, by name.")

    @property
    def products(self) -> dict[str, str]:
        """The product of every dataset by name, simulated ones first."""
        every: dict[str, Dataset | Collisions] = {**self.datasets, **self.collisions}
        return {name: dataset.product for name, dataset in every.items()}

    @model_validator(mode="after")
    def _datasets_have_one_name(self) -> "Config":
        if not self.products:
            raise ValueError("no dataset is named under datasets or collisions")
        for name in self.datasets.keys() & self.collisions.keys():
            raise ValueError(f"{name} is the name of a simulated dataset and of collisions")
        return self

    @model_validator(mode="after")
    def _names_are_known(self) -> "Config":
        for name, training in self.training.items():
            _known(f"training.{name}.dataset", training.dataset, self.products)
            _follow(self, name)
        for name, study in self.studies.items():
            _known(f"studies.{name}.training", study.training, self.training)
            for way, content in study.all_ways().items():
                if content.start is not None and content.start.training is not None:
                    where = f"studies.{name}.ways.{way}.from.training"
                    _known(where, content.start.training, self.training)
            if name in self.training:
                raise ValueError(f"{name} is the name of a training and of a study")
        return self

    @model_validator(mode="after")
    def _shards_can_be_filled(self) -> "Config":
        most = BATCHES_PER_SHARD * self.generation.events_per_batch * ROWS_PER_EVENT
        for dataset, content in self.datasets.items():
            if content.rows_per_shard > most:
                raise ValueError(
                    f"datasets.{dataset}.rows_per_shard = {content.rows_per_shard} is more than "
                    f"the events of a shard can give, {most}: raise generation.events_per_batch"
                )
        return self

    @model_validator(mode="after")
    def _containers_know_the_events(self) -> "Config":
        if self.generation.backend == "containers":
            limit = BATCHES_PER_SHARD * self.generation.events_per_batch
            for dataset, content in self.datasets.items():
                for name, part in content.parts.items():
                    if part.events_per_shard is None or part.events_per_shard > limit:
                        raise ValueError(
                            f"datasets.{dataset}.parts.{name}.events_per_shard is needed by the "
                            f"container backend, at most {limit}"
                        )
        return self


def _known(key: str, value: str, names: Any) -> None:
    if value not in names:
        known = ", ".join(names) or "none"
        raise ValueError(f"{key} is {value}, which is not configured; there are {known}")


def _follow(config: Config, name: str) -> None:
    """Follow what a training begins with to the first one; refuse circles."""
    seen = [name]
    while (start := config.training[seen[-1]].start) is not None and start.training is not None:
        _known(f"training.{seen[-1]}.from.training", start.training, config.training)
        if start.training in seen:
            raise ValueError(f"training: {' begins with '.join([*seen, start.training])}")
        seen.append(start.training)


def load_config(raw: dict[str, Any]) -> Config:
    """Check a configuration as Snakemake read it.

    Parameters
    ----------
    raw
        The merged mapping of the config files and `--config`.

    Raises
    ------
    UserError
        Naming each wrong key, its value and what would be right.
    """
    if not raw:
        raise UserError("no configuration: give one with --configfile, e.g. config/quickstart.yaml")
    return checked(Config, raw)
