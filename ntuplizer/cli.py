"""Command line of rows and datasets: `python -m ntuplizer --help`."""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal, get_args, get_origin

from commandline.parser import Commands, run_package
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
    run_package("ntuplizer", "Make rows of events, and datasets of rows.", add_commands, arguments)


def add_commands(commands: Commands) -> None:
    """Add the commands of this package."""
    for name in product_names():
        _add_product(commands, get_product(name))
    collisions.add_commands(commands)
    _add_import(commands)
    _add_import_manifest(commands)
    _add_shard(commands)
    _add_manifest(commands)
    _add_verify(commands)
    _add_disjoint(commands)
    _add_display(commands)
    _add_card(commands)


def _add_product(commands: Commands, product: Product) -> None:
    """Add the command that makes a product's rows; its options are the product's own."""
    parser = commands.add(
        product.name,
        _run_product,
        product.summary,
        f"events.root --output {product.name}.parquet",
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
            values = "|".join(get_args(field.annotation)) if kind is Literal else "X"
            several = "+" if kind in {tuple, list} else None
            parser.add_argument(flag, nargs=several, metavar=values, help=text)
    parser.set_defaults(product=product)


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


def _add_import(commands: Commands) -> None:
    """Add the command that reads public sets."""
    parser = commands.add(
        "import",
        _run_import,
        "jets of a public set, with our columns",
        "jetclass test.root --output jets.parquet",
    )
    summaries = ", ".join(f"{name}: {get_source(name).summary}" for name in source_names())
    parser.add_argument("set", choices=source_names(), help=summaries)
    parser.add_argument("file", type=Path, help="a file of the set, as it is published")
    parser.add_argument("--label", help="class of all jets, where the file does not say it")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file to write")


def _run_import(options: argparse.Namespace) -> None:
    from ntuplizer.imports.jets import import_jets

    source = get_source(options.set)
    rows = import_jets(source, options.file, options.output, options.label)
    print(f"{rows} jets: {options.output}")


def _add_import_manifest(commands: Commands) -> None:
    """Add the command that makes a dataset of imported files."""
    parser = commands.add(
        "import-manifest",
        _run_import_manifest,
        "a dataset of files of `import`",
        "--train a.parquet --val b.parquet --test c.parquet --output manifest.json",
    )
    for split in ("train", "val", "test"):
        parser.add_argument(
            f"--{split}", type=Path, nargs="+", required=True, metavar="FILE", help="its files"
        )
    parser.add_argument("--output", type=Path, required=True, help="manifest to write")


def _run_import_manifest(options: argparse.Namespace) -> None:
    from ntuplizer.imports.jets import import_manifest

    splits = {"train": options.train, "val": options.val, "test": options.test}
    rows = import_manifest(splits, options.output)
    print(f"{rows} jets: {options.output}")


def _add_shard(commands: Commands) -> None:
    parser = commands.add(
        "shard",
        _run_shard,
        "a dataset file of exactly N shuffled rows",
        "a.parquet b.parquet --rows 9 --dataset jets --part QCD --index 0 --split train"
        " --seed 1 --output QCD_0000.parquet",
    )
    parser.add_argument(
        "files", type=Path, nargs="+", help="files of one product, in a fixed order"
    )
    parser.add_argument("--rows", type=int, required=True, help="rows to take")
    parser.add_argument("--dataset", required=True, help="the dataset's name")
    parser.add_argument("--part", required=True, help="the dataset's part, as Res34P")
    parser.add_argument("--index", type=int, required=True, help="number within the part")
    parser.add_argument("--split", required=True, help="train, val or test")
    parser.add_argument("--seed", type=int, required=True, help="the dataset's seed")
    parser.add_argument(
        "--fingerprint", metavar="HASH", default="", help="hash of all that shaped the rows"
    )
    parser.add_argument(
        "--raise-key",
        metavar="KEY",
        default="the number of events",
        help="what to raise when there are too few rows",
    )
    parser.add_argument("--output", type=Path, required=True, help="Parquet file to write")


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


def _add_manifest(commands: Commands) -> None:
    parser = commands.add(
        "manifest",
        _run_manifest,
        "the manifest of a dataset from its shards",
        "shards/ --name jets --seed 1 --output shards/manifest.json",
    )
    parser.add_argument(
        "shards",
        type=Path,
        nargs="+",
        help="shards with their ledgers beside, or folders: all their *.parquet by name",
    )
    parser.add_argument("--name", required=True, help="name of the dataset")
    parser.add_argument("--seed", type=int, required=True, help="seed of the dataset")
    parser.add_argument(
        "--fingerprint", metavar="HASH", default="", help="hash of all that shaped the dataset"
    )
    parser.add_argument("--output", type=Path, required=True, help="manifest to write")


def _run_manifest(options: argparse.Namespace) -> None:
    from ntuplizer.manifest import build_manifest

    manifest = build_manifest(
        options.shards, options.name, options.seed, options.fingerprint, options.output
    )
    totals = manifest["totals"]
    print(f"{totals['files']} files, {totals['rows']} rows: {options.output}")


def _add_verify(commands: Commands) -> None:
    parser = commands.add(
        "verify",
        _run_verify,
        "check a dataset against its manifest",
        "results/quickstart/datasets/jets",
    )
    parser.add_argument("dataset", type=Path, help="manifest or the folder that holds it")


def _run_verify(options: argparse.Namespace) -> None:
    from ntuplizer.verify import verify

    problems = verify(options.dataset)
    for problem in problems:
        print(problem)
    if problems:
        raise UserError(f"{options.dataset}: {len(problems)} problems were found")
    print(f"{options.dataset}: all files are as the manifest says")


def _add_disjoint(commands: Commands) -> None:
    parser = commands.add(
        "disjoint",
        _run_disjoint,
        "check that datasets share no events",
        "datasets/jets datasets/energy",
    )
    parser.add_argument("datasets", type=Path, nargs="+", help="manifests or their folders")


def _run_disjoint(options: argparse.Namespace) -> None:
    from ntuplizer.disjoint import shared_batches

    problems = shared_batches(options.datasets)
    for problem in problems:
        print(problem)
    if problems:
        raise UserError("datasets share events: give them seeds of their own")
    print("no batch of events is in two datasets or splits")


def _add_display(commands: Commands) -> None:
    parser = commands.add(
        "display",
        _run_display,
        "a picture of one row",
        "QCD_0000.parquet --row 12 --checkpoint sophon/checkpoint.ckpt --output row.png",
    )
    parser.add_argument("file", type=Path, help="a shard, or another file of rows")
    parser.add_argument("--row", type=int, required=True, help="its number, from 0")
    parser.add_argument("--checkpoint", type=Path, help="of a network: says what it thinks")
    parser.add_argument(
        "--output", type=Path, default=Path("row.png"), help="PNG, PDF or SVG (row.png)"
    )


def _run_display(options: argparse.Namespace) -> None:
    from ntuplizer.display.command import display

    display(options.file, options.row, options.output, options.checkpoint)
    print(options.output)


def _add_card(commands: Commands) -> None:
    parser = commands.add(
        "card",
        _run_card,
        "the card of a dataset, for publishing it",
        "results/quickstart/datasets/jets --title 'Jets of the quickstart'",
    )
    parser.add_argument("dataset", type=Path, help="manifest or the folder that holds it")
    parser.add_argument("--title", help="how it is called (its name and what a row is)")
    parser.add_argument("--url", help="where it is published")
    parser.add_argument("--licence", default="CC-BY-4.0", help="its SPDX name (CC-BY-4.0)")
    parser.add_argument("--version", default="1.0.0", help="of the published dataset (1.0.0)")
    parser.add_argument("--date", metavar="YYYY-MM-DD", help="when it was published")


def _run_card(options: argparse.Namespace) -> None:
    from ntuplizer.card import Terms, write_card

    terms = Terms(options.title, options.url, options.licence, options.version, options.date)
    write_card(options.dataset, terms)
    print(f"{options.dataset}: wrote README.md and croissant.json")
