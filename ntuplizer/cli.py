"""Command line: `python -m ntuplizer <product>|nanoaod|pfnano|import|shard|manifest|verify|…`."""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal, get_args, get_origin

from ntuplizer.collisions import cli as collisions
from ntuplizer.imports import get_source, source_names
from ntuplizer.products import Product, get_product, product_names
from provenance.errors import UserError
from provenance.ledger import versions, write_ledger


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and run one command.

    Raises
    ------
    UserError
        When an input or an option is wrong.
    """
    parser = argparse.ArgumentParser(
        prog="python -m ntuplizer", description="Tables of rows, made of events, and datasets."
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    for name in product_names():
        _add_product(commands, get_product(name))
    collisions.add_commands(commands)
    _add_import(commands)
    _add_import_manifest(commands)
    _add_shard(commands)
    _add_manifest(commands)
    _add_verify(commands)
    _add_disjoint(commands)
    options = parser.parse_args(arguments)
    options.run(options)


def _add_product(commands: argparse._SubParsersAction, product: Product) -> None:
    """Add the command that makes a product's rows; its options are the product's own."""
    parser = commands.add_parser(
        product.name,
        help=product.summary,
        usage="%(prog)s events --output OUTPUT [options]",
    )
    parser.add_argument("events", type=Path, help="Delphes event file, real or embedded")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file to write")
    for name, field in product.Options.model_fields.items():
        default = "" if field.default is None else f" ({_as_text(field.default)})"
        flag = f"--{name.replace('_', '-')}"
        text = f"{field.description}{default}".replace("%", "%%")
        if field.annotation is bool:
            parser.add_argument(
                flag, action=argparse.BooleanOptionalAction, default=None, help=text
            )
        else:
            kind = get_origin(field.annotation)
            values = "|".join(get_args(field.annotation)) if kind is Literal else "VALUE"
            several = "+" if kind in {tuple, list} else None
            parser.add_argument(flag, nargs=several, metavar=values, help=text)
    parser.set_defaults(run=_run_product, product=product)


def _as_text(default: object) -> str:
    if isinstance(default, bool):
        return "yes" if default else "no"
    if isinstance(default, float):
        return f"{default:g}"
    return " ".join(map(str, default)) if isinstance(default, tuple | list) else str(default)


def _run_product(options: argparse.Namespace) -> None:
    """Write rows made of an event file, with what was asked and counted, and the ledger."""
    product: Product = options.product
    given = {name: getattr(options, name) for name in product.Options.model_fields}
    checked = product.read_options({k: v for k, v in given.items() if v is not None})

    from ntuplizer.counts import Counts
    from ntuplizer.shards import describe, write_tables
    from ntuplizer.sources import delphes

    started = time.perf_counter()
    counts = Counts()
    batches = delphes.batches(
        options.events, product.branches(checked), product.optional_branches(checked)
    )
    made = describe(product, checked)
    write_tables(
        options.output,
        product.tables(batches, checked, counts),
        product.schema(checked),
        lambda: made | {"counts": counts.as_dict(), "versions": versions()},
    )
    write_ledger(
        options.output,
        started,
        input=options.events.name,
        product=product.name,
        product_version=product.version,
        options=made["options"],
        counts=counts.as_dict(),
    )
    print(f"{options.output}: {json.dumps(counts.as_dict())}")


def _add_import(commands: argparse._SubParsersAction) -> None:
    """Add the command that reads public sets."""
    parser = commands.add_parser("import", help="jets of a public set, with our columns")
    summaries = ", ".join(f"{name}: {get_source(name).summary}" for name in source_names())
    parser.add_argument("set", choices=source_names(), help=summaries)
    parser.add_argument("file", type=Path, help="a file of the set, as it is published")
    parser.add_argument("--label", help="class of all jets, where the file does not say it")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file to write")
    parser.set_defaults(run=_run_import)


def _run_import(options: argparse.Namespace) -> None:
    from ntuplizer.imports.jets import import_jets

    source = get_source(options.set)
    rows = import_jets(source, options.file, options.output, options.label)
    print(f"{rows} jets: {options.output}")


def _add_import_manifest(commands: argparse._SubParsersAction) -> None:
    """Add the command that makes a dataset of imported files."""
    parser = commands.add_parser("import-manifest", help="a dataset of files of `import`")
    for split in ("train", "val", "test"):
        parser.add_argument(f"--{split}", type=Path, nargs="+", required=True, metavar="FILE")
    parser.add_argument("--output", type=Path, required=True, help="manifest to write")
    parser.set_defaults(run=_run_import_manifest)


def _run_import_manifest(options: argparse.Namespace) -> None:
    from ntuplizer.imports.jets import import_manifest

    splits = {"train": options.train, "val": options.val, "test": options.test}
    rows = import_manifest(splits, options.output)
    print(f"{rows} jets: {options.output}")


def _add_shard(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("shard", help="a dataset file of exactly N shuffled rows")
    parser.add_argument(
        "files", type=Path, nargs="+", help="files of one product, in a fixed order"
    )
    parser.add_argument("--rows", type=int, required=True, help="rows to take")
    parser.add_argument("--dataset", required=True, help="the dataset's name")
    parser.add_argument("--part", required=True, help="the dataset's part, as Res34P")
    parser.add_argument("--index", type=int, required=True, help="number within the part")
    parser.add_argument("--split", required=True, help="train, val or test")
    parser.add_argument("--seed", type=int, required=True, help="the dataset's seed")
    parser.add_argument("--fingerprint", default="", help="hash of all that shaped the rows")
    parser.add_argument(
        "--raise-key",
        default="the number of events",
        help="what to raise when there are too few rows",
    )
    parser.add_argument("--output", type=Path, required=True, help="Parquet file to write")
    parser.set_defaults(run=_run_shard)


def _run_shard(options: argparse.Namespace) -> None:
    from ntuplizer.products import count_classes
    from ntuplizer.shards import ShardKey, read_tables, write_shard

    started = time.perf_counter()
    key = ShardKey(options.dataset, options.part, options.index, options.split, options.seed)
    product, checked, tables = read_tables(options.files)
    rows = write_shard(
        options.output,
        tables,
        options.rows,
        key,
        product,
        checked,
        options.fingerprint,
        options.raise_key,
    )
    label = product.label(checked)
    write_ledger(
        options.output,
        started,
        product=product.name,
        **asdict(key),
        fingerprint=options.fingerprint,
        inputs=[path.name for path in options.files],
        rows=rows.num_rows,
        class_counts=None if label is None else count_classes(rows, label),
    )
    print(f"{rows.num_rows} rows: {options.output}")


def _add_manifest(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("manifest", help="the manifest of a dataset from its shards")
    parser.add_argument(
        "shards",
        type=Path,
        nargs="+",
        help="shards with their ledgers beside, or folders: all their *.parquet by name",
    )
    parser.add_argument("--name", required=True, help="name of the dataset")
    parser.add_argument("--seed", type=int, required=True, help="seed of the dataset")
    parser.add_argument("--fingerprint", default="", help="hash of all that shaped the dataset")
    parser.add_argument("--output", type=Path, required=True, help="manifest to write")
    parser.set_defaults(run=_run_manifest)


def _run_manifest(options: argparse.Namespace) -> None:
    from ntuplizer.manifest import build_manifest

    manifest = build_manifest(
        options.shards, options.name, options.seed, options.fingerprint, options.output
    )
    totals = manifest["totals"]
    print(f"{totals['files']} files, {totals['rows']} rows: {options.output}")


def _add_verify(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("verify", help="check a dataset against its manifest")
    parser.add_argument("dataset", type=Path, help="manifest or the folder that holds it")
    parser.set_defaults(run=_run_verify)


def _run_verify(options: argparse.Namespace) -> None:
    from ntuplizer.verify import verify

    problems = verify(options.dataset)
    for problem in problems:
        print(problem)
    if problems:
        raise UserError(f"{options.dataset}: {len(problems)} problems were found")
    print(f"{options.dataset}: all files are as the manifest says")


def _add_disjoint(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("disjoint", help="check that datasets share no events")
    parser.add_argument("datasets", type=Path, nargs="+", help="manifests or their folders")
    parser.set_defaults(run=_run_disjoint)


def _run_disjoint(options: argparse.Namespace) -> None:
    from ntuplizer.disjoint import shared_batches

    problems = shared_batches(options.datasets)
    for problem in problems:
        print(problem)
    if problems:
        raise UserError("datasets share events: give them seeds of their own")
    print("no batch of events is in two datasets or splits")
