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
        self.archive = str(root / "archives" / "{archive}.tar.gz")
        hard = root / "hard_process" / "{dataset}" / "{process}"
        self.process_directory = str(root / "hard_process" / "{process}.tar.gz")
        self.plan = str(hard / "{growth}" / "plan.npz")
        self.hard_process = str(hard / "{growth}" / "events_{block}.zip")
        self.library = str(hard / "{growth}" / "library.json")
        self.dataset = str(root / "datasets" / "{dataset}")
        self.shard = str(root / "datasets" / "{dataset}" / "{part}_{index}.parquet")
        self.collision_rows = str(root / "collisions" / "{dataset}" / "{file}.parquet")
        self.manifest = str(root / "datasets" / "{dataset}" / "manifest.json")
        self.card = str(root / "datasets" / "{dataset}" / "README.md")
        self.croissant = str(root / "datasets" / "{dataset}" / "croissant.json")
        self.training = str(root / "training" / "{fit}")
        self.ensemble = str(root / "training" / "{ensemble}")
        self.weights = str(root / "training" / "{fit}" / "weights.json")
        self.checkpoint = str(root / "training" / "{fit}" / "checkpoint.ckpt")
        self.history = str(root / "training" / "{fit}" / "history.csv")
        self.evaluation = str(root / "evaluation" / "{fit}")
        self.metrics = str(root / "evaluation" / "{fit}" / "metrics.json")
        self.study = str(root / "studies" / "{study}" / "study.json")
        self.study_figure = str(root / "studies" / "{study}" / "study.png")
        self.comparison = str(root / "comparison" / "{comparison}" / "comparison.json")
        self.benchmarks = str(root / "benchmarks")
        self.report = str(root / "report.html")
        self.report_figures = str(root / "report")

    def shards(self, config: Config, dataset: str) -> list[str]:
        """Return every shard of a dataset, part by part."""
        return [
            self.shard.format(dataset=dataset, part=name, index=shard_index(index))
            for name, part in config.datasets[dataset].parts.items()
            for index in range(part.n_shards)
        ]

    def shard_ranges(self, config: Config, dataset: str) -> list[str]:
        """Return the shards as one pattern for each part, which Bash expands.

        A command line of 2,010 names would be too long to quote, and every *.parquet in the folder
        may be too many.
        """
        return [
            self.shard.format(
                dataset=dataset, part=name, index=f"{{0000..{shard_index(part.n_shards - 1)}}}"
            )
            for name, part in config.datasets[dataset].parts.items()
        ]

    def log(self, name: str) -> str:
        """Return a job's log file; `name` is the rule, then its wildcards."""
        return str(self.root / "logs" / f"{name}.log")

    def benchmark(self, name: str) -> str:
        """Return a job's benchmark file; `name` is the rule, then its wildcards."""
        return f"{self.benchmarks}/{name}.tsv"


def shard_index(index: int) -> str:
    """Return a shard's number as it stands in file names: 7 is `0007`."""
    return f"{index:04d}"


def block_of(index: int, blocks: tuple[int, ...]) -> tuple[int, int]:
    """Return which block of its part a shard lies in, and the block's first shard."""
    first = 0
    for block, shards in enumerate(blocks):
        if index < first + shards:
            return block, first
        first += shards
    raise ValueError(f"shard {index} is beyond the last of {first}")


def split_of(index: int, blocks: tuple[int, ...]) -> str:
    """Return the split of a shard: in each block train, val and test are ranges, 4:1:1.

    Parameters
    ----------
    index
        The shard's number within its part.
    blocks
        Shards of each block of the part, in the order in which they were appended.
    """
    block, first = block_of(index, blocks)
    unit = (index - first) // (blocks[block] // sum(SPLIT_RATIO.values()))
    for split, share in SPLIT_RATIO.items():
        if unit < share:
            return split
        unit -= share
    raise AssertionError("the shares add up to the units of a block")
