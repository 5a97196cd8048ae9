"""Certified runs: which luminosity sections are good for physics."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from provenance.errors import UserError


@dataclass(frozen=True)
class CertifiedRuns:
    """Certified luminosity sections as ranges of run · 2³² + section, sorted.

    Attributes
    ----------
    first, last
        uint64 (n_ranges,): both ends of each range belong to it.
    """

    first: np.ndarray
    last: np.ndarray

    def mask(self, run: np.ndarray, section: np.ndarray) -> np.ndarray:
        """Return which events are in a certified section, bool (n_events,)."""
        key = _key(run, section)
        place = np.searchsorted(self.first, key, side="right")
        last = np.concatenate(([np.uint64(0)], self.last))
        return (place > 0) & (key <= last[place])


# For those who take everything that was recorded.
ALL_RUNS = CertifiedRuns(np.zeros(1, np.uint64), np.full(1, np.iinfo(np.uint64).max))


def read_certified(path: str | Path) -> CertifiedRuns:
    """Read a JSON file of run → list of [first, last] luminosity section.

    Raises
    ------
    UserError
        When the file is missing or something else.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        rows = [
            (*_numbers([run]), *_numbers(pair)) for run, pairs in content.items() for pair in pairs
        ]
        if any(first > last for _, first, last in rows):
            raise ValueError("a range ends before it begins")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except (ValueError, TypeError, AttributeError):
        raise UserError(
            f"{path}: not a list of certified runs: JSON of run → [[first, last], …] is needed"
        ) from None
    run, first, last = np.array(sorted(rows), np.uint64).reshape(-1, 3).T
    # Ranges may touch or overlap: what an earlier one covers stays covered.
    return CertifiedRuns(_key(run, first), np.maximum.accumulate(_key(run, last)))


def _numbers(values: Sequence[int | str]) -> Iterator[int]:
    """Yield numbers of 32 bits, as those of runs and sections are."""
    for number in map(int, values):
        if not 0 <= number < 1 << 32:
            raise ValueError(number)
        yield number


def _key(run: np.ndarray, section: np.ndarray) -> np.ndarray:
    return (np.asarray(run, np.uint64) << np.uint64(32)) | np.asarray(section, np.uint64)
