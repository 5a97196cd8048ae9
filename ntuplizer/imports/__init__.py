"""Public sets of jets as files of our columns, each set in a file of this folder.

A set is found by its file, `ntuplizer/imports/<name>.py`, which holds a `SOURCE`; importing it is
cheap. What a set does not tell of its jets has no column, and the file's metadata name the groups
of features that are absent.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from provenance.errors import UserError

if TYPE_CHECKING:
    from ntuplizer.imports.jets import ImportedJets

# Jets that are held in memory at a time.
CHUNK = 10_000


@dataclass(frozen=True)
class Source:
    """A public set of jets.

    Attributes
    ----------
    name
        The name on the command line: that of its file, with dashes.
    summary
        What it is, in a few words.
    labels
        Names of the classes, by index.
    absent
        Groups of features that it does not have: `identity`, `displacement`.
    radius
        Jet radius, which N-subjettiness is normalised by.
    product
        The product whose labels these are, or `jets` when they are none of ours.
    read
        (file, label) → jets, some thousand at a time; `label` is what the command line says of all
        jets of a file, or None.
    """

    name: str
    summary: str
    labels: tuple[str, ...]
    absent: tuple[str, ...]
    radius: float
    product: str
    read: "Callable[[Path, str | None], Iterator[ImportedJets]]"


def source_names() -> tuple[str, ...]:
    """Return the names of all sets, in alphabetical order."""
    modules = (module.name for module in pkgutil.iter_modules(__path__))
    return tuple(sorted(name.replace("_", "-") for name in modules if name != "jets"))


def get_source(name: str) -> Source:
    """Return a set by its name."""
    source: Source = importlib.import_module(f"{__name__}.{name.replace('-', '_')}").SOURCE
    return source


def no_label(path: Path, label: str | None) -> None:
    """Refuse a label for the jets of a file that have their own.

    Raises
    ------
    UserError
        When one is given.
    """
    if label is not None:
        raise UserError(f"{path}: its jets have labels of their own; leave --label out")
