"""Datasets of collisions: which files they are made of, and what is asked of each."""

import hashlib
import json
from importlib.util import find_spec

from ntuplizer.collisions.era import Era, dataset_files, load_era
from ntuplizer.collisions.files import RemoteFile
from ntuplizer.products import get_product
from provenance.errors import UserError
from workflow.config_model import ROOT, Collisions, Config
from workflow.paths import split_of

PART = "Collisions"
# Of the storage plugins of Snakemake, by scheme.
PLUGINS = {"http": "http", "https": "http", "root": "xrootd"}


class CollisionJobs:
    """The jobs of a dataset of collisions.

    Parameters
    ----------
    config
        The run.
    name
        The dataset.

    Raises
    ------
    UserError
        When the era, or a data set of it, is not there, or a plugin that is to fetch a file.
    """

    def __init__(self, config: Config, name: str):
        self.name, self.content = name, config.collisions[name]
        self.source = _source(self.content.era)
        self.era = None if self.source is None else load_era(self.source)
        self.files = _files(self.content, self.era, self.source)
        for file in self.files if self.content.fetch else ():
            plugin = PLUGINS.get(file.scheme)
            if plugin and find_spec(f"snakemake_storage_plugin_{plugin}") is None:
                raise UserError(
                    f"collisions.{name}.fetch: {file.address} needs the Python package "
                    f"snakemake-storage-plugin-{plugin}; install it, or leave fetch out"
                )

    @property
    def splits(self) -> list[str]:
        """The split of each shard."""
        blocks = (self.content.shards,)
        return [split_of(index, blocks) for index in range(self.content.shards)]

    def fetched(self, index: int) -> str | None:
        """Return the address of a file that is to be copied before it is read, or None."""
        file = self.files[index]
        return file.address if self.content.fetch and file.scheme in PLUGINS else None

    def local(self, index: int) -> str | None:
        """Return the path of a file that is here, or None."""
        file = self.files[index]
        return None if file.scheme else file.address

    def options(self, index: int) -> list[str]:
        """Return the arguments of the command that reads a file, but for its address."""
        file, content = self.files[index], self.content
        arguments = [] if self.source is None else [f"--era {self.source}"]
        if content.certified is not None:
            arguments.append(f"--certified {ROOT / content.certified}")
        if content.all_runs:
            arguments.append("--all-runs")
        if content.format == "nanoaod":
            arguments.append(f"--working-point {content.working_point}")
        if file.size is not None:
            arguments.append(f"--size {file.size}")
        if file.adler32 is not None:
            arguments.append(f"--adler32 {file.adler32}")
        arguments += [f"--option {key}={value}" for key, value in content.options.items()]
        return arguments

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of all that shapes the rows but the content of files without checksums."""
        certified = self.content.certified
        described = {
            "dataset": self.content.model_dump(mode="json", exclude={"fetch", "certified", "era"}),
            "era": self.era and self.era.model_dump(mode="json", exclude={"datasets"}),
            "certified": certified and (ROOT / certified).read_text(encoding="utf-8"),
            "files": [[file.address, file.size, file.adler32] for file in self.files],
            "product": get_product(self.content.product).version,
        }
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def _source(era: str | None) -> str | None:
    """Return the name of an era, or the path of its file, which is relative to the root."""
    if era is None or not (ROOT / era).is_file():
        return era
    return str(ROOT / era)


def _files(content: Collisions, era: Era | None, source: str | None) -> list[RemoteFile]:
    if era is not None and source is not None and content.samples:
        found = [dataset_files(era, source, name) for name in content.samples]
        return [file for files in found for file in files]
    addresses = [a if "://" in a else str(ROOT / a) for a in content.files]
    return [RemoteFile(address) for address in addresses]
