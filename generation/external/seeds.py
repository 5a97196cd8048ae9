"""The seeds of programs that take a number from 1 to 900,000,000 and nothing else."""

from enum import IntEnum

import numpy as np

from generation.process import Process
from generation.seeds import PLACES, Stage, batch_key, external_seed, stream


class Use(IntEnum):
    """What a seed is for; the same number has another seed for each use."""

    BATCH = 0
    # A batch whose events could not be made with its own seed, first and second time.
    BATCH_AGAIN = 1
    BATCH_ONCE_MORE = 2
    # MadGraph at a point of the plan, and for one batch beyond it.
    POINT = 3
    BATCH_BEYOND_PLAN = 4


# Processes of a dataset that have seeds of their own; the last place is for minimum bias.
MOST_PROCESSES = PLACES // len(Use) - 1
MINIMUM_BIAS_PLACE = MOST_PROCESSES


def program_seed(seed: int, place: int, number: int, use: Use) -> int:
    """Return the seed of a program's run, 1 to 900,000,000.

    No two runs of a dataset have the same.

    Parameters
    ----------
    seed
        Dataset seed.
    place
        Which of the dataset's processes is simulated, from 0 on.
    number
        Which batch, or which run at a point.
    use
        What the run is for.
    """
    return external_seed(seed, place * len(Use) + int(use), number)


def point_stream(seed: int, process: Process, batch: int) -> np.random.Generator:
    """Return the random numbers that draw the parameter point of a batch, as in every backend."""
    return stream(Stage.PARAMETER_POINT, batch_key(seed, process.name, batch))
