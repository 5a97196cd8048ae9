"""The embedded backend's events: Pythia 8 and fastsim in this process, events never on disk."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from generation.simulate import Simulator
from ntuplizer.products import get_product
from ntuplizer.sources import EventBatch
from ntuplizer.sources.memory import event_batch
from workflow.config_model import ROOT
from workflow.jobs.description import ShardJob


class EmbeddedEvents:
    """Simulates the batches of a shard.

    Parameters
    ----------
    job
        The shard.
    pileup
        Minimum-bias library.

    Raises
    ------
    UserError
        When card, pile-up or a number is wrong.
    """

    def __init__(self, job: ShardJob, pileup: Path):
        self.job = job
        self.product = product = get_product(job.product)
        self.options = product.Options.model_validate(job.options)
        # Only what the product reads is simulated.
        wanted = {**product.branches(self.options), **product.optional_branches(self.options)}
        self.simulator = Simulator(
            ROOT / job.card, pileup, job.seed, job.events_per_batch, branches=set(wanted)
        )

    def batch(self, process: str, number: int) -> tuple[EventBatch, dict[str, Any]]:
        """Return the events of a batch, and how they were made."""
        branches, info = self.simulator.batch(process, number, self.job.events_per_batch)
        events = event_batch(branches, self.product, self.options, process, number)
        return events, asdict(info)

    def inputs(self) -> dict[str, Any]:
        """Return the names and digests of card and pile-up."""
        return self.simulator.inputs()
