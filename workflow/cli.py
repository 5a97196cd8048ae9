"""`python -m workflow`: what the rules call beyond the three stages."""

import argparse
import json
from pathlib import Path
from typing import Any

from provenance.files import atomic_output, read_json


def main() -> None:
    """Parse the command line and call one function."""
    parser = argparse.ArgumentParser(prog="python -m workflow", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_check(commands)
    _add_shard(commands)
    _add_plan(commands)
    _add_study(commands)
    _add_report(commands)
    _add_schema(commands)
    arguments = vars(parser.parse_args())
    arguments.pop("function")(**arguments)


def _add_check(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("check", help="check a configuration and all that it names")
    parser.add_argument("config", type=Path, nargs="+", help="YAML; later files win")
    parser.set_defaults(function=_check)


def _check(config: list[Path]) -> None:
    from workflow.planning import make_plan, read_files

    make_plan(read_files(config))


def _add_shard(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("shard", help="simulate and ntuplize until a shard is full")
    parser.add_argument("--job", required=True, help="what it is made of, JSON, see the logs")
    parser.add_argument("--pileup", type=Path, required=True, help="minimum-bias library")
    parser.add_argument("--output", type=Path, required=True)
    programs = parser.add_argument_group("with MadGraph and Delphes as programs")
    programs.add_argument("--scratch", type=Path, help="folder for event files: says so")
    programs.add_argument(
        "--library", type=Path, nargs="*", default=[], help="indices of hard-process libraries"
    )
    programs.add_argument("--parton-densities", type=Path, help="archive of MadGraph's set")
    parser.set_defaults(function=_shard)


def _shard(
    job: str,
    pileup: Path,
    output: Path,
    scratch: Path | None,
    library: list[Path],
    parton_densities: Path | None,
) -> None:
    from workflow.jobs.description import ShardJob
    from workflow.jobs.shard import fill_shard

    described = ShardJob.read(job)
    if scratch is None:
        from workflow.jobs.embedded import EmbeddedEvents

        fill_shard(described, EmbeddedEvents(described, pileup), output)
    else:
        from workflow.jobs.containers import DelphesEvents

        libraries = {read_json(path)["process"]: path for path in library}
        with DelphesEvents(described, pileup, libraries, parton_densities, scratch) as events:
            fill_shard(described, events, output)


def _add_plan(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("plan", help="which hard-process events each batch takes")
    parser.add_argument("--job", required=True, help="what is planned, JSON, see the logs")
    parser.add_argument("--output", type=Path, required=True)
    parser.set_defaults(function=_plan)


def _plan(job: str, output: Path) -> None:
    from workflow.jobs.containers import write_plan

    write_plan(job, output)


def _add_study(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("study", help="gather the points of a study")
    parser.add_argument("--job", required=True, help="the study, JSON, see the logs")
    parser.add_argument("--evaluations", type=Path, required=True, help="folder of the metrics")
    parser.add_argument("--output", type=Path, required=True, help="study.json")
    parser.set_defaults(function=_study)


def _study(job: str, evaluations: Path, output: Path) -> None:
    from workflow.jobs.study import gather_study

    gather_study(job, evaluations, output)


def _add_report(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("report", help="write the HTML report")
    parser.add_argument("--name", required=True, help="of the run")
    for option, destination, meaning in (
        ("--dataset", "manifests", "manifest of a dataset"),
        ("--evaluation", "metrics", "metrics.json of a network"),
        ("--checkpoint", "checkpoints", "ledger of the checkpoint of a network"),
        ("--study", "studies", "study.json of a study"),
        ("--comparison", "comparisons", "comparison.json of a comparison with Delphes"),
    ):
        parser.add_argument(
            option,
            type=Path,
            action="append",
            default=[],
            dest=destination,
            metavar="FILE",
            help=f"{meaning}; may be repeated",
        )
    parser.add_argument("--benchmarks", type=Path, metavar="FOLDER", help="what the jobs took")
    parser.add_argument("--config", default="{}", help="configuration of the run, JSON")
    parser.add_argument(
        "--output", type=Path, required=True, help="the page; a folder of its name gets the figures"
    )
    parser.set_defaults(function=_report)


def _report(config: str, output: Path, **inputs: Any) -> None:
    from workflow.report import write_report
    from workflow.report.inputs import Inputs

    write_report(Inputs(**inputs, configuration=json.loads(config)), output)


def _add_schema(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "schema", help="regenerate the configuration's JSON schema and reference page"
    )
    parser.add_argument("--root", type=Path, default=Path(), help="the project's root")
    parser.set_defaults(function=_schema)


def _schema(root: Path) -> None:
    from workflow.config_docs import GENERATED

    for path, text in GENERATED.items():
        with atomic_output(root / path) as temporary:
            temporary.write_text(text(), encoding="utf-8")
