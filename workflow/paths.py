"""The only place with path patterns; wildcards are Snakemake's."""

from pathlib import PurePosixPath

from workflow.config_model import SPLIT_RATIO, Config


class Paths:
    """Paths of one run, all below `results/<name>`.

    Parameters
    ----------
    config
        The run.
    """

    def __init__(self, config: Config):
        root = self.root = PurePosixPath("results") / config.name
        self.pileup = str(root / "pileup" / "minbias.arrow")
        self.delphes_pileup = str(root / "pileup" / "minbias.pileup")
        self.model = str(root / "models" / "{model}.tar.gz")
        self.process_directory = str(root / "hard_process" / "{process}" / "process.tar.gz")
        self.plan = str(root / "hard_process" / "{process}" / "plan.npz")
        self.hard_process = str(root / "hard_process" / "{process}" / "events_{block}.zip")
        self.library = str(root / "hard_process" / "{process}" / "library.json")
        self.events = str(root / "events" / "{part}_{index}_{job}.root")
        self.jets = str(root / "jets" / "{part}_{index}_{job}.parquet")
        self.shard = str(root / "dataset" / "{part}_{index}.parquet")
        self.manifest = str(root / "dataset" / "manifest.json")
        self.weights = str(root / "training" / "weights.json")
        self.training = str(root / "training" / "{task}")
        self.checkpoint = str(root / "training" / "{task}" / "checkpoint.ckpt")
        self.history = str(root / "training" / "{task}" / "history.csv")
        self.evaluation = str(root / "evaluation" / "{task}")
        self.metrics = str(root / "evaluation" / "{task}" / "metrics.json")
        self.report = str(root / "report.html")

    def shards(self, config: Config) -> list[str]:
        """Return every shard of the dataset, part by part."""
        return [
            self.shard.format(part=name, index=shard_index(index))
            for name, part in config.dataset.parts.items()
            for index in range(part.shards)
        ]

    def log(self, name: str) -> str:
        """Return a job's log file; `name` is the rule, then its wildcards."""
        return str(self.root / "logs" / f"{name}.log")

    def benchmark(self, name: str) -> str:
        """Return a job's benchmark file; `name` is the rule, then its wildcards."""
        return str(self.root / "benchmarks" / f"{name}.tsv")


def shard_index(index: int) -> str:
    """Return a shard's number as it stands in file names: 7 is `0007`."""
    return f"{index:04d}"


def split_of(index: int, shards: int) -> str:
    """Return the split of a shard: train, val and test are ranges in the ratio 4:1:1.

    Parameters
    ----------
    index
        The shard's number within its part.
    shards
        How many shards the part has.
    """
    unit = index // (shards // sum(SPLIT_RATIO.values()))
    for split, share in SPLIT_RATIO.items():
        if unit < share:
            return split
        unit -= share
    raise ValueError(f"shard {index} is beyond the last of {shards}")
