"""How many events of a batch may be missing, and why they are."""

import math
import re

# Of an event: that Pythia gives it up. None of 40,000 of the published processes was.
LOSS_PROBABILITY = 1e-3
# Of a sound batch: that chance alone loses more events than are allowed. A dataset has up to a
# million batches, and one that is refused is made again with another seed.
REFUSAL_PROBABILITY = 1e-6
# A line of the table of messages with which Pythia ends; warnings lose no event.
MESSAGE = re.compile(r"^\s*\|\s*(\d+)\s+((?:Error in|Abort from)\s.*?)\s*\|?\s*$", re.M)


def most_lost(events: int) -> int:
    """Return how many of so many events may be missing, by a binomial distribution.

    Parameters
    ----------
    events
        Events asked for.

    Returns
    -------
    int
        The smallest number that chance exceeds with less than `REFUSAL_PROBABILITY`.
    """
    lost = 0
    term = (1 - LOSS_PROBABILITY) ** events
    if term == 0:  # so many events that the distribution is a normal one
        mean = events * LOSS_PROBABILITY
        return math.ceil(mean + 5 * math.sqrt(mean))
    above = 1 - term
    while above > REFUSAL_PROBABILITY:
        term *= (events - lost) / (lost + 1) * LOSS_PROBABILITY / (1 - LOSS_PROBABILITY)
        lost += 1
        above -= term
    return lost


def pythia_errors(log: str) -> dict[str, int]:
    """Return the errors that Pythia counted, by message, from its output."""
    return {message: int(times) for times, message in MESSAGE.findall(log)}
