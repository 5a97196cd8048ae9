"""Products: kinds of rows that can be made of events, each in a file of this folder.

A product is found by its file: `ntuplizer/products/<name>.py` holds a `PRODUCT`. Everything else
(command line, shards, manifest, verification, workflow) takes it from there. Importing a product is
cheap, so that a configuration can be checked with it; what makes its rows is imported when rows
are made.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from ntuplizer.counts import Counts
from ntuplizer.schema import Column, arrow_schema, tabulate
from provenance.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

    from ntuplizer.batch import EventBatch
    from ntuplizer.display import View

Branches = Mapping[str, tuple[str, ...]]


class ProductOptions(BaseModel):
    """Base of a product's options: every field has a default and a description."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _yes_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse `true` where a number is meant; pydantic takes it for 1."""
        wanted = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and wanted is not bool:
            raise PydanticCustomError("no_number", "Input should be a number")
        return value


def _one_group(name: str) -> str:
    return "labels"


@dataclass(frozen=True)
class Label:
    """The column that classes a row, int32, and the names of its values.

    `group_of` tells which names belong together, where there are too many to look at each.
    """

    column: str
    names: tuple[str, ...]
    group_of: Callable[[str], str] = _one_group

    def name_of(self, value: int) -> str | None:
        """Return the name of a value; None for rows without a label, those of collisions."""
        return self.names[value] if 0 <= value < len(self.names) else None


@dataclass(frozen=True)
class Axis:
    """A column worth a histogram, with its title (matplotlib's mathtext) and range.

    Of a column that spans decades, `logarithmic` makes bins of equal ratio.
    """

    column: str
    title: str
    bins: int
    low: float
    high: float
    logarithmic: bool = False


@dataclass(frozen=True)
class Match:
    """The columns with the transverse momenta of a jet and of its GEN-jet, 0 without a match."""

    pt: str
    gen_pt: str


def _no_branches(options: Any) -> Branches:
    return {}


def _no_label(options: Any) -> Label | None:
    return None


@dataclass(frozen=True)
class Product:
    """A kind of rows that can be made of events.

    Attributes
    ----------
    name
        The name of its file.
    summary
        What a row is, in a few words.
    version
        Raised with every change of code that changes rows.
    Options
        The model of its options.
    columns
        Options → the columns of a row, in order.
    branches, optional_branches
        Options → branch → leaves that the events must have, or may lack.
    make
        (batch, options, counts) → column name → values, as `ntuplizer.schema.tabulate` takes them.
        It adds to `counts.steps`; the events of the batch are sound.
    label
        Options → the column with the class of a row; None where rows have none.
    identity
        Columns that name a row for good: those of the event, of which `event` is the last, and
        what numbers the rows of an event. Empty when rows are told apart by their values alone.
    axes
        What a report draws of the columns.
    match
        Where a row is a jet with its GEN-jet: a report shows matching and response.
    view
        (row by column name, options) → what a row looks like; None: it cannot be drawn.
    """

    name: str
    summary: str
    version: int
    Options: type[ProductOptions]
    columns: Callable[[Any], tuple[Column, ...]]
    branches: Callable[[Any], Branches]
    make: "Callable[[EventBatch, Any, Counts], Mapping[str, Any]]"
    optional_branches: Callable[[Any], Branches] = _no_branches
    label: Callable[[Any], Label | None] = _no_label
    identity: tuple[str, ...] = ()
    axes: tuple[Axis, ...] = ()
    match: Match | None = None
    view: "Callable[[dict[str, Any], Any], View] | None" = None

    def read_options(self, values: Mapping[str, Any]) -> ProductOptions:
        """Check options by name; those that are not given have their defaults.

        Raises
        ------
        UserError
            When an option does not exist or has an impossible value.
        """
        try:
            return self.Options.model_validate(dict(values))
        except ValidationError as error:
            first = error.errors()[0]
            if first["type"] == "extra_forbidden":
                reason = f"it is none of {', '.join(self.Options.model_fields)}"
            else:
                wanted = first["msg"].removeprefix("Input should be ").partition(",")[0]
                reason = f"{wanted} is needed, not {first['input']!r}"
            name = ".".join(map(str, first["loc"]))
            raise UserError(f"product {self.name}, option {name}: {reason}") from None

    def schema(self, options: ProductOptions) -> "pa.Schema":
        """Return the Arrow schema of the rows."""
        return arrow_schema(self.columns(options))

    @property
    def event_identity(self) -> tuple[str, ...]:
        """The part of `identity` that names the event."""
        return self.identity[: self.identity.index("event") + 1] if self.identity else ()

    def rows(self, batch: "EventBatch", options: ProductOptions, counts: Counts) -> "pa.Table":
        """Make the rows of a batch of events; adds to `counts`.

        Parameters
        ----------
        batch
            Events with `branches(options)`. Those that cannot be trusted are left out
            (`ntuplizer.quality`).
        options
            An instance of `Options`.
        counts
            What was read, lost and kept.
        """
        from ntuplizer.quality import drop_bad_events

        counts.events += batch.n_events
        batch, skipped = drop_bad_events(batch)
        counts.events_skipped.update(skipped)
        table = tabulate(self.make(batch, options, counts), self.schema(options))
        counts.rows += table.num_rows
        label = self.label(options)
        if label is not None:
            added = count_classes(table, label)
            counts.class_counts = add_classes([counts.class_counts, added], label)
        return table

    def tables(
        self, batches: "Iterable[EventBatch]", options: ProductOptions, counts: Counts
    ) -> "Iterator[pa.Table]":
        """Yield the rows of each batch.

        Raises
        ------
        UserError
            After the last one, when `counts` holds too many events that were left out.
        """
        source = ""
        for batch in batches:
            source = batch.source
            yield self.rows(batch, options, counts)
        counts.check_losses(source)


def count_classes(table: "pa.Table", label: Label) -> dict[str, int]:
    """Count the rows of each label that occurs, in the order of the label's names.

    Rows of collisions have none, -1, and do not count.
    """
    import numpy as np

    labels = table[label.column].to_numpy()
    counts = np.bincount(labels[labels >= 0], minlength=len(label.names))
    return {label.names[i]: int(counts[i]) for i in np.flatnonzero(counts)}


def add_classes(counts: Iterable[Mapping[str, int]], label: Label) -> dict[str, int]:
    """Add up counts by label, in the order of the label's names."""
    total = dict.fromkeys(label.names, 0)
    for own in counts:
        for name, count in own.items():
            total[name] += count
    return {name: count for name, count in total.items() if count}


def product_names() -> tuple[str, ...]:
    """Return the names of all products, in alphabetical order."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def get_product(name: str) -> Product:
    """Return a product by its name.

    Raises
    ------
    UserError
        When there is none of this name.
    """
    if name not in product_names():
        raise UserError(f"there is no product {name!r}: it is one of {', '.join(product_names())}")
    product: Product = importlib.import_module(f"{__name__}.{name}").PRODUCT
    if product.name != name:
        raise RuntimeError(f"{name}.py holds the product {product.name}: names must be equal")
    return product
