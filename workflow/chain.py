"""The jobs of the container backend that know what a shard is made of.

A shard's batches are the first ones of its own numbers, so many as give its events; its jobs take
consecutive ranges of them. Nothing is imported before it is needed: the first two commands run in
the environment of MadGraph and Delphes, which has no Parquet and no fastjet.
"""

import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from provenance.errors import UserError
from provenance.files import read_json
from provenance.ledger import ledger_path, write_ledger
from workflow.batches import parse_shares, shard_batches


def plan_hard_process(
    process: str,
    processes: Sequence[str],
    shards: int,
    batches: int,
    seed: int,
    events_per_batch: int,
    output: Path,
) -> None:
    """Write which slice of the hard process' events belongs to each batch of a part.

    Parameters
    ----------
    process
        The process to plan for.
    processes
        All processes of the part with their shares, `res2p=4`.
    shards, batches
        Shards of the part, and batches of each.
    seed, events_per_batch
        Dataset seed; events of a batch.
    output
        The plan.
    """
    from generation.external.points import PointPlan

    shares = parse_shares(processes)
    numbers = (
        number
        for index in range(shards)
        for name, number in islice(shard_batches(index, shares), batches)
        if name == process
    )
    PointPlan.of_batches(process, seed, events_per_batch, numbers).write(output)


def simulate_batches(
    index: int,
    processes: Sequence[str],
    batches: int,
    job: int,
    jobs: int,
    seed: int,
    events_per_batch: int,
    card: Path,
    pileup: Path,
    library: Sequence[Path],
    scratch: Path,
    output: Path,
) -> None:
    """Simulate one job's range of a shard's batches with Delphes.

    Parameters
    ----------
    index
        The shard's number in its part.
    processes, batches
        Processes of the part with their shares; batches of the shard.
    job, jobs
        Number of this job, and how many share the shard.
    seed, events_per_batch, card, pileup, scratch, output
        See `generation.external.delphes.DelphesJob`.
    library
        Indices of the hard-process libraries.
    """
    from generation.external.delphes import DelphesJob, simulate

    chosen = islice(
        shard_batches(index, parse_shares(processes)),
        batches * job // jobs,
        batches * (job + 1) // jobs,
    )
    libraries = {read_json(path)["process"]: path for path in library}
    simulate(
        DelphesJob(list(chosen), seed, events_per_batch, card, pileup, libraries, scratch, output)
    )


def merge_shard(
    part: str,
    index: int,
    split: str,
    seed: int,
    jets: int,
    files: Sequence[Path],
    event_ledgers: Sequence[Path],
    fingerprint: str,
    output: Path,
) -> None:
    """Make a shard of the first jets of its jet files, shuffled, with a ledger of all its events.

    Parameters
    ----------
    part, index, split, seed
        What names the shard.
    jets
        How many jets it holds.
    files
        The jet files of its jobs, in order.
    event_ledgers
        The ledgers of the event files that they were made of.
    fingerprint
        Hash of the configuration, kept in the file.
    output
        The shard.

    Raises
    ------
    UserError
        When the files hold too few jets, or a job's jets were not made of all its events.
    """
    from ntuplizer.shards import ShardKey, class_counts, read_jets, write_shard

    started = time.perf_counter()
    events = [read_json(path) for path in event_ledgers]
    made = [read_json(ledger_path(path)) for path in files]
    for path, event, jet in zip(files, events, made, strict=True):
        if jet["counts"]["events"] != event["events_generated"]:
            raise UserError(
                f"{path}: made of {jet['counts']['events']} events where Delphes wrote "
                f"{event['events_generated']}"
            )
    key = ShardKey(part, index, split, seed)
    rows = write_shard(
        output, (read_jets(path) for path in files), jets, key, fingerprint,
        f"generation.containers.events_per_shard.{part}",
    )  # fmt: skip
    labelled = sum(jet["counts"]["jets"] for jet in made)
    write_ledger(
        output,
        started - sum(ledger["wall_seconds"] for ledger in events + made),
        part=part,
        index=index,
        split=split,
        seed=seed,
        config_sha256=fingerprint,
        events_asked=sum(event["events_asked"] for event in events),
        events_generated=sum(event["events_generated"] for event in events),
        jets_labelled=labelled,
        jets_left_over=labelled - rows.num_rows,
        rows=rows.num_rows,
        class_counts=class_counts(rows),
        batches=[batch for event in events for batch in event["batches"]],
    )
