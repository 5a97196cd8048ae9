"""Each collision once: the same event can be in several data sets, one for each group of triggers.

All copies of an event are reconstructed alike, so it does not matter which one stays, and events
may be selected before copies are dropped.
"""

from collections.abc import Iterable, Iterator, Sequence
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
        self._events: dict[tuple, np.ndarray] = {}

    def __len__(self) -> int:
        return sum(len(events) for events in self._events.values())

    def first(self, event: np.ndarray, *names: np.ndarray) -> np.ndarray:
        """Find events that come for the first time, and remember them.

        Parameters
        ----------
        event
            Event numbers.
        names
            What else names each of them: process, `section_key`, number of the jet.

        Returns
        -------
        numpy.ndarray
            bool (n_events,): of copies within these arrays, the first one only.
        """
        new, group = np.zeros(len(event), bool), _numbered(len(event), names)
        order = np.argsort(group, kind="stable")
        _, starts = np.unique(group[order], return_index=True)
        for rows in np.split(order, starts[1:]) if len(order) else []:
            key = tuple(name[rows[0]].item() for name in names)
            numbers, place = np.unique(event[rows].astype(np.int64), return_index=True)
            known = self._events.get(key, np.zeros(0, np.int64))
            fresh = ~np.isin(numbers, known, assume_unique=True)
            new[rows[place[fresh]]] = True
            if fresh.any():
                self._events[key] = np.sort(np.concatenate((known, numbers[fresh])))
        return new


def remember(path: str | Path, seen: SeenEvents, identity: Sequence[str]) -> None:
    """Add the rows of a Parquet file with the columns of an identity.

    Raises
    ------
    UserError
        When the file is missing or something else.
    """
    try:
        with pq.ParquetFile(path) as file:
            for rows in file.iter_batches(columns=list(identity)):
                _first(pa.Table.from_batches([rows]), seen, identity)
    except (OSError, KeyError, pa.ArrowException) as error:
        raise UserError(f"{path}: not a file of rows with their events ({error})") from None


def unique_rows(
    tables: Iterable[pa.Table], seen: SeenEvents, identity: Sequence[str]
) -> Iterator[pa.Table]:
    """Drop the rows that were there before.

    Parameters
    ----------
    tables
        In a fixed order of data sets and files: the first copy stays.
    seen
        The rows of earlier tables; adds to it.
    identity
        Columns that name a row, `event` among them. Numbers of simulated events begin anew in each
        process, and an event can have several rows.
    """
    for table in tables:
        yield table.filter(pa.array(_first(table, seen, identity)))


def events_of_rows(table: pa.Table, event_identity: Sequence[str]) -> np.ndarray:
    """Return the event of each row, numbered from 0 as they come; without names each has its own.

    Parameters
    ----------
    table
        The rows.
    event_identity
        Columns that name an event.
    """
    if not event_identity:
        return np.arange(table.num_rows)
    columns = (table[name].combine_chunks() for name in event_identity)
    numbers = (
        (x.dictionary_encode().indices if pa.types.is_string(x.type) else x).to_numpy()
        for x in columns
    )
    code = _numbered(table.num_rows, numbers)
    _, first, event = np.unique(code, return_index=True, return_inverse=True)
    rank = np.empty_like(first)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[event]


def _numbered(length: int, names: Iterable[np.ndarray]) -> np.ndarray:
    """Return a number for each combination of names, (length,) int64."""
    code = np.zeros(length, np.int64)
    for name in names:
        values, own = np.unique(name, return_inverse=True)
        # Of both together as many as there are rows at most, which keeps the numbers small.
        code = np.unique(code * len(values) + own, return_inverse=True)[1]
    return code


def _first(table: pa.Table, seen: SeenEvents, identity: Sequence[str]) -> np.ndarray:
    columns = {name: _values(table[name]) for name in identity}
    return seen.first(columns.pop("event"), *columns.values())


def _values(column: pa.ChunkedArray) -> np.ndarray:
    if not pa.types.is_string(column.type):
        return column.to_numpy()
    coded = column.combine_chunks().dictionary_encode()
    return np.array(coded.dictionary.to_pylist(), dtype=str)[coded.indices.to_numpy()]
