"""The configuration: every key typed, described and checked before any job starts.

The JSON schema that editors use and the reference page are generated from these classes
(`python -m workflow schema`); a test keeps them in step.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from provenance.errors import UserError

ROOT = Path(__file__).parents[1]
PROCESSES = ROOT / "generation" / "processes"

SPLIT_RATIO = {"train": 4, "val": 1, "test": 1}
# A shard owns this many batch numbers, so that adding shards never moves an existing one.
# 1,500 shards of 1,500 batches fill the 2,250,000 that a process has (`generation/seeds.py`).
BATCHES_PER_SHARD = 1_500
MAX_SHARDS = 1_500


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _existing_file(path: str) -> str:
    """Resolve a path of the configuration against the project's root."""
    resolved = ROOT / path
    if not resolved.is_file():
        raise ValueError(f"no such file: {path} (relative to the project's root, or absolute)")
    return str(resolved)


class UfoModel(_Section):
    """A model archive that MadGraph does not bring with it."""

    url: str = Field(pattern=r"^(https?|file)://", description="Where the archive is fetched.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="Checksum that it must have.")


class Containers(_Section):
    """MadGraph, Pythia and Delphes as programs; used by `backend: containers` only."""

    image: str = Field(
        "workflow/containers/generation.sif",
        description="Image for `--sdm apptainer`, a file or an address.",
    )
    madgraph: str = Field(
        "3.5.7",
        pattern=r"^\d+\.\d+\.\d+$",
        description="MadGraph's version; events of another one are refused. The published dataset "
        "used 2.9.18.",
    )
    models: dict[Annotated[str, Field(pattern=r"^\w+$")], UfoModel] = Field(
        default_factory=dict, description="UFO models to fetch, by the name that MadGraph imports."
    )
    hard_process_jobs: int = Field(
        98,
        ge=1,
        le=1000,
        description="MadGraph jobs per process; each has its share of the points.",
    )
    events_per_run: int = Field(
        50_000, ge=100, le=1_000_000, description="Most events of one MadGraph run."
    )
    jobs_per_shard: int = Field(2, ge=1, le=100, description="Delphes jobs that share a shard.")
    events_per_shard: dict[str, Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict,
        description="Events simulated for each shard, by part; too few for its jets is an error.",
    )


class Generation(_Section):
    """How events are made."""

    backend: Literal["embedded", "containers"] = Field(
        "embedded",
        description="`embedded`: Pythia 8 from its Python wheel and fastsim, in one process. "
        "`containers`: MadGraph and Delphes as programs.",
    )
    card: str = Field(description="Delphes card, relative to the project's root.")
    events_per_batch: int = Field(
        100, ge=1, le=1000, description="Events that share one parameter point (masses, pT cut)."
    )
    pileup_events: int = Field(
        ge=100, le=1_000_000, description="Minimum-bias events in the library shared by all jobs."
    )

    containers: Containers = Containers()

    _card_exists = field_validator("card")(_existing_file)


class Ntuplizer(_Section):
    """How events become jets."""

    jet_radius: float = Field(
        0.8, gt=0, le=3, description="Radius of the anti-kT jets and of the truth match."
    )
    stored_parton_pt: float = Field(
        10.0,
        ge=0,
        description="Lowest pT (GeV) of the quarks stored with a QCD jet; labels count from 10.",
    )


class Part(_Section):
    """One family of shards, `<part>_0000.parquet` and so on."""

    processes: dict[str, Annotated[int, Field(ge=1)]] = Field(
        min_length=1, description="Processes to mix, with their share of the batches."
    )
    shards: int = Field(
        ge=6,
        le=MAX_SHARDS,
        multiple_of=6,
        description="Number of shards; split 4:1:1 into train, val and test by range.",
    )
    qcd_labels: bool = Field(
        False, description="Label jets without a resonance by their QCD partons."
    )

    @field_validator("processes")
    @classmethod
    def _known(cls, processes: dict[str, int]) -> dict[str, int]:
        known = sorted(folder.parent.name for folder in PROCESSES.glob("*/process.yaml"))
        for process in processes:
            if process not in known:
                raise ValueError(f"unknown process {process!r}; there are {', '.join(known)}")
        return processes


class Dataset(_Section):
    """What the dataset holds."""

    jets_per_shard: int = Field(ge=1, description="Exact number of jets in every shard.")
    max_events_per_shard: int = Field(
        ge=1,
        description="A shard that is not full after this many events ends in an error.",
    )
    parts: dict[Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9]*$")], Part] = Field(
        min_length=1, description="Parts by name."
    )


class Training(_Section):
    """One model to train: a file of `training/configs` and what to change in it."""

    config: str = Field(description="Training configuration, relative to the project's root.")
    set: dict[str, bool | int | float | str] = Field(
        default_factory=dict, description="Keys of that file to override."
    )

    flat_sampling: bool = Field(
        False,
        description="Draw training jets flat in pT and soft-drop mass within label groups.",
    )

    _config_exists = field_validator("config")(_existing_file)


class Config(_Section):
    """A whole run: dataset, training, report."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$",
        description="Name of the run; everything is written below `results/<name>`.",
    )
    seed: int = Field(
        1, ge=0, le=49, description="Dataset seed; datasets with different seeds share no event."
    )
    generation: Generation
    ntuplizer: Ntuplizer = Ntuplizer()
    dataset: Dataset
    training: dict[Literal["sophon"], Training] = Field(
        default_factory=dict, description="Models to train on the dataset, by task."
    )

    @model_validator(mode="after")
    def _events_fit(self) -> "Config":
        limit = BATCHES_PER_SHARD * self.generation.events_per_batch
        if self.dataset.max_events_per_shard > limit:
            raise ValueError(
                f"dataset.max_events_per_shard is {self.dataset.max_events_per_shard} but a shard "
                f"has {BATCHES_PER_SHARD} batches of generation.events_per_batch = "
                f"{self.generation.events_per_batch}, which is {limit} events"
            )
        return self

    @model_validator(mode="after")
    def _parts_are_disjoint(self) -> "Config":
        owner: dict[str, str] = {}
        for name, part in self.dataset.parts.items():
            for process in part.processes:
                if process in owner:
                    raise ValueError(
                        f"parts {owner[process]} and {name} both hold {process}, and so would hold "
                        "the same events; a process belongs to one part"
                    )
                owner[process] = name
        return self

    @model_validator(mode="after")
    def _containers_know_the_parts(self) -> "Config":
        if self.generation.backend == "containers":
            given = self.generation.containers.events_per_shard
            missing = [name for name in self.dataset.parts if name not in given]
            unknown = [name for name in given if name not in self.dataset.parts]
            limit = BATCHES_PER_SHARD * self.generation.events_per_batch
            if missing or unknown or max(given.values()) > limit:
                raise ValueError(
                    "generation.containers.events_per_shard needs the parts "
                    f"{', '.join(self.dataset.parts)}, each with at most {limit} events"
                )
        return self


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
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        raise UserError("; ".join(_sentence(item) for item in error.errors())) from None


def _sentence(error: ErrorDetails) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"config key {key} is unknown; {_siblings(error['loc'])}"
    if error["type"] == "missing":
        return f"config key {key} is missing"
    message = error["msg"].removeprefix("Value error, ")
    return f"config key {key} = {error['input']!r}: {message}" if key else f"config: {message}"


def _siblings(location: tuple[str | int, ...]) -> str:
    """Name the keys that exist where an unknown one was given."""
    fields: Any = Config
    names = {"generation": Generation, "ntuplizer": Ntuplizer, "dataset": Dataset}
    if location[:2] == ("generation", "containers") and len(location) > 2:
        fields = UfoModel if location[2] == "models" else Containers
    elif location[0] == "training" and len(location) > 1:
        fields = Training
    elif location[:2] == ("dataset", "parts"):
        fields = Part
    elif len(location) > 1:
        fields = names[str(location[0])]
    return "known here: " + ", ".join(fields.model_fields)


def config_schema() -> str:
    """Return the JSON schema of the configuration as text."""
    return json.dumps(Config.model_json_schema(), indent=1) + "\n"


def config_reference() -> str:
    """Return the reference page of the configuration as Markdown."""
    rows = "\n".join(
        f"| `{key}` | {kind} | {default} | {text} |" for key, kind, default, text in _keys(Config)
    )
    return f"""# Configuration

Every key of a configuration file, generated from `workflow/config_model.py` by
`python -m workflow schema`. A key that is not listed here, or a value out of range, stops a run
before any job starts. `config/quickstart.yaml` and `config/jetclass2.yaml` are complete examples.

| Key | Type | Default | Meaning |
|---|---|---|---|
{rows}
"""


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Yield (key, type, default, description) of every leaf, depth first."""
    definitions = Config.model_json_schema()["$defs"]
    schema = definitions.get(model.__name__) or Config.model_json_schema()
    for name, field in schema["properties"].items():
        default = "required" if name in schema.get("required", ()) else "optional"
        if "default" in field and not isinstance(field["default"], dict):
            default = f"`{field['default']}`"
        nested = _nested(field)
        if nested is None:
            yield f"{prefix}{name}", _type_of(field), default, field["description"]
        else:
            child, wildcard = nested
            yield from _keys(child, f"{prefix}{name}.{wildcard}")


def _nested(field: dict[str, Any]) -> tuple[type[BaseModel], str] | None:
    """Return the section that a key holds, and `<name>.` when it holds several by name."""
    sections = {section.__name__: section for section in _Section.__subclasses__()}
    values = next(iter(field.get("patternProperties", {}).values()), None)
    values = values or field.get("additionalProperties")
    for holder, wildcard in ((field, ""), (values, "<name>.")):
        if isinstance(holder, dict) and "$ref" in holder:
            return sections[holder["$ref"].rsplit("/", 1)[-1]], wildcard
    return None


def _type_of(field: dict[str, Any]) -> str:
    """Write a field's type and range: `integer, 1 to 1000`."""
    kind = field.get("const") or field.get("type", "mapping")
    if kind == "object":
        return "mapping"
    low, high = (field.get("minimum", field.get("exclusiveMinimum")), field.get("maximum"))
    if high is not None:
        return f"{kind}, {low} to {high}"
    return f"{kind}, at least {low}" if low is not None else str(kind)


GENERATED: dict[str, Callable[[], str]] = {
    "workflow/schemas/config.schema.json": config_schema,
    "docs/configuration.md": config_reference,
}
