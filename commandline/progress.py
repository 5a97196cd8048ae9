"""How far a long job has come, on the standard error: a bar on a terminal, else a line a minute."""

import sys
import time
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

T = TypeVar("T")

SECONDS_BETWEEN_LINES = 60.0


class Progress:
    """Counts what is done; shows rate and remaining time while its block runs.

    Parameters
    ----------
    title
        What is being done.
    total
        How many units there are.
    unit
        Name of several: `batches`.
    done
        How many were there before.
    silent
        Show nothing, as all processes but one must.
    """

    def __init__(self, title: str, total: int, unit: str, done: int = 0, silent: bool = False):
        self.title, self.total, self.unit = title, total, unit
        self._begun_at = self._done = done
        self._silent, self._more = silent, ""
        self._bar: Bar | None = None
        self._started = self._said = time.monotonic()

    def __enter__(self) -> Self:
        self._started = self._said = time.monotonic()
        if not self._silent and sys.stderr.isatty() and find_spec("rich"):
            self._bar = _make_bar(self.unit)
            self._task = self._bar.add_task(self.title, total=self.total, completed=self._done)
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif not self._silent and kind is None and self._done > self._begun_at:
            self._say(ended=True)

    def update(self, done: int, more: str = "") -> None:
        """Say how many units are done in all; `more` is added to a line of a log."""
        self._done, self._more = done, more
        if self._bar is not None:
            self._bar.update(self._task, completed=done)
        elif not self._silent and time.monotonic() - self._said >= SECONDS_BETWEEN_LINES:
            self._said = time.monotonic()
            self._say()

    def _say(self, ended: bool = False) -> None:
        seconds = time.monotonic() - self._started
        sys.stderr.write(f"{self.line(seconds, ended)}{self._more}\n")
        sys.stderr.flush()

    def line(self, seconds: float, ended: bool = False) -> str:
        """Return the line of a log after some seconds: done, total, rate, remaining time.

        What has `ended` may lack something of its total; instead of the remaining time the line has
        the one that it took.
        """
        done, total = min(self._done, self.total), self.total
        made = max(self._done - self._begun_at, 0)
        text = f"{self.title}: {done:,} of {total:,} {self.unit}"
        if not made or seconds <= 0:
            return text
        rate = made / seconds
        shown = f"{rate:.3g}" if rate < 100 else f"{rate:,.0f}"
        time_left = f"{duration((total - done) / rate)} left"
        return f"{text}, {shown} {self.unit}/s, {duration(seconds) if ended else time_left}"


def progress(items: Iterable[T], total: int, title: str, unit: str = "batches") -> Iterator[T]:
    """Yield the items and show how many are done.

    Parameters
    ----------
    items
        What to work through.
    total
        How many items there are.
    title
        What is being done.
    unit
        Name of several items.
    """
    with Progress(title, total, unit) as shown:
        for number, item in enumerate(items, start=1):
            yield item
            shown.update(number)


def duration(seconds: float) -> str:
    """Return a time as a person says it: `40 s`, `12 min`, `3.5 h`, `2.1 days`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"


def _make_bar(unit: str) -> "Bar":
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.progress import (
        Progress as Bar,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        """Units a second."""

        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:.3g} {unit}/s")

    return Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
