"""Damaged copies of a file, and what its reader makes of them."""

import resource
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from provenance.errors import UserError
from provenance.ledger import ledger_path

# Of one reading: seconds, and bytes of memory beyond what the process had.
SECONDS, MEMORY = 20, 2 << 30


def flipped(sound: bytes, count: int, seed: int = 1) -> Iterator[bytes]:
    """Yield copies with one bit flipped, at random places of the whole and of both ends."""
    rng = np.random.default_rng(seed)
    size = len(sound)
    ends = min(size, 2000)
    for number in range(count):
        place = int(rng.integers(size)) if number % 2 else int(rng.integers(ends)) - ends // 2
        copy = bytearray(sound)
        copy[place] ^= 1 << int(rng.integers(8))
        yield bytes(copy)


def truncated(sound: bytes, count: int, seed: int = 2) -> Iterator[bytes]:
    """Yield copies that end too early: at random places, after nothing, before the last byte."""
    rng = np.random.default_rng(seed)
    lengths = [0, len(sound) - 1, *rng.integers(1, len(sound) - 1, size=count - 2).tolist()]
    for length in lengths:
        yield sound[:length]


def campaign(
    path: Path,
    read: Callable[[Path], Any],
    flips: int,
    truncations: int,
    said: Callable[[], str] = str,
) -> Counter[str]:
    """Damage a file again and again; assert that nothing of it is read wrongly without a word.

    Parameters
    ----------
    path
        The file; its ledger lies beside it where it has one.
    read
        Reads a file and returns all that it gave, to be compared.
    flips, truncations
        How often.
    said
        Returns what a reading has written on stderr: a file without a checksum is said to be used
        unchecked.

    Returns
    -------
    collections.Counter
        How often the damage was `named`, `harmless` or `said` to be possible. Everything else, and
        every other exception, fails the test.
    """
    sound, expected = path.read_bytes(), read(path)
    said()
    outcomes: Counter[str] = Counter()
    folder = path.parent / "damaged"
    copies = [*flipped(sound, flips), *truncated(sound, truncations)]
    for number, content in enumerate(copies):
        # A folder each: a file is said to be used unchecked but once.
        copy = folder / str(number) / path.name
        shutil.copytree(path.parent, copy.parent, ignore=shutil.ignore_patterns(folder.name))
        copy.write_bytes(content)
        started, before = time.perf_counter(), peak_memory()
        try:
            found = read(copy)
        except UserError as error:
            sentence = str(error)
            assert path.name in sentence or ledger_path(path).name in sentence, sentence
            outcomes["named"] += 1
        else:
            if "is used unchecked" in said():
                outcomes["said"] += 1
            else:
                assert same(found, expected), f"damage {number} of {path.name} went unnoticed"
                outcomes["harmless"] += 1
        assert time.perf_counter() - started < SECONDS
        assert peak_memory() - before < MEMORY
        shutil.rmtree(copy.parent)
    return outcomes


def peak_memory() -> int:
    """Return the largest resident memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def same(first: Any, second: Any) -> bool:
    """Tell whether two readings gave the same, arrays and tables included."""
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(same(first[k], second[k]) for k in first)
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    if hasattr(first, "numpy"):
        first, second = first.numpy(), second.numpy()
    if isinstance(first, np.ndarray):
        return first.dtype == second.dtype and np.array_equal(first, second)
    return bool(first == second)
