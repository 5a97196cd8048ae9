"""The container backend's events: MadGraph's from a library, Pythia and Delphes batch by batch.

The library holds what is planned for each shard; batches beyond that are made one by one, so that
a shard that is short of rows goes on instead of ending. Every block of shards that a part has grown
by has a library of its own.
"""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import Field, PositiveInt

from generation.external.delphes import DelphesInputs, DelphesSimulator
from generation.external.points import PointPlan
from ntuplizer.batch import EventBatch
from ntuplizer.products import get_product
from ntuplizer.sources import delphes
from workflow.config_model import ROOT, Config
from workflow.fingerprint import process_places
from workflow.jobs.batches import shard_batches
from workflow.jobs.description import Job, ShardJob, dataset_seed

# MadGraph runs of a parameter point that a block of shards may have; 50,000 events each.
RUNS_PER_BLOCK = 16


class PlanJob(Job):
    """A plan of hard-process events; `plan_job` writes it."""

    process: str
    processes: dict[str, PositiveInt] = Field(min_length=1)
    place: int
    seed: int
    shards: tuple[int, int]
    batches: PositiveInt
    events_per_batch: int
    first_run: int


def plan_job(config: Config, dataset: str, process: str, growth: int) -> str:
    """Return the description of a plan of hard-process events as one line of JSON.

    Parameters
    ----------
    config, dataset, process
        What is planned for.
    growth
        Which block of the part's shards.
    """
    parts = config.datasets[dataset].parts.values()
    part = next(part for part in parts if process in part.processes)
    assert part.events_per_shard is not None  # or the configuration had been refused
    first = sum(part.blocks[:growth])
    return json.dumps(
        {
            "process": process,
            "processes": part.processes,
            "place": process_places(config, dataset)[process],
            "seed": dataset_seed(config, dataset),
            "shards": [first, first + part.blocks[growth]],
            "batches": -(-part.events_per_shard // config.generation.events_per_batch),
            "events_per_batch": config.generation.events_per_batch,
            "first_run": growth * RUNS_PER_BLOCK,
        },
        sort_keys=True,
    )


def write_plan(job: str, output: Path) -> None:
    """Write which slice of the hard process' events belongs to each planned batch of a block."""
    content = PlanJob.read(job)
    plan = PointPlan.of_batches(
        content.process,
        content.place,
        content.seed,
        content.events_per_batch,
        _planned(content),
        content.first_run,
    )
    plan.write(output)


def _planned(job: PlanJob) -> Iterator[int]:
    for index in range(*job.shards):
        for name, number in islice(shard_batches(index, job.processes), job.batches):
            if name == job.process:
                yield number


class DelphesEvents:
    """Simulates the batches of a shard with Delphes.

    A context manager: its scratch goes at the end.

    Parameters
    ----------
    job
        The shard.
    pileup
        Pile-up file of Delphes.
    libraries
        Index of the hard-process library of each process that has one.
    parton_densities
        Archive of MadGraph's set; None when LHAPDF has it.
    scratch
        Folder for event files.

    Raises
    ------
    UserError
        When card, pile-up or a library is wrong.
    """

    def __init__(
        self,
        job: ShardJob,
        pileup: Path,
        libraries: dict[str, Path],
        parton_densities: Path | None,
        scratch: Path,
    ):
        product = get_product(job.product)
        options = product.read_options(job.options)
        self.branches = product.branches(options)
        self.optional_branches = product.optional_branches(options)
        inputs = DelphesInputs(
            ROOT / job.card, pileup, libraries, job.inputs["places"], job.seed,
            job.events_per_batch, parton_densities,
        )  # fmt: skip
        self.simulator = DelphesSimulator(inputs, scratch)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.simulator.__exit__(kind, error, trace)

    def batch(self, process: str, number: int) -> tuple[list[EventBatch], dict[str, Any]]:
        """Return the events of a batch, none when no try could make them, and how it was made."""
        path, entry = self.simulator.batch(process, number)
        if path is None:
            return [], entry
        events = delphes.batches(path, self.branches, self.optional_branches)
        return list(events), entry

    def inputs(self) -> dict[str, Any]:
        """Return the names and digests of card and pile-up."""
        return self.simulator.inputs()
