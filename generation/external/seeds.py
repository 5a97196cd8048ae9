"""The seeds of programs that take a number from 1 to 900,000,000 and nothing else."""

from enum import IntEnum

import numpy as np

from generation.process import Process
from generation.seeds import PYTHIA_LARGEST_SEED, Stage, batch_seed, stream

# Seeds of one use go round by this much for the next, further than a dataset's seeds reach.
STRIDE = 123_456_789


class Use(IntEnum):
    """What a seed is for; the same number has another seed for each use."""

    BATCH = 0
    # A batch whose events could not be made with its own seed, first and second time.
    BATCH_AGAIN = 1
    BATCH_ONCE_MORE = 2
    # MadGraph at a point of the plan, and for one batch beyond it.
    POINT = 3
    BATCH_BEYOND_PLAN = 4


def program_seed(seed: int, process: Process, number: int, use: Use) -> int:
    """Return the seed of a program's run, 1 to 900,000,000.

    Parameters
    ----------
    seed
        Dataset seed.
    process
        What is simulated.
    number
        Which batch, or which run at a point.
    use
        What the run is for.
    """
    own = batch_seed(seed, process.seed_code, number)
    return 1 + (own - 1 + int(use) * STRIDE) % PYTHIA_LARGEST_SEED


def point_stream(seed: int, process: Process, batch: int) -> np.random.Generator:
    """Return the random numbers that draw the parameter point of a batch, as in every backend."""
    return stream(Stage.PARAMETER_POINT, batch_seed(seed, process.seed_code, batch))
