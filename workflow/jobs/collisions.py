"""Datasets of collisions: which files they are made of, and what is asked of each."""

import shlex
from importlib.util import find_spec
from typing import Any

from ntuplizer.collisions import xrootd
from ntuplizer.collisions.era import Era, dataset_files, load_era
from ntuplizer.collisions.files import RemoteFile, check_address, check_readable
from ntuplizer.products import get_product
from provenance.errors import UserError
from workflow.config_model import ROOT, Collisions, Config
from workflow.fingerprint import digest
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
        When the era, a data set of it or what reads or fetches a file is not there, or an address
        cannot be used.
    """

    def __init__(self, config: Config, name: str):
        self.name, self.content = name, config.collisions[name]
        self.source = _source(self.content.era)
        self.era = None if self.source is None else load_era(self.source)
        self.files = _files(self.content, self.era, self.source)
        for index, file in enumerate(self.files):
            check_address(file.address)
            if self.fetched(index) is None:
                check_readable(file)
        if self.content.fetch:
            self._prepare_plugins()

    @property
    def splits(self) -> list[str]:
        """The split of each shard."""
        blocks = (self.content.shards,)
        return [split_of(index, blocks) for index in range(self.content.shards)]

    def fetched(self, index: int) -> str | None:
        """Return the address of a file that is to be copied before it is read, or None."""
        file = self.files[index]
        return file.url if self.content.fetch and file.scheme in PLUGINS else None

    def local(self, index: int) -> str | None:
        """Return the path of a file that is here, or None."""
        file = self.files[index]
        return None if file.scheme else file.address

    def options(self, index: int, copy: str | None = None) -> str:
        """Return the arguments of the command that reads a file, but for its address.

        Parameters
        ----------
        index
            Of the file.
        copy
            The path that it was copied to, None where it is read where it lies.
        """
        file, content = self.files[index], self.content
        arguments = [] if self.source is None else ["--era", self.source]
        if content.certified is not None:
            arguments += ["--certified", str(ROOT / content.certified)]
        if content.all_runs:
            arguments.append("--all-runs")
        if content.format == "nanoaod":
            arguments += ["--working-point", content.working_point]
        if file.size is not None:
            arguments += ["--size", str(file.size)]
        if file.adler32 is not None:
            arguments += ["--adler32", file.adler32]
        if copy is not None:
            arguments += ["--copy", copy]
        for key, value in content.options.items():
            arguments += ["--option", f"{key}={value}"]
        return shlex.join(arguments)

    def rows_fingerprint(self, index: int) -> str:
        """Return the SHA-256 of what shapes the rows of a file beside its address and content.

        Another file, or another number of shards, reads none of the others again.
        """
        return digest({**self._of_rows, "options": self.options(index)})

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of all that shapes the rows but the content of files without checksums."""
        # As they are named: the same shards wherever the project lies.
        names = self.content.files or [file.address for file in self.files]
        return digest(
            {
                **self._of_rows,
                "dataset": self.content.model_dump(
                    mode="json", exclude={"fetch", "certified", "era"}
                ),
                "files": [
                    [name, file.size, file.adler32]
                    for name, file in zip(names, self.files, strict=True)
                ],
            }
        )

    @property
    def _of_rows(self) -> dict[str, Any]:
        certified = self.content.certified
        return {
            "era": self.era and self.era.model_dump(mode="json", exclude={"datasets"}),
            "certified": certified and (ROOT / certified).read_text(encoding="utf-8"),
            "product": get_product(self.content.product).version,
        }

    def _prepare_plugins(self) -> None:
        places: dict[str, RemoteFile] = {}
        for file in self.files:
            plugin = PLUGINS.get(file.scheme)
            if plugin is None:
                continue
            if find_spec(f"snakemake_storage_plugin_{plugin}") is None:
                raise UserError(
                    f"collisions.{self.name}.fetch: {file.shown} needs the Python package "
                    f"snakemake-storage-plugin-{plugin}; install it, or leave fetch out"
                )
            if plugin == "xrootd":
                xrootd.limit_waits()
                # It names copies by their path alone, less a letter.
                path = file.shown.split("/", 3)[-1].lstrip("/")[1:]
                other = places.setdefault(path, file)
                if other.url != file.url:
                    raise UserError(
                        f"collisions.{self.name}.fetch: {other.shown} and {file.shown} have one "
                        "path, and so would their copies; leave fetch out"
                    )


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
