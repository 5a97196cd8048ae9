"""The configuration: every key typed, described and checked before any job starts.

`workflow/config_docs.py` makes the JSON schema that editors use and the reference page of these
classes; a test keeps them in step.
"""

import re
import zipfile
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from generation.fastsim.card import Card, branch_names, read_card
from generation.process import process_names
from ntuplizer.products import ProductOptions, get_product, product_names
from ntuplizer.products.events import AGAIN
from provenance.errors import UserError
from provenance.validation import checked
from provenance.yaml_file import parse_yaml

ROOT = Path(__file__).parents[1]

SPLIT_RATIO = {"train": 4, "val": 1, "test": 1}
# A shard owns this many batch numbers, so that adding shards never moves an existing one.
BATCHES_PER_SHARD = 1_500
# Shards of a part: what is left of the numbers that `generation.seeds.external_seed` can take.
MAX_SHARDS = 1_500
LARGEST_SEED = 2**64 - 1
# What pile-up is made of: no process of a dataset.
MINIMUM_BIAS = "minbias"

# No event gives so many rows, of whatever product.
ROWS_PER_EVENT = 100
NAME = r"^[A-Za-z][A-Za-z0-9_-]*$"

Name = Annotated[str, Field(pattern=NAME, max_length=64)]
Value = bool | int | float | str | None | list[int] | list[float] | list[str]


class Section(BaseModel):
    """A part of the configuration file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def existing_file(path: str) -> str:
    """Return a path of the configuration, which is relative to the project's root or absolute."""
    try:
        found = (ROOT / path).is_file()
    except (OSError, ValueError):  # too long, or with a null byte
        found = False
    if not found:
        raise ValueError("no such file (relative to the project's root, or absolute)")
    return path


@cache
def detector_card(path: str) -> Card:
    """Return a detector card of the configuration.

    Raises
    ------
    UserError
        When it is none.
    """
    return read_card(ROOT / path)


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


class Archive(Section):
    """An archive from elsewhere."""

    url: str = Field(pattern=r"^(https?|file)://\S+$", description="Where the archive is fetched.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="Checksum that it must have.")


class Containers(Section):
    """MadGraph, Pythia and Delphes as programs; used by `backend: containers` only."""

    image: str = Field(
        "workflow/containers/generation.sif",
        pattern=r"^[\w./][\w./:@+-]*$",
        description="Image for `--sdm apptainer`, a file or an address.",
    )
    madgraph: str = Field(
        "3.5.7",
        pattern=r"^\d+\.\d+\.\d+$",
        description="MadGraph's version; events of another one are refused. The published dataset "
        "used 2.9.18.",
    )
    models: dict[Annotated[str, Field(pattern=r"^\w+$")], Archive] = Field(
        default_factory=dict, description="UFO models to fetch, by the name that MadGraph imports."
    )
    parton_densities: Archive | None = Field(
        None,
        description="LHAPDF's set that MadGraph's run cards ask for (315000, NNPDF31_lo_as_0118); "
        "without it LHAPDF must have it.",
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


class Generation(Section):
    """How events are made."""

    backend: Literal["embedded", "containers"] = Field(
        "embedded",
        description="`embedded`: Pythia 8 from its Python wheel and fastsim, in one process. "
        "`containers`: MadGraph and Delphes as programs.",
    )
    events_per_batch: int = Field(
        100, ge=1, le=1000, description="Events that share one parameter point (masses, pT cut)."
    )
    pileup_events: int = Field(
        ge=100, le=1_000_000, description="Minimum-bias events in the library shared by all jobs."
    )
    containers: Containers = Containers()


class Part(Section):
    """One family of shards, `<part>_0000.parquet` and so on."""

    processes: dict[str, Annotated[int, Field(ge=1, le=1_000_000)]] = Field(
        min_length=1, description="Processes to mix, with their share of the batches."
    )
    shards: int | list[int] = Field(
        description="Number of shards, a multiple of 6: split 4:1:1 into train, val and test by "
        "range. A list grows the part: each number appends a block that is split in itself."
    )
    options: dict[str, Value] = Field(
        default_factory=dict, description="Options of the product, for this part only."
    )
    events_per_shard: int | None = Field(
        None,
        ge=1,
        description="Events that the container backend plans for a shard; it needs this.",
    )

    @property
    def blocks(self) -> tuple[int, ...]:
        """Shards of each block, in the order in which they were appended."""
        return (self.shards,) if isinstance(self.shards, int) else tuple(self.shards)

    @property
    def n_shards(self) -> int:
        """Shards of all blocks."""
        return sum(self.blocks)

    @field_validator("processes")
    @classmethod
    def _known(cls, processes: dict[str, int]) -> dict[str, int]:
        known = [name for name in process_names() if name != MINIMUM_BIAS]
        for process in processes:
            if process not in known:
                raise ValueError(f"unknown process {process!r}; there are {', '.join(known)}")
        return processes

    @field_validator("processes")
    @classmethod
    def _each_has_a_batch(cls, processes: dict[str, int]) -> dict[str, int]:
        if sum(processes.values()) > BATCHES_PER_SHARD:
            raise ValueError(
                f"the shares add up to {sum(processes.values())}, and a shard has at most "
                f"{BATCHES_PER_SHARD} batches: divide them by a common number"
            )
        return processes

    @field_validator("shards")
    @classmethod
    def _whole_blocks(cls, shards: int | list[int]) -> int | list[int]:
        blocks = [shards] if isinstance(shards, int) else shards
        unit = sum(SPLIT_RATIO.values())
        if not blocks or min(blocks) < unit or any(block % unit for block in blocks):
            raise ValueError(f"each block of shards is a positive multiple of {unit}")
        if sum(blocks) > MAX_SHARDS:
            raise ValueError(f"a part has at most {MAX_SHARDS} shards")
        return shards


class Dataset(Section):
    """One dataset: a product made of events of one detector."""

    product: str = Field("jets", description="What a row is: a file of `ntuplizer/products`.")
    card: str = Field(description="Delphes card, relative to the project's root.")
    options: dict[str, Value] = Field(
        default_factory=dict,
        description="Options of the product, see `python -m ntuplizer <product> --help`.",
    )
    rows_per_shard: int = Field(
        ge=1, le=10_000_000, description="Exact number of rows in every shard."
    )
    parts: dict[Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9]{0,31}$")], Part] = Field(
        min_length=1, description="Parts by name."
    )
    seed: int | None = Field(
        None,
        ge=0,
        le=LARGEST_SEED,
        description="Dataset seed, 64 bits; by default one of its own, from the run's seed and the "
        "dataset's name. Datasets with one seed share the events of a process.",
    )

    @field_validator("card")
    @classmethod
    def _card_is_one(cls, path: str) -> str:
        try:
            detector_card(existing_file(path))
        except UserError as error:
            raise ValueError(f"no Delphes card: {error}") from None
        return path

    @field_validator("product")
    @classmethod
    def _product_exists(cls, product: str) -> str:
        if product not in product_names():
            raise ValueError(f"no such product; there are {', '.join(product_names())}")
        return product

    @model_validator(mode="after")
    def _options_are_the_products(self) -> "Dataset":
        written = branch_names(detector_card(self.card))
        for name in self.parts:
            try:
                options = self.product_options(name)
            except UserError as error:
                raise ValueError(str(error)) from None
            read = get_product(self.product).branches(options)
            missing = {branch.removesuffix(AGAIN) for branch in read}.difference(written)
            if missing:
                raise ValueError(
                    f"the product {self.product} needs the branch {min(missing)}, and the card "
                    f"{self.card} writes {', '.join(written)}"
                )
        return self

    @model_validator(mode="after")
    def _parts_are_disjoint(self) -> "Dataset":
        owner: dict[str, str] = {}
        for name, part in self.parts.items():
            for process in part.processes:
                if process in owner:
                    raise ValueError(
                        f"parts {owner[process]} and {name} both hold {process}, and so would hold "
                        "the same events; a process belongs to one part"
                    )
                owner[process] = name
        return self

    def product_options(self, part: str) -> ProductOptions:
        """Return the checked options of the product for a part."""
        return get_product(self.product).read_options(self.options | self.parts[part].options)


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


class Sizes(Section):
    """The numeric axis of a study."""

    key: str = Field(
        pattern=r"^[a-z_]+(\.[a-z_]+)*$",
        description="Key of the training's configuration, `data.train_rows`; `from.<key>` is one "
        "of the training that it begins with, which is then trained for each size.",
    )
    values: list[int] = Field(min_length=1, description="Its values.")


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
    """A grid of changes to a training: sizes × ways × seeds, a job each."""

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
        if self.baseline is not None and self.baseline not in ways:
            raise ValueError(f"baseline {self.baseline} is none of the ways: {', '.join(ways)}")
        for what, values in (("seeds", self.seeds), ("sizes", self.sizes and self.sizes.values)):
            if values and len(set(values)) != len(values):
                raise ValueError(f"{what}: a value occurs twice")
        return self

    def all_ways(self) -> dict[str, Way]:
        """Return the ways by name, those of a folder of configurations included."""
        folder = [] if self.configs is None else sorted((ROOT / self.configs).glob("*.yaml"))
        of_folder = {
            file.stem: Way(config=str(Path(str(self.configs)) / file.name)) for file in folder
        }
        return (of_folder | self.ways) or {"as configured": Way()}


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


def _shares(name: str, way: Way, ways: dict[str, Way]) -> None:
    """Refuse a way that is of another one and has more of its own than a metric."""
    if way.of not in ways or ways[way.of].of is not None:
        raise ValueError(f"ways.{name}.of: {way.of} is no way with networks of its own")
    more = way.model_fields_set - {"of", "metric"}
    if more or way.metric is None:
        raise ValueError(f"ways.{name}: with `of` goes `metric`, and nothing else")


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


def nested_section(annotation: Any) -> type[Section] | None:
    """Return the section that a key holds, alone, optionally, or several by name."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    inner = getattr(annotation, "__args__", ())
    return next((found for item in inner if (found := nested_section(item))), None)
