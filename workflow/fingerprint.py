"""What a job's result depends on beyond its input files: versions and digests of physics data.

Snakemake re-runs a job when its `params` change. The description of a job (`workflow/jobs`) holds
what is here as text, so that changing the physics always simulates again and editing anything else
never does.
"""

import hashlib
import json
from functools import cache
from typing import Any

from generation.external.points import has_hard_process
from generation.process import process_files
from ntuplizer.products import get_product
from workflow.config_model import MINIMUM_BIAS, ROOT, Config, detector_card

# Raised by hand together with a change of code that changes the events; a test with a digest of
# real events says when (`tests/generation/test_golden.py`). Products have versions of their own.
SIMULATION_VERSION = 4
MINIMUM_BIAS_CARD = ROOT / "delphes_cards" / "minimum_bias.tcl"


def digest(value: Any) -> str:
    """Return the SHA-256 of a value as JSON, keys sorted."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def card_digest(card: str) -> str:
    """Return the digest of a detector card and of all that it sources."""
    return detector_card(card).sha256


@cache
def process_digest(process: str, cards: bool = False) -> str:
    """Return the digest of the files that describe a process.

    Parameters
    ----------
    process
        Name of its folder.
    cards
        Whether MadGraph's cards count.
    """
    files = [file for file in process_files(process) if cards or file.suffix == ".yaml"]
    return digest([[file.name, file.read_text(encoding="utf-8")] for file in files])


def pileup_inputs(config: Config) -> dict[str, Any]:
    """Return what shapes the minimum-bias library."""
    inputs = {
        "events": config.generation.pileup_events,
        "seed": config.seed,
        "process": process_digest(MINIMUM_BIAS),
        "version": SIMULATION_VERSION,
    }
    if config.generation.backend == "containers":
        inputs["card"] = card_digest(str(MINIMUM_BIAS_CARD))
    return inputs


def event_inputs(config: Config, dataset: str, part: str) -> dict[str, Any]:
    """Return what shapes the rows of a shard beside the keys of its job: files and versions."""
    content = config.datasets[dataset]
    containers = config.generation.backend == "containers"
    inputs: dict[str, Any] = {
        "card": card_digest(content.card),
        "processes": {
            name: process_digest(name, containers) for name in content.parts[part].processes
        },
        "pileup": digest(pileup_inputs(config)),
        "simulation": SIMULATION_VERSION,
        "product": get_product(content.product).version,
    }
    if containers:
        inputs |= {"programs": programs(config), "places": process_places(config, dataset)}
        if any(map(has_hard_process, content.parts[part].processes)):
            # Which of MadGraph's events a batch takes, and of which run.
            inputs |= {
                "events_per_shard": content.parts[part].events_per_shard,
                "events_per_run": config.generation.containers.events_per_run,
            }
    return inputs


def process_places(config: Config, dataset: str) -> dict[str, int]:
    """Return the place of each process among those of a dataset, which programs' seeds come from.

    It is its place in the configuration: new parts and processes belong at the end.
    """
    parts = config.datasets[dataset].parts.values()
    return {name: place for place, name in enumerate(n for part in parts for n in part.processes)}


def hard_process_inputs(config: Config, process: str) -> dict[str, Any]:
    """Return what shapes MadGraph's events of a process beside plan and seeds."""
    return {
        "process": process_digest(process, cards=True),
        "programs": programs(config),
        "version": SIMULATION_VERSION,
    }


def programs(config: Config) -> dict[str, Any]:
    """Return what says which programs of the container backend make the events."""
    containers = config.generation.containers
    return {
        "image": containers.image,
        "madgraph": containers.madgraph,
        "models": {name: model.sha256 for name, model in containers.models.items()},
        "parton_densities": containers.parton_densities and containers.parton_densities.sha256,
    }
