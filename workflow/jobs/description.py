"""What a shard is made of, as one line of JSON: its job's argument and its fingerprint."""

import hashlib
import json
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from provenance.errors import UserError
from workflow.config_model import Config
from workflow.fingerprint import event_inputs
from workflow.paths import split_of


class Job(BaseModel):
    """What a job is made of, as its argument `--job` says it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @classmethod
    def read(cls, text: str) -> Self:
        """Read a job from JSON.

        Raises
        ------
        UserError
            When it is no JSON, or a key is wrong or missing.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(step) for step in first["loc"]) or "the text"
            raise UserError(f"--job: {key}: {first['msg']}") from None


class ShardJob(Job):
    """One shard to fill.

    Attributes
    ----------
    dataset, part, index, split
        What names it.
    product, options
        What its rows are; options as far as they differ from the product's defaults.
    processes
        Processes to mix, with their share of the batches.
    seed
        Dataset seed.
    card
        Detector card, relative to the project's root.
    events_per_batch, rows
        Events that share a parameter point; rows of the shard.
    inputs
        Digests of the files and versions of the code that shape the rows.
    """

    dataset: str
    part: str
    index: int
    split: str
    product: str
    options: dict[str, Any]
    processes: dict[str, int]
    seed: int
    card: str
    events_per_batch: int
    rows: int
    inputs: dict[str, Any]

    @property
    def text(self) -> str:
        """The job as JSON, the same for equal jobs."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of `text`, kept in the shard's metadata."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def name(self) -> str:
        """The shard's name, as in its file."""
        return f"{self.part}_{self.index:04d}"


class ShardJobs:
    """The jobs of all shards of a run; what they share is computed once.

    Parameters
    ----------
    config
        The run.
    """

    def __init__(self, config: Config):
        self._parts = {
            (dataset, part): _first_job(config, dataset, part)
            for dataset, content in config.datasets.items()
            for part in content.parts
        }
        self._blocks = {
            (dataset, name): part.blocks
            for dataset, content in config.datasets.items()
            for name, part in content.parts.items()
        }

    def job(self, dataset: str, part: str, index: int) -> ShardJob:
        """Return the job of a shard."""
        split = split_of(index, self._blocks[dataset, part])
        return self._parts[dataset, part].model_copy(update={"index": index, "split": split})

    def dataset_fingerprint(self, dataset: str) -> str:
        """Return the hash of everything that defines a dataset; it stands in the manifest."""
        parts = [
            [job.text, self._blocks[key]] for key, job in self._parts.items() if key[0] == dataset
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def dataset_seed(config: Config, dataset: str) -> int:
    """Return the seed of a dataset: its own, or one of 64 bits from the run's seed and its name."""
    own = (config.datasets.get(dataset) or config.collisions[dataset]).seed
    if own is not None:
        return own
    key = json.dumps([config.seed, dataset]).encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")


def _first_job(config: Config, dataset: str, part: str) -> ShardJob:
    content = config.datasets[dataset]
    options = content.product_options(part)
    return ShardJob(
        dataset=dataset,
        part=part,
        index=0,
        split="train",
        product=content.product,
        options=options.model_dump(mode="json", exclude_defaults=True),
        processes=dict(content.parts[part].processes),
        seed=dataset_seed(config, dataset),
        card=content.card,
        events_per_batch=config.generation.events_per_batch,
        rows=content.rows_per_shard,
        inputs=event_inputs(config, dataset, part),
    )
