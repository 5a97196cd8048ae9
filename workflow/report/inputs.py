"""What a report is made of."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Inputs:
    """What a run left, file by file.

    Attributes
    ----------
    name
        Of the run.
    manifests
        Of its datasets.
    metrics
        `metrics.json` of each network, its figures beside it; the folder's name is the network's.
    studies
        `study.json` of each study, its figure beside it.
    checkpoints
        Ledgers of the checkpoints; each is found by the checksum that an evaluation names.
    comparisons
        `comparison.json` of each comparison with Delphes, its figures beside it.
    benchmarks
        Folder of Snakemake's benchmarks, `<rule>/….tsv`; None: what it cost is not told.
    configuration
        Of the run, as it was given; empty: not told.
    """

    name: str
    manifests: list[Path] = field(default_factory=list)
    metrics: list[Path] = field(default_factory=list)
    studies: list[Path] = field(default_factory=list)
    checkpoints: list[Path] = field(default_factory=list)
    comparisons: list[Path] = field(default_factory=list)
    benchmarks: Path | None = None
    configuration: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Network:
    """A trained network: its folder's name, its evaluation, the ledger of its checkpoint."""

    path: Path
    name: str
    metrics: dict[str, Any]
    ledger: dict[str, Any]
