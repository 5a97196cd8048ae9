"""`python -m workflow`: what the rules call beyond the three stages."""

import argparse
from pathlib import Path
from typing import Any

from provenance.files import atomic_output


def main() -> None:
    """Parse the command line and call one function."""
    parser = argparse.ArgumentParser(prog="python -m workflow", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_shard(commands)
    _add_plan(commands)
    _add_delphes(commands)
    _add_merge(commands)
    _add_report(commands)
    _add_schema(commands)
    arguments = vars(parser.parse_args())
    arguments.pop("function")(**arguments)


def _add_shard(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("shard", help="simulate and ntuplize until a shard is full")
    parser.add_argument("--part", required=True)
    parser.add_argument("--index", type=int, required=True)
    parser.add_argument("--split", required=True, choices=("train", "val", "test"))
    parser.add_argument("--processes", nargs="+", required=True, metavar="NAME=SHARE")
    parser.add_argument("--seed", type=int, required=True, help="dataset seed")
    parser.add_argument("--card", type=Path, required=True)
    parser.add_argument("--pileup", type=Path, required=True, help="minimum-bias library")
    parser.add_argument("--events-per-batch", type=int, default=100)
    parser.add_argument("--jet-radius", type=float, default=0.8)
    parser.add_argument("--stored-parton-pt", type=float, default=10.0)
    parser.add_argument("--qcd-labels", action="store_true")
    parser.add_argument("--jets", type=int, required=True, help="jets in the shard")
    parser.add_argument("--max-events", type=int, required=True)
    parser.add_argument("--fingerprint", required=True, help="hash kept in the file's metadata")
    parser.add_argument("--scratch", type=Path, required=True, help="folder for event files")
    parser.add_argument("--output", type=Path, required=True)
    parser.set_defaults(function=_shard)


def _shard(**arguments: Any) -> None:
    from workflow.shard import ShardJob, fill_shard

    fill_shard(ShardJob(**arguments))


def _add_plan(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("plan", help="which hard-process events each batch takes")
    parser.add_argument("--process", required=True)
    parser.add_argument("--processes", nargs="+", required=True, metavar="NAME=SHARE")
    parser.add_argument("--shards", type=int, required=True)
    parser.add_argument("--batches", type=int, required=True, help="batches of a shard")
    parser.add_argument("--seed", type=int, required=True, help="dataset seed")
    parser.add_argument("--events-per-batch", type=int, default=100)
    parser.add_argument("--output", type=Path, required=True)
    parser.set_defaults(function=_plan)


def _plan(**arguments: Any) -> None:
    from workflow.chain import plan_hard_process

    plan_hard_process(**arguments)


def _add_delphes(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("delphes", help="simulate some of a shard's batches with Delphes")
    parser.add_argument("--index", type=int, required=True, help="number of the shard in its part")
    parser.add_argument("--processes", nargs="+", required=True, metavar="NAME=SHARE")
    parser.add_argument("--batches", type=int, required=True, help="batches of the shard")
    parser.add_argument("--job", type=int, required=True, help="which of the shard's jobs this is")
    parser.add_argument("--jobs", type=int, required=True, help="jobs that share the shard")
    parser.add_argument("--seed", type=int, required=True, help="dataset seed")
    parser.add_argument("--events-per-batch", type=int, default=100)
    parser.add_argument("--card", type=Path, required=True)
    parser.add_argument("--pileup", type=Path, required=True, help="pile-up file of Delphes")
    parser.add_argument(
        "--library", type=Path, nargs="*", default=[], help="indices of hard-process libraries"
    )
    parser.add_argument("--scratch", type=Path, required=True, help="folder for event files")
    parser.add_argument("--output", type=Path, required=True)
    parser.set_defaults(function=_delphes)


def _delphes(**arguments: Any) -> None:
    from workflow.chain import simulate_batches

    simulate_batches(**arguments)


def _add_merge(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("merge", help="make a shard of jet files, with its ledger")
    parser.add_argument("--part", required=True)
    parser.add_argument("--index", type=int, required=True)
    parser.add_argument("--split", required=True, choices=("train", "val", "test"))
    parser.add_argument("--seed", type=int, required=True, help="dataset seed")
    parser.add_argument("--jets", type=int, required=True, help="jets in the shard")
    parser.add_argument("--files", type=Path, nargs="+", required=True, help="jet files, in order")
    parser.add_argument(
        "--event-ledgers", type=Path, nargs="+", required=True, help="of their event files"
    )
    parser.add_argument("--fingerprint", required=True, help="hash kept in the file's metadata")
    parser.add_argument("--output", type=Path, required=True)
    parser.set_defaults(function=_merge)


def _merge(**arguments: Any) -> None:
    from workflow.chain import merge_shard

    merge_shard(**arguments)


def _add_report(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("report", help="write the HTML report")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument(
        "--evaluation",
        type=Path,
        action="append",
        default=[],
        dest="evaluations",
        help="folder of an evaluated model; may be repeated",
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.set_defaults(function=_report)


def _report(**arguments: Any) -> None:
    from workflow.report import write_report

    write_report(**arguments)


def _add_schema(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "schema", help="regenerate the configuration's JSON schema and reference page"
    )
    parser.add_argument("--root", type=Path, default=Path(), help="the project's root")
    parser.set_defaults(function=_schema)


def _schema(root: Path) -> None:
    from workflow.config_model import GENERATED

    for path, text in GENERATED.items():
        with atomic_output(root / path) as temporary:
            temporary.write_text(text(), encoding="utf-8")
