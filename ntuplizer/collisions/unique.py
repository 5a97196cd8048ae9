"""Each collision once: the same event can be in several data sets, one for each group of triggers.

All copies of an event are reconstructed alike, so it does not matter which one stays, and events
may be selected before copies are dropped.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from provenance.errors import UserError

# Luminosity sections of a run are numbered up to some thousands, events from 1 in a run.
SECTION_BITS = 20


def section_key(run: np.ndarray, section: np.ndarray) -> np.ndarray:
    """Return run · 2²⁰ + luminosity section, int64: one number for each section."""
    return (np.asarray(run, np.int64) << SECTION_BITS) | np.asarray(section, np.int64)


def run_and_section(key: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what `section_key` was made of, int64."""
    key = np.asarray(key, np.int64)
    return key >> SECTION_BITS, key & ((1 << SECTION_BITS) - 1)


class SeenEvents:
    """The events that were there before, exactly: no hashes, 8 bytes each."""

    def __init__(self) -> None:
        self._events: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return sum(len(events) for events in self._events.values())

    def first(self, section: np.ndarray, event: np.ndarray) -> np.ndarray:
        """Find events that come for the first time, and remember them.

        Parameters
        ----------
        section
            `section_key` of each event.
        event
            Event numbers.

        Returns
        -------
        numpy.ndarray
            bool (n_events,): of copies within these arrays, the first one only.
        """
        new = np.zeros(len(event), bool)
        order = np.argsort(section, kind="stable")
        sections, starts = np.unique(section[order], return_index=True)
        groups = np.split(order, starts[1:]) if len(order) else []
        for key, group in zip(sections.tolist(), groups, strict=True):
            numbers, place = np.unique(event[group].astype(np.int64), return_index=True)
            known = self._events.get(key, np.zeros(0, np.int64))
            fresh = ~np.isin(numbers, known, assume_unique=True)
            new[group[place[fresh]]] = True
            if fresh.any():
                self._events[key] = np.sort(np.concatenate((known, numbers[fresh])))
        return new


def remember(path: str | Path, seen: SeenEvents) -> None:
    """Add the events of a Parquet file with the columns `batch` and `event`.

    Raises
    ------
    UserError
        When the file is missing or something else.
    """
    try:
        with pq.ParquetFile(path) as file:
            for rows in file.iter_batches(columns=["batch", "event"]):
                seen.first(rows["batch"].to_numpy(), rows["event"].to_numpy())
    except (OSError, KeyError, pa.ArrowException) as error:
        raise UserError(f"{path}: not a file of rows with their events ({error})") from None


def unique_rows(tables: Iterable[pa.Table], seen: SeenEvents) -> Iterator[pa.Table]:
    """Drop the rows of events that were there before.

    Parameters
    ----------
    tables
        With the columns `batch` (`section_key`) and `event`, in a fixed order of data sets and
        files: the first copy stays.
    seen
        The events of earlier tables; adds to it. One row for each event.
    """
    for table in tables:
        new = seen.first(table["batch"].to_numpy(), table["event"].to_numpy())
        yield table.filter(pa.array(new))
