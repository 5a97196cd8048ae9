"""The embedded backend's events: Pythia 8 and fastsim in this process, events never on disk."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from generation.fastsim.card import branch_names, read_card
from generation.simulate import AGAIN, Simulator
from ntuplizer.batch import EventBatch
from ntuplizer.products import get_product
from ntuplizer.sources import memory
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
        product = get_product(job.product)
        options = product.read_options(job.options)
        self.branches = product.branches(options)
        self.optional_branches = product.optional_branches(options)
        # Only what the product reads is simulated.
        written = branch_names(read_card(ROOT / job.card))
        wanted = {*self.branches, *(name for name in self.optional_branches if name in written)}
        once = {name.removesuffix(AGAIN) for name in wanted}
        self.simulator = Simulator(
            ROOT / job.card, pileup, job.seed, job.events_per_batch, once, again=once != wanted
        )

    def batch(self, process: str, number: int) -> tuple[list[EventBatch], dict[str, Any]]:
        """Return the events of a batch, and how they were made."""
        branches, info = self.simulator.batch(process, number, self.job.events_per_batch)
        simulated = [(process, number, branches)]
        events = memory.batches(simulated, self.branches, self.optional_branches)
        return list(events), asdict(info)

    def inputs(self) -> dict[str, Any]:
        """Return the names and digests of card and pile-up."""
        return self.simulator.inputs()
