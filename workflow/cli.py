"""Command line of whole runs: `python -m workflow --help`."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from commandline.parser import Commands, run_package
from provenance.errors import UserError
from provenance.files import atomic_output, read_json


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and run one command.

    Raises
    ------
    UserError
        When an input or an option is wrong.
    """
    run_package(
        "workflow", "What the rules call beyond the other packages.", add_commands, arguments
    )


def add_commands(commands: Commands) -> None:
    """Add the commands of this package."""
    _add_check(commands)
    _add_shard(commands)
    _add_plan(commands)
    _add_study(commands)
    _add_report(commands)
    _add_schema(commands)


def _add_check(commands: Commands) -> None:
    parser = commands.add(
        "check",
        _run_check,
        "check a configuration and all that it names",
        "config/quickstart.yaml",
    )
    parser.add_argument("config", type=Path, nargs="+", help="YAML; later files win")


def _run_check(options: argparse.Namespace) -> None:
    from workflow.planning import make_plan, read_files

    make_plan(read_files(options.config))


def _add_shard(commands: Commands) -> None:
    parser = commands.add(
        "shard",
        _run_shard,
        "simulate and ntuplize until a shard is full",
        "--job '{…}' --pileup minbias.arrow --output QCD_0000.parquet",
    )
    parser.add_argument("--job", required=True, help="what it is made of, JSON, see the logs")
    parser.add_argument("--pileup", type=Path, required=True, help="minimum-bias library")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file to write")
    programs = parser.add_argument_group("with MadGraph and Delphes as programs")
    programs.add_argument("--scratch", type=Path, help="folder for event files: says so")
    programs.add_argument(
        "--library", type=Path, nargs="*", default=[], help="indices of hard-process libraries"
    )
    programs.add_argument("--parton-densities", type=Path, help="archive of MadGraph's set")


def _run_shard(options: argparse.Namespace) -> None:
    from workflow.fastjet_notice import silence_where_shown
    from workflow.jobs.description import ShardJob
    from workflow.jobs.shard import fill_shard

    job = ShardJob.read(options.job)
    silence_where_shown()
    if options.scratch is None:
        from workflow.jobs.embedded import EmbeddedEvents

        fill_shard(job, EmbeddedEvents(job, options.pileup), options.output)
    else:
        from workflow.jobs.containers import DelphesEvents

        libraries = {read_json(path)["process"]: path for path in options.library}
        with DelphesEvents(
            job, options.pileup, libraries, options.parton_densities, options.scratch
        ) as events:
            fill_shard(job, events, options.output)


def _add_plan(commands: Commands) -> None:
    parser = commands.add(
        "plan",
        _run_plan,
        "which hard-process events each batch takes",
        "--job '{…}' --output plan.json",
    )
    parser.add_argument("--job", required=True, help="what is planned, JSON, see the logs")
    parser.add_argument("--output", type=Path, required=True, help="plan to write")


def _run_plan(options: argparse.Namespace) -> None:
    from workflow.jobs.containers import write_plan

    write_plan(options.job, options.output)


def _add_study(commands: Commands) -> None:
    parser = commands.add(
        "study",
        _run_study,
        "gather the points of a study",
        "--job '{…}' --evaluations results/quickstart/evaluation --output study.json",
    )
    parser.add_argument("--job", required=True, help="the study, JSON, see the logs")
    parser.add_argument("--evaluations", type=Path, required=True, help="folder of the metrics")
    parser.add_argument("--output", type=Path, required=True, help="study.json")


def _run_study(options: argparse.Namespace) -> None:
    from workflow.jobs.study import gather_study

    gather_study(options.job, options.evaluations, options.output)


def _add_report(commands: Commands) -> None:
    parser = commands.add(
        "report",
        _run_report,
        "write the HTML report",
        "--name mine --dataset datasets/jets/manifest.json --output report.html",
    )
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


def _run_report(options: argparse.Namespace) -> None:
    from workflow.report import write_report
    from workflow.report.inputs import Inputs

    names = (field.name for field in fields(Inputs) if field.name != "configuration")
    given = {name: getattr(options, name) for name in names}
    write_report(Inputs(**given, configuration=_configuration(options.config)), options.output)


def _configuration(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise UserError(f"--config: not JSON ({error})") from None
    if not isinstance(content, dict):
        raise UserError("--config: a JSON object is needed")
    return content


def _add_schema(commands: Commands) -> None:
    parser = commands.add(
        "schema",
        _run_schema,
        "regenerate the configuration's schema and the reference pages",
        "--root .",
    )
    parser.add_argument("--root", type=Path, default=Path(), help="the project's root")


def _run_schema(options: argparse.Namespace) -> None:
    from workflow.config_docs import GENERATED
    from workflow.reference_pages import PAGES

    for path, text in (GENERATED | PAGES).items():
        with atomic_output(options.root / path) as temporary:
            temporary.write_text(text(), encoding="utf-8")
