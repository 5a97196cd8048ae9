"""The seed map: every batch of every campaign has its own seed, whichever job makes it."""

from enum import IntEnum

import numpy as np

from provenance.errors import UserError

DATASET_SEEDS = 50
PROCESS_CODES = 8
BATCHES = 2_250_000
# Pythia takes 1 to 900,000,000; 0 would mean the clock.
PYTHIA_LARGEST_SEED = 900_000_000


class Stage(IntEnum):
    """What a stream of random numbers is for; streams of different stages never meet."""

    PARAMETER_POINT = 1
    DETECTOR = 2
    RESIMULATION = 3


def batch_seed(dataset_seed: int, seed_code: int, batch: int) -> int:
    """Return the seed of a batch, an injective map into what Pythia accepts.

    Parameters
    ----------
    dataset_seed
        The user's seed, 0 to 49.
    seed_code
        The process' own number, 0 to 7 (`seed_code` of its process.yaml).
    batch
        Number of the batch within the process, 0 to 2,249,999.

    Returns
    -------
    int
        1 to 900,000,000.

    Raises
    ------
    UserError
        When one of the numbers is out of range.
    """
    for name, value, count in (
        ("seed", dataset_seed, DATASET_SEEDS),
        ("seed_code", seed_code, PROCESS_CODES),
        ("batch", batch, BATCHES),
    ):
        if not 0 <= value < count:
            raise UserError(f"{name} {value} is out of range: 0 to {count - 1} are possible")
    return 1 + (dataset_seed * PROCESS_CODES + seed_code) * BATCHES + batch


def stream(stage: Stage, seed: int) -> np.random.Generator:
    """Return the random numbers of one stage of the batch with this seed."""
    return np.random.Generator(np.random.Philox(key=[int(stage), seed]))
