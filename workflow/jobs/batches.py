"""Which batches a shard is made of, the same for either backend."""

from collections.abc import Iterator, Sequence

from provenance.errors import UserError
from workflow.config_model import BATCHES_PER_SHARD, Config


def format_shares(config: Config, part: str) -> list[str]:
    """Write the processes of a part with their shares, `res2p=4 res2p_charged=3`."""
    return [f"{name}={share}" for name, share in config.dataset.parts[part].processes.items()]


def batches_per_shard(config: Config, part: str) -> int:
    """Return how many batches give the events of a shard of the container backend."""
    events = config.generation.containers.events_per_shard[part]
    return -(-events // config.generation.events_per_batch)


def parse_shares(processes: Sequence[str]) -> dict[str, int]:
    """Read `res2p=4 res2p_charged=3` as shares by process.

    Raises
    ------
    UserError
        When an entry is not a name and a positive integer.
    """
    shares = {}
    for entry in processes:
        name, _, share = entry.partition("=")
        if not (name and share.isdigit() and int(share) > 0):
            raise UserError(f"--processes {entry}: expected NAME=SHARE with a positive integer")
        shares[name] = int(share)
    return shares


def shard_batches(index: int, shares: dict[str, int]) -> Iterator[tuple[str, int]]:
    """Yield the batches that a shard may use: process and batch number.

    Processes alternate in proportion to their shares, always the one that lags most, so that any
    number of batches is mixed as evenly as possible. A number is used by one process only.
    """
    drawn = dict.fromkeys(shares, 0)
    for number in range(BATCHES_PER_SHARD):
        process = min(shares, key=lambda name: ((drawn[name] + 1) / shares[name], name))
        drawn[process] += 1
        yield process, index * BATCHES_PER_SHARD + number
