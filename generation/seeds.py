"""Random numbers: each batch has a key of its own, and each stage of a batch its own stream.

Keys are 128-bit hashes, so that any seed, any process and any batch may be asked for. Programs
that take no more than a seed of nine digits get theirs from a permutation instead: hashes that
short would collide within a dataset.
"""

import hashlib
from enum import IntEnum

import numpy as np

from provenance.errors import UserError

LARGEST_SEED = 2**64 - 1
LARGEST_BATCH = 2**64 - 1
KEY_BYTES = 16

# Of programs that take only a seed, such as Pythia inside Delphes, and MadGraph: 1 to 900,000,000;
# 0 would mean the clock.
EXTERNAL_SEEDS = 900_000_000
BATCHES = 2_250_000
PLACES = EXTERNAL_SEEDS // BATCHES
# Of the permutation. Four make it look random (Luby and Rackoff, SIAM J. Comput. 17 (1988) 373).
ROUNDS = 8


class Stage(IntEnum):
    """What a stream of random numbers is for; streams of different stages never meet."""

    PARAMETER_POINT = 1
    PYTHIA = 2
    DETECTOR = 3
    PREPARATION = 4


def batch_key(seed: int, process: str, batch: int) -> int:
    """Return the key that all random streams of a batch come from.

    Parameters
    ----------
    seed
        The dataset's seed, 0 to 2^64 - 1.
    process
        Name of the process.
    batch
        Number of the batch within the process, 0 to 2^64 - 1.

    Returns
    -------
    int
        128 bits. Two of n batches, of one or of several datasets, have the same key with a chance
        of n² / 2^129.

    Raises
    ------
    UserError
        When a number is out of range.
    """
    return _key(b"batch", seed, batch, process)


def resimulation_key(seed: int, number: int) -> int:
    """Return the key of the events that a pass through the detector takes from a file at a time.

    Parameters
    ----------
    seed
        Seed of the pass, 0 to 2^64 - 1.
    number
        Which events of the file: those of its first batch are number 0.

    Raises
    ------
    UserError
        When a number is out of range.
    """
    return _key(b"resimulation", seed, number, "")


def stream(stage: Stage, key: int, part: str = "") -> np.random.Generator:
    """Return the random numbers of one stage, or of one part of a stage.

    Philox is a function of a 128-bit key and a 256-bit counter. The stage and a hash of the part
    are the upper half of the counter, so that the streams of a key cannot meet before any of them
    has given 2^130 numbers, and those of different keys have nothing to do with each other.

    Parameters
    ----------
    stage
        What the numbers are for.
    key
        From `batch_key` or `resimulation_key`.
    part
        What draws them, where several parts of a stage draw: each has a stream of its own and gets
        the same numbers whether or not the others run.
    """
    of_part = int.from_bytes(hashlib.blake2b(part.encode(), digest_size=8).digest(), "big")
    counter = (int(stage) << 192) | (of_part << 128 if part else 0)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def external_seed(seed: int, place: int, batch: int) -> int:
    """Return the seed of a batch for a program that takes nothing else.

    Parameters
    ----------
    seed
        The dataset's seed, 0 to 2^64 - 1.
    place
        Which of the dataset's processes it is, 0 to 399.
    batch
        Number of the batch within the process, 0 to 2,249,999.

    Returns
    -------
    int
        1 to 900,000,000, different for all batches of all processes of a dataset. Two datasets
        have seeds in common: of n and m batches, n m / 900,000,000 on average.

    Raises
    ------
    UserError
        When a number is out of range.
    """
    _check("seed", seed, LARGEST_SEED)
    _check("place", place, PLACES - 1)
    _check("batch", batch, BATCHES - 1)
    return 1 + permuted(place * BATCHES + batch, EXTERNAL_SEEDS, seed)


def permuted(number: int, size: int, seed: int) -> int:
    """Return where a permutation of 0 to `size` - 1, another one for each seed, puts a number.

    A Feistel network permutes the numbers of an even count of bits; it is applied until the result
    is below `size` again, which permutes these (cycle walking, Black and Rogaway, 2002).
    """
    half = ((size - 1).bit_length() + 1) // 2
    mask = (1 << half) - 1
    while True:
        left, right = number >> half, number & mask
        for turn in range(ROUNDS):
            left, right = right, left ^ (_round(seed, turn, right) & mask)
        number = (left << half) | right
        if number < size:
            return number


def _round(seed: int, turn: int, value: int) -> int:
    text = turn.to_bytes(1, "big") + value.to_bytes(8, "big")
    digest = hashlib.blake2b(text, digest_size=8, key=seed.to_bytes(8, "big")).digest()
    return int.from_bytes(digest, "big")


def _key(kind: bytes, seed: int, number: int, name: str) -> int:
    """Hash numbers of fixed length and a name behind them, which nothing else is encoded as."""
    _check("seed", seed, LARGEST_SEED)
    _check("batch", number, LARGEST_BATCH)
    text = seed.to_bytes(8, "big") + number.to_bytes(8, "big") + name.encode()
    digest = hashlib.blake2b(text, digest_size=KEY_BYTES, person=kind).digest()
    return int.from_bytes(digest, "big")


def _check(name: str, value: int, largest: int) -> None:
    if not 0 <= value <= largest:
        raise UserError(f"{name} {value} is out of range: 0 to {largest} are possible")
