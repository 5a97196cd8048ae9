"""What a run says before its first job: what it will do, how long that takes, where results go."""

import csv
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from commandline.progress import duration
from training.config import FitConfig
from workflow.config_model import SPLIT_RATIO, Config
from workflow.fits import Fit
from workflow.paths import Paths

# Processor seconds of jobs on the machine of docs/scaling.md, starts included.
SECONDS_TO_START = 4.0
SECONDS_PER_PILEUP_EVENT = 0.005
SECONDS_PER_ROW = 0.0095
# Rules of jobs that have ended when they have begun.
LITTLE_WORK = {"manifest", "card", "member", "study", "report"}
# Of the small networks; one for a GPU is not trained on a CPU.
SECONDS_PER_STEP = 0.06
# Their evaluation, figures included.
SECONDS_TO_EVALUATE = 10.0


class Job(Protocol):
    """What is asked of a job of Snakemake."""

    @property
    def rule(self) -> Any:
        """Its rule."""

    @property
    def wildcards(self) -> Any:
        """Their values, by name."""

    @property
    def benchmark(self) -> str | None:
        """File of what it took when it last ran."""


def announce(
    config: Config, paths: Paths, fits: Mapping[str, Fit], jobs: Iterable[Job], cores: int | None
) -> str:
    """Return what a run says before its first job.

    Parameters
    ----------
    config, paths, fits
        The run.
    jobs
        Those that will run.
    cores
        Of this machine that jobs may take; None where a cluster decides.
    """
    jobs = [job for job in jobs if str(job.rule) not in {"all", "datasets", "cards", "training"}]
    if not jobs:
        return "Nothing is left to do.\n"
    counts = Counter(str(job.rule) for job in jobs)
    made = [
        f"{name} ({sum(part.n_shards for part in dataset.parts.values()) * rows:,} rows)"
        for name, dataset in config.datasets.items()
        if (rows := dataset.rows_per_shard)
    ]
    lines = [
        f"Run {config.name}: {len(jobs)} {'job' if len(jobs) == 1 else 'jobs'} to do, "
        + ", ".join(f"{count} {rule}" for rule, count in counts.items()),
    ]
    if made:
        lines.append(f"  datasets   {', '.join(made)}")
    if config.training:
        lines.append(f"  trainings  {', '.join(config.training)}")
    if config.studies:
        lines.append(f"  studies    {', '.join(config.studies)}")
    seconds = [estimate(job, config, fits) for job in jobs]
    known = sum(value for value in seconds if value is not None)
    text = f"  time       about {duration(known)} of a processor"
    if cores and cores > 1:
        text += f", {duration(known / cores)} on {cores} cores"
    unknown = seconds.count(None)
    if unknown:
        text += f", and {unknown} more whose time is not known (GPUs, MadGraph, files elsewhere)"
    lines += [
        text,
        f"  results    {paths.root}, at the end {paths.report}",
        f"  logs       {paths.log('<rule>/<job>')}: follow one with tail -f",
    ]
    return "\n".join(lines) + "\n"


def estimate(job: Job, config: Config, fits: Mapping[str, Fit]) -> float | None:
    """Return the seconds that a job takes on one core, None where nothing is known.

    What the same job took the last time, if it ran, else what jobs of its size take.
    """
    measured = _measured(job.benchmark)
    if measured is not None:
        return measured
    rule = str(job.rule)
    if rule == "pileup_library":
        return SECONDS_TO_START + config.generation.pileup_events * SECONDS_PER_PILEUP_EVENT
    if rule == "shard":
        if config.generation.backend != "embedded":
            return None
        rows = config.datasets[job.wildcards.dataset].rows_per_shard
        return SECONDS_TO_START + rows * SECONDS_PER_ROW
    if rule == "train":
        fit = fits[job.wildcards.fit]
        if fit.config.run.accelerator != "cpu" or fit.dataset not in config.datasets:
            return None
        return SECONDS_TO_START + steps(fit.config, _training_rows(config, fit)) * SECONDS_PER_STEP
    if rule == "evaluate":
        return SECONDS_TO_EVALUATE
    return SECONDS_TO_START if rule in LITTLE_WORK else None


def steps(config: FitConfig, rows: int) -> int:
    """Return how many steps a training takes, of `rows` in its split."""
    if config.steps:
        return config.steps
    data = config.data
    per_epoch = data.rows_per_epoch or min(rows, data.train_rows or rows)
    return config.epochs * -(-per_epoch // data.batch_size)


def _training_rows(config: Config, fit: Fit) -> int:
    dataset = config.datasets[fit.dataset]
    shards = sum(part.n_shards for part in dataset.parts.values())
    return shards * SPLIT_RATIO["train"] // sum(SPLIT_RATIO.values()) * dataset.rows_per_shard


def _measured(file: str | None) -> float | None:
    """Return the seconds in a benchmark file of Snakemake, if there is one that holds any."""
    if file is None:
        return None
    try:
        with Path(file).open(encoding="utf-8", newline="") as stream:
            *_, last = csv.DictReader(stream, delimiter="\t")
        return float(last["s"])
    except (OSError, KeyError, TypeError, ValueError):
        return None  # a full disk leaves empty ones
