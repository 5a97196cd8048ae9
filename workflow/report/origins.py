"""How a run came about: what it cost, its configuration, versions, seeds and checksums."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from provenance.ledger import versions
from workflow.report.elements import (
    Block,
    Cell,
    Code,
    Fold,
    Section,
    Table,
    Text,
    cells,
    hash_cell,
    readable,
    short_number,
)
from workflow.report.inputs import Inputs, Network

# Of more files the manifests are the list.
MAX_FILES = 400


def section(
    inputs: Inputs, manifests: Mapping[Path, dict[str, Any]], networks: list[Network]
) -> Section:
    """Return the section about how everything was made.

    Parameters
    ----------
    inputs
        What the run left.
    manifests
        Of its datasets, by path.
    networks
        Its networks.
    """
    sections = [
        Section("Time and memory", "cost", _cost(inputs.benchmarks)),
        Section("Seeds and checksums", "checksums", _checksums(manifests, networks)),
        Section("Software", "software", [_versions(manifests, networks)]),
    ]
    if inputs.configuration:
        text = yaml.safe_dump(inputs.configuration, sort_keys=False, allow_unicode=True)
        fold = Fold("The configuration, without what is left to its default", [Code(text)])
        sections.insert(0, Section("Configuration", "configuration", [fold]))
    text = (
        "The same configuration with the same versions gives the same files, byte for byte, on any "
        "number of cores: docs/reproducing.md says how a single file is made again."
    )
    return Section("How it was made", "origins", [Text(text)], sections)


def _cost(folder: Path | None) -> list[Block]:
    """Return the table of what each rule took, from Snakemake's benchmarks."""
    stages = read_benchmarks(folder) if folder is not None else {}
    if not stages:
        return [Text("There are no benchmarks of the jobs, so that this is not known.")]
    rows, total = [], [0, 0.0, 0.0, 0.0]
    for rule, jobs in stages.items():
        wall = sum(job["s"] for job in jobs) / 3600
        cpu = sum(job["cpu_time"] for job in jobs) / 3600
        longest = max(job["s"] for job in jobs) / 60
        peak = max(job["max_rss"] for job in jobs)
        measured = map(_rounded, (cpu, wall, longest, peak))
        rows.append(cells(readable(rule), len(jobs), *measured))
        total = [total[0] + len(jobs), total[1] + cpu, total[2] + wall, max(total[3], peak)]
    foot = cells("all", total[0], _rounded(total[1]), _rounded(total[2]), "", _rounded(total[3]))
    head = ("Stage", "Jobs", "CPU-hours seen", "Hours", "Longest job (min)", "Peak memory (MB)")
    return [
        Table("Cost by stage", head, rows, foot),
        Text(
            "As Snakemake measured the last run of each job, those of what the configuration no "
            "longer has included: hours are those of all jobs one after the other. CPU time and "
            "resident memory are what it saw of processes that ran when it looked: every half "
            "second at first, every 30 seconds from the 15th on. The last half minute of a job may "
            "be missing, and programs that begin and end between two looks, such as MadGraph's "
            "compilers, are: no job took less CPU time than is told."
        ),
    ]


def read_benchmarks(folder: Path) -> dict[str, list[dict[str, float]]]:
    """Return what was measured of the jobs of each rule, from `<rule>/….tsv`.

    What could not be measured counts 0.
    """
    stages: dict[str, list[dict[str, float]]] = {}
    for path in sorted(folder.glob("*/**/*.tsv")):
        rule = path.relative_to(folder).parts[0]
        with path.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream, delimiter="\t"):
                numbers = {key: _number(row.get(key)) for key in ("s", "cpu_time", "max_rss")}
                stages.setdefault(rule, []).append(numbers)
    return stages


def _number(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:  # `NA`, `-`
        return 0.0


def _rounded(value: float) -> Cell:
    return Cell(short_number(value), value)


def _checksums(manifests: Mapping[Path, dict[str, Any]], networks: list[Network]) -> list[Block]:
    datasets = []
    for manifest in manifests.values():
        digests = (hash_cell(manifest[key]) for key in ("dataset_sha256", "fingerprint"))
        datasets.append(cells(manifest["name"], str(manifest["seed"]), *digests))
    head = ("Dataset", "Seed", "SHA-256 of its content", "Of all that shaped it")
    blocks: list[Block] = [Table("Datasets", head, datasets)]
    if networks:
        rows = []
        for network in networks:
            seed = network.ledger.get("config", {}).get("seed")
            digest = network.metrics.get("checkpoint_sha256")
            rows.append(
                cells(
                    network.name,
                    None if seed is None else str(seed),
                    None if digest is None else hash_cell(digest),
                    hash_cell(network.metrics["dataset_sha256"]),
                )
            )
        head = ("Network", "Seed", "SHA-256 of its checkpoint", "Of the dataset measured on")
        blocks.append(Table("Networks", head, rows))
    blocks.append(_inputs(manifests))
    told = ("path", "split", "rows")
    files = [
        cells(manifest["name"], *(file[key] for key in told), hash_cell(file["sha256"]))
        for manifest in manifests.values()
        for file in manifest["files"]
    ]
    if len(files) > MAX_FILES:
        text = f"The checksums of the {len(files):,} files are in the manifests beside them."
        blocks.append(Text(text))
    else:
        table = Table("Files", ("Dataset", "File", "Split", "Rows", "SHA-256"), files)
        blocks.append(Fold(f"All {len(files)} files", [table]))
    return blocks


def _inputs(manifests: Mapping[Path, dict[str, Any]]) -> Table:
    """Return the detector cards and pile-up libraries that the shards were made with."""
    found: dict[tuple[str, str, str, str], None] = {}
    for manifest in manifests.values():
        for file in manifest["files"]:
            for kind, words in (("card", "detector card"), ("pileup", "pile-up")):
                digest = file["ledger"].get(f"{kind}_sha256")
                if digest:
                    found[manifest["name"], words, file["ledger"].get(kind, ""), digest] = None
    rows = [cells(name, kind, path, hash_cell(digest)) for name, kind, path, digest in found]
    return Table("What the events were made with", ("Dataset", "Kind", "File", "SHA-256"), rows)


def _versions(manifests: Mapping[Path, dict[str, Any]], networks: list[Network]) -> Table:
    """Return the versions that datasets, networks and report were made with."""
    made: dict[str, dict[str, str]] = {m["name"]: m["versions"] for m in manifests.values()}
    made |= {n.name: n.metrics["versions"] for n in networks if "versions" in n.metrics}
    made["this report"] = versions()
    packages = list(dict.fromkeys(name for found in made.values() for name in found))
    rows = []
    for package in packages:
        by_version: dict[str, list[str]] = {}
        for what, found in made.items():
            if package in found:
                by_version.setdefault(found[package], []).append(what)
        for version, whats in by_version.items():
            who = "all" if len(whats) == len(made) else ", ".join(whats)
            rows.append(cells(package, version, who))
    return Table("Versions", ("Package", "Version", "Used by"), rows)
