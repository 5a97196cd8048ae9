"""Command line of collisions: `python -m ntuplizer nanoaod --help`."""

import argparse
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commandline.parser import Commands, FileOrText
from ntuplizer.counts import Counts
from ntuplizer.products import get_product
from provenance.errors import UserError
from provenance.ledger import versions, write_ledger

if TYPE_CHECKING:
    import pyarrow as pa

    from ntuplizer.collisions.certified import CertifiedRuns
    from ntuplizer.collisions.era import Era
    from ntuplizer.collisions.files import RemoteFile


# What jets of PFNano can be rows of.
PFNANO_PRODUCTS = ("jets", "energy")


def add_commands(commands: Commands) -> None:
    """Add the commands that read collisions."""
    nanoaod = commands.add(
        "nanoaod",
        _run_nanoaod,
        "event objects of CMS NanoAOD",
        "nano.root --era 2018 --certified golden.json --output events.parquet",
    )
    _add_input(nanoaod, era_needed=True)
    nanoaod.add_argument(
        "--working-point",
        choices=("loose", "medium", "tight"),
        default="medium",
        metavar="POINT",
        help="of b-tagging: loose, medium or tight (medium)",
    )
    nanoaod.add_argument("--process", help="process of simulated events (the name of their file)")
    nanoaod.add_argument(
        "--after",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="earlier outputs: their events are left out, as those of other data sets",
    )
    _add_options(nanoaod, "of the product events, as leptons_min=0")

    pfnano = commands.add(
        "pfnano",
        _run_pfnano,
        "jets of CMS PFNano",
        "pfnano.root --option jets=ak4 --output jets.parquet",
    )
    _add_input(pfnano, era_needed=False)
    pfnano.add_argument(
        "--product", choices=PFNANO_PRODUCTS, default="jets", help="what a row is (jets)"
    )
    _add_options(pfnano, "of the jets: jets, pt_min, eta_max, identified")

    divided = commands.add(
        "divide",
        _run_divide,
        "collisions as the shards of a dataset",
        "a.parquet b.parquet --dataset cms --splits train val test --seed 1 --output cms",
    )
    divided.add_argument(
        "files", type=Path, nargs="+", help="outputs of nanoaod or pfnano; first copies are kept"
    )
    divided.add_argument("--dataset", required=True, help="the dataset's name")
    divided.add_argument("--part", default="Collisions", help="the dataset's part (Collisions)")
    divided.add_argument(
        "--splits", nargs="+", required=True, metavar="SPLIT", help="train, val or test, of a shard"
    )
    divided.add_argument("--seed", type=int, required=True, help="the dataset's seed")
    divided.add_argument("--fingerprint", default="", help="hash of all that shaped the rows")
    divided.add_argument("--output", type=Path, required=True, help="folder of the shards")


def _add_input(parser: argparse.ArgumentParser, era_needed: bool) -> None:
    parser.add_argument(
        "files", type=FileOrText, nargs="*", help="paths, https:// or root:// addresses"
    )
    parser.add_argument(
        "--era",
        type=FileOrText,
        required=era_needed,
        help="era of data taking, or the YAML file of one"
        + ("" if era_needed else "; without it, all events are taken"),
    )
    parser.add_argument("--dataset", help="data set of the era, in place of files")
    parser.add_argument("--size", type=int, help="bytes that a single file must have")
    parser.add_argument("--adler32", help="checksum that a single file must have")
    parser.add_argument(
        "--copy", type=FileOrText, help="copy of a single file, read in its place", metavar="FILE"
    )
    parser.add_argument("--certified", type=Path, help="JSON file of certified runs")
    parser.add_argument(
        "--all-runs", action="store_true", help="take collisions that are not certified too"
    )
    parser.add_argument("--output", type=Path, required=True, help="Parquet file to write")


def _add_options(parser: argparse.ArgumentParser, words: str) -> None:
    parser.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", help=f"option {words}"
    )


def _run_nanoaod(options: argparse.Namespace) -> None:
    from ntuplizer.collisions.nanoaod import EVENT_BRANCHES, batches
    from ntuplizer.collisions.unique import SeenEvents, remember, unique_rows
    from ntuplizer.shards import describe

    product = get_product("events")
    checked = product.read_options(EVENT_BRANCHES | _values(options.option))
    era = _era(options)
    assert era is not None
    files, counts, seen = _files(options, era), Counts(), SeenEvents()
    for path in options.after:
        remember(path, seen, product.identity)
    events = batches(
        files, era, _certified(options), options.working_point, options.process, counts.steps
    )

    def tables() -> "Iterable[pa.Table]":
        for table in unique_rows(product.tables(events, checked, counts), seen, product.identity):
            counts.steps["first_copies"] += table.num_rows
            yield table
        counts.rows = counts.steps["first_copies"]

    made = describe(product, checked) | _origin(options, files)
    made["working_point"] = options.working_point
    _write(options.output, tables(), product.schema(checked), made, counts)


def _run_pfnano(options: argparse.Namespace) -> None:
    from pydantic import ValidationError

    from ntuplizer.collisions.pfnano import PFNanoOptions, iterate_jets
    from ntuplizer.collisions.pfnano_energy import PFNanoEnergyOptions, iterate_energy_jets
    from ntuplizer.shards import describe

    product = get_product(options.product)
    wanted: type[PFNanoOptions] = PFNanoOptions
    iterate: Callable[..., Iterator[pa.Table]] = iterate_jets
    if product.name == "energy":
        wanted, iterate = PFNanoEnergyOptions, iterate_energy_jets
    try:
        chosen = wanted.model_validate(_values(options.option))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise UserError(f"option {name} of PFNano's jets: {first['msg']}") from None
    era, certified, counts = _era(options), _certified(options), Counts()
    files = _files(options, era)
    clustered = product.read_options({"jet_radius": chosen.radius})
    made = describe(product, clustered)
    made |= _origin(options, files) | {"pfnano": chosen.model_dump(mode="json")}

    def tables() -> "Iterable[pa.Table]":
        for file in files:
            for table in iterate(file, chosen, counts.steps, era, certified):
                counts.rows += table.num_rows
                yield table

    _write(options.output, tables(), product.schema(clustered), made, counts)


def _run_divide(options: argparse.Namespace) -> None:
    from ntuplizer.collisions.divide import divide
    from ntuplizer.shards import ShardKey

    keys = [
        ShardKey(options.dataset, options.part, index, split, options.seed)
        for index, split in enumerate(options.splits)
    ]
    outputs = [options.output / f"{key.part}_{key.index:04d}.parquet" for key in keys]
    rows = divide(options.files, keys, outputs, options.fingerprint)
    print(f"{rows} rows in {len(outputs)} shards: {options.output}")


def _write(
    output: Path,
    tables: "Iterable[pa.Table]",
    schema: "pa.Schema",
    made: Mapping[str, Any],
    counts: Counts,
) -> None:
    from ntuplizer.shards import write_tables

    started = time.perf_counter()
    write_tables(
        output,
        tables,
        schema,
        lambda: dict(made) | {"counts": counts.as_dict(), "versions": versions()},
    )
    write_ledger(output, started, **made, counts=counts.as_dict())
    print(f"{output}: {json.dumps(counts.as_dict())}")


def _values(given: Sequence[str]) -> dict[str, str]:
    values = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--option {text}: NAME=VALUE is needed")
        values[name.replace("-", "_")] = value
    return values


def _era(options: argparse.Namespace) -> "Era | None":
    from ntuplizer.collisions.era import load_era

    return None if options.era is None else load_era(options.era)


def _files(options: argparse.Namespace, era: "Era | None") -> "list[RemoteFile]":
    from ntuplizer.collisions.era import dataset_files
    from ntuplizer.collisions.files import RemoteFile

    if (options.dataset is None) != bool(options.files):
        raise UserError("either files or a --dataset of the era is needed")
    known = (options.size, options.adler32, options.copy)
    if known != (None, None, None) and len(options.files) != 1:
        raise UserError("--size, --adler32 and --copy are of a single file: give one")
    if options.dataset is None:
        return [RemoteFile(address, *known) for address in options.files]
    if era is None:
        raise UserError(f"--dataset {options.dataset}: the --era that has it is needed")
    return dataset_files(era, options.era, options.dataset)


def _certified(options: argparse.Namespace) -> "CertifiedRuns | None":
    from ntuplizer.collisions.certified import ALL_RUNS, read_certified

    if options.certified is not None:
        return read_certified(options.certified)
    return ALL_RUNS if options.all_runs else None


def _origin(options: argparse.Namespace, files: "list[RemoteFile]") -> dict:
    return {
        "era": None if options.era is None else Path(options.era).stem,
        "dataset": options.dataset,
        "certified": None if options.certified is None else options.certified.name,
        "inputs": [file.shown.rpartition("/")[2] for file in files],
    }
