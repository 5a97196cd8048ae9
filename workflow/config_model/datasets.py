"""Simulated datasets: a product, a card, and parts that mix processes in shards."""

from functools import cache
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from generation.fastsim.card import Card, branch_names, read_card
from generation.process import process_names
from ntuplizer.products import ProductOptions, get_product, product_names
from ntuplizer.products.events import AGAIN
from provenance.errors import UserError
from workflow.config_model.sections import LARGEST_SEED, ROOT, Section, Value, existing_file

SPLIT_RATIO = {"train": 4, "val": 1, "test": 1}
# A shard owns this many batch numbers, so that adding shards never moves an existing one.
BATCHES_PER_SHARD = 1_500
# Shards of a part: what is left of the numbers that `generation.seeds.external_seed` can take.
MAX_SHARDS = 1_500
# What pile-up is made of: no process of a dataset.
MINIMUM_BIAS = "minbias"


@cache
def detector_card(path: str) -> Card:
    """Return a detector card of the configuration.

    Raises
    ------
    UserError
        When it is none.
    """
    return read_card(ROOT / path)


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
