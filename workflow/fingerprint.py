"""What a rule's result depends on beyond its input files: versions and physics data, as a hash.

Snakemake re-runs a job when its `params` change. Each expensive rule carries the fingerprint of
its own part of the configuration and of the data files that shape its result, so that editing
anything else never simulates again, and changing the physics always does.
"""

import hashlib
from pathlib import Path

from workflow.config_model import PROCESSES, Config

# Raised by hand together with a change of code that changes the events or the jets.
SIMULATION_VERSION = 1
NTUPLIZER_VERSION = 1
TRAINING_VERSION = 1


def shard_fingerprint(config: Config, part: str) -> str:
    """Return the fingerprint of a part's shards: physics files, configuration, code versions."""
    processes = config.dataset.parts[part].processes
    return _digest(
        [Path(config.generation.card), PROCESSES / "common.yaml"]
        + [file for name in processes for file in sorted((PROCESSES / name).iterdir())],
        SIMULATION_VERSION,
        NTUPLIZER_VERSION,
        pileup_fingerprint(config),
        config.seed,
        config.generation.events_per_batch,
        config.ntuplizer.model_dump(),
        config.dataset.jets_per_shard,
        config.dataset.parts[part].model_dump(exclude={"shards"}),
    )


def pileup_fingerprint(config: Config) -> str:
    """Return the fingerprint of the minimum-bias library."""
    return _digest([], SIMULATION_VERSION, config.seed, config.generation.pileup_events)


def training_fingerprint(config: Config, task: str) -> str:
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
