"""Which batches a shard is made of, the same for either backend."""

from collections.abc import Iterator, Mapping

from workflow.config_model import BATCHES_PER_SHARD


def shard_batches(index: int, shares: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """Yield the batches that a shard may use: process and batch number.

    Processes alternate in proportion to their shares, always the one that lags most, so that any
    number of batches is mixed as evenly as possible. A number is used by one process only.
    """
    drawn = dict.fromkeys(shares, 0)
    for number in range(BATCHES_PER_SHARD):
        process = min(shares, key=lambda name: ((drawn[name] + 1) / shares[name], name))
        drawn[process] += 1
        yield process, index * BATCHES_PER_SHARD + number
