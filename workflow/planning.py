"""Everything that is checked before a run, in one place: for the rules and for the command line."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provenance.yaml_file import read_yaml
from workflow.config_model import Config, load_config
from workflow.ensembles import ensembles
from workflow.fits import Fit, Point, resolve_fits
from workflow.jobs.collisions import CollisionJobs
from workflow.jobs.description import ShardJobs


@dataclass(frozen=True)
class Plan:
    """A run whose configuration is right.

    Attributes
    ----------
    config
        The configuration.
    fits
        Every network to train, by name.
    points
        Of each study.
    ensembles
        Networks that are trained as one, by the name of the whole.
    shard_jobs
        The jobs of all shards that are simulated.
    collision_jobs
        Those of each dataset of collisions.
    """

    config: Config
    fits: dict[str, Fit]
    points: dict[str, list[Point]]
    ensembles: dict[str, list[Fit]]
    shard_jobs: ShardJobs
    collision_jobs: dict[str, CollisionJobs]


def read_files(
    paths: Iterable[str | Path], more: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return what configuration files hold; later ones win, key by key, as Snakemake has it.

    Parameters
    ----------
    paths
        YAML or JSON.
    more
        Keys of a command line, which win over all files.

    Raises
    ------
    UserError
        When one cannot be read or is not a mapping of unique keys.
    """
    content: dict[str, Any] = {}
    for path in paths:
        _update(content, read_yaml(path))
    _update(content, more or {})
    return content


def make_plan(content: dict[str, Any]) -> Plan:
    """Check a configuration and all that it names.

    Raises
    ------
    UserError
        Naming each wrong key, its value and what would be right.
    """
    config = load_config(content)
    fits, points = resolve_fits(config)
    return Plan(
        config,
        fits,
        points,
        ensembles(config, fits, points),
        ShardJobs(config),
        {name: CollisionJobs(config, name) for name in config.collisions},
    )


def _update(content: dict[str, Any], other: Mapping[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(content.get(key), dict):
            _update(content[key], value)
        else:
            content[key] = value
