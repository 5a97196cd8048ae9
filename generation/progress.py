"""How far a long job has come, on the standard error."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")

# Lines that a log gets, where a terminal shows a bar.
LINES = 10


def progress(items: Iterable[T], total: int, title: str) -> Iterator[T]:
    """Yield the items; show a bar on a terminal, and write a line now and then elsewhere.

    Parameters
    ----------
    items
        What to work through.
    total
        How many items there are.
    title
        What is being done.
    """
    console = Console(stderr=True)
    if console.is_terminal:
        shown = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*shown, TimeRemainingColumn(), console=console) as bar:
            yield from bar.track(items, total=total, description=title)
        return
    for number, item in enumerate(items, start=1):
        yield item
        if number * LINES // total > (number - 1) * LINES // total:
            sys.stderr.write(f"{title}: batch {number} of {total}\n")
            sys.stderr.flush()
