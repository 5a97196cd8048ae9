"""What a rule's result depends on beyond its input files: versions and physics data, as a hash.

Snakemake re-runs a job when its `params` change. Each expensive rule carries the fingerprint of
its own part of the configuration and of the data files that shape its result, so that editing
anything else never simulates again, and changing the physics always does.
"""

import hashlib
from pathlib import Path
from typing import Literal

from workflow.config_model import PROCESSES, Config

# Raised by hand together with a change of code that changes the events or the jets.
SIMULATION_VERSION = 2
NTUPLIZER_VERSION = 1
TRAINING_VERSION = 1


def shard_fingerprint(config: Config, part: str) -> str:
    """Return the fingerprint of a part's shards: physics files, configuration, code versions."""
    return _digest(
        physics_files(config, part),
        SIMULATION_VERSION,
        NTUPLIZER_VERSION,
        pileup_fingerprint(config),
        config.seed,
        config.generation.events_per_batch,
        config.ntuplizer.model_dump(),
        config.dataset.jets_per_shard,
        config.dataset.parts[part].model_dump(exclude={"shards"}),
    )


def hard_process_fingerprint(config: Config, process: str) -> str:
    """Return the fingerprint of MadGraph's events of a process.

    They depend on how many batches the dataset draws at each point, and so on its size.
    """
    containers = config.generation.containers
    parts = config.dataset.parts
    part = next(name for name in parts if process in parts[name].processes)
    return _digest(
        sorted((PROCESSES / process).iterdir()),
        SIMULATION_VERSION,
        config.seed,
        config.generation.events_per_batch,
        parts[part].model_dump(exclude={"qcd_labels"}),
        containers.events_per_shard[part],
        containers.events_per_run,
        containers.hard_process_jobs,
        containers.madgraph,
        {name: model.sha256 for name, model in containers.models.items()},
    )


def delphes_fingerprint(config: Config, part: str) -> str:
    """Return the fingerprint of the events that Delphes makes for the shards of a part."""
    containers = config.generation.containers
    return _digest(
        physics_files(config, part),
        SIMULATION_VERSION,
        config.seed,
        config.generation.events_per_batch,
        containers.events_per_shard[part],
        containers.jobs_per_shard,
        config.dataset.parts[part].processes,
    )


def physics_files(config: Config, part: str) -> list[Path]:
    """Return the files that shape a part's events: the detector's card, the processes."""
    processes = config.dataset.parts[part].processes
    return [
        *card_files(Path(config.generation.card)),
        PROCESSES / "common.yaml",
        *(PROCESSES / name / "process.yaml" for name in processes),
    ]


def card_files(card: Path) -> list[Path]:
    """Return a card and every file that it sources, directly or not."""
    files = [card]
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            words = line.split()
            # Relative to the first card's folder, as Delphes has it.
            if len(words) == 2 and words[0] == "source" and card.parent / words[1] not in files:
                files.append(card.parent / words[1])
    return files


def pileup_fingerprint(config: Config) -> str:
    """Return the fingerprint of the minimum-bias library."""
    return _digest([], SIMULATION_VERSION, config.seed, config.generation.pileup_events)


def training_fingerprint(config: Config, task: Literal["sophon"]) -> str:
    """Return the fingerprint of a training: its configuration file, overrides and seed."""
    training = config.training[task]
    return _digest([Path(training.config)], TRAINING_VERSION, config.seed, training.set)


def dataset_fingerprint(config: Config) -> str:
    """Return the hash of everything that defines the dataset; it stands in the manifest."""
    return _digest([], *(shard_fingerprint(config, part) for part in config.dataset.parts))


def _digest(files: list[Path], *values: object) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode())
        digest.update(file.read_bytes())
    digest.update(repr(values).encode())
    return digest.hexdigest()
