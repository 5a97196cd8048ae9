"""The random numbers of Pythia itself (Marsaglia and Zaman's RANMAR), set as a whole.

Pythia's own seeds are numbers of nine digits, too few for a key. The state of its generator is
mostly a list of 97 numbers of 24 bits, which may be any, and comes from a stream here.
"""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pythia8mc

# What `Rndm::dumpState` writes: seed, numbers drawn, two places in the list, the arithmetic
# sequence with its step and its modulus, the list. All but the list is as in a new generator.
FORMAT = "=iqii3d97d"
LENGTH, BITS = 97, 24
FRESH = (0, 0, 96, 32, 362436 / 2**BITS, 7654321 / 2**BITS, 16777213 / 2**BITS)


def set_state(generator: pythia8mc.Rndm, rng: np.random.Generator) -> None:
    """Give a Pythia's generator a state drawn from a stream.

    `Pythia.init` seeds the generator anew: call it before.

    Parameters
    ----------
    generator
        `rndm` of the Pythia.
    rng
        Stream of which 97 raw numbers are taken.
    """
    # Pythia reads a state from a file; a pipe costs less, and holds 820 bytes at once.
    reading, writing = os.pipe()
    try:
        os.write(writing, state(rng))
        with _no_standard_output():
            read = generator.readState(f"/dev/fd/{reading}")
    finally:
        os.close(writing)
        os.close(reading)
    if not read:
        raise RuntimeError("Pythia does not read the state of its random numbers")


def state(rng: np.random.Generator) -> bytes:
    """Return a state drawn from a stream, as Pythia's file of it."""
    # The raw numbers are Philox' own: no change of numpy's distributions can change them.
    drawn = rng.bit_generator.random_raw(LENGTH) >> np.uint64(64 - BITS)
    return struct.pack(FORMAT, *FRESH, *(drawn / 2**BITS))


@contextmanager
def _no_standard_output() -> Iterator[None]:
    """Silence the process' standard output: Pythia tells of states even when it is to be quiet."""
    before = os.dup(1)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            yield
    finally:
        os.dup2(before, 1)
        os.close(before)
