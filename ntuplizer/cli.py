"""Command line: `python -m ntuplizer jets|regression|events|shard|manifest|verify`."""

import argparse
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provenance.errors import UserError
from provenance.ledger import versions, write_ledger

if TYPE_CHECKING:
    import pyarrow as pa


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and run one command.

    Raises
    ------
    UserError
        When an input or an option is wrong.
    """
    parser = argparse.ArgumentParser(prog="python -m ntuplizer", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_jets(commands)
    _add_regression(commands)
    _add_events(commands)
    _add_shard(commands)
    _add_manifest(commands)
    _add_verify(commands)
    options = parser.parse_args(arguments)
    options.run(options)


def _add_event_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("events", type=Path, help="Delphes event file, real or embedded")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file to write")


def _add_collection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--jet-collection",
        choices=("puppi", "chs"),
        default="puppi",
        help="what jets are made of (puppi); chs needs a file with ParticleFlowCandidateCHS",
    )


def _write(
    options: argparse.Namespace,
    tables: Iterable["pa.Table"],
    schema: "pa.Schema",
    selection: Any,
    counts: Any,
) -> None:
    """Write tables made from an event file, with what was selected and counted, and the ledger."""
    from ntuplizer.shards import write_tables

    started = time.perf_counter()

    def record() -> dict:
        return {"selection": asdict(selection), "counts": counts.as_dict()}

    write_tables(options.output, tables, schema, lambda: record() | {"versions": versions()})
    write_ledger(options.output, started, input=options.events.name, **record())
    print(f"{options.output}: {json.dumps(counts.as_dict())}")


def _add_jets(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("jets", help="labelled jets of a Delphes event file")
    _add_event_file(parser)
    _add_collection(parser)
    parser.add_argument("--jet-radius", type=float, default=0.8, help="anti-kT R (0.8)")
    parser.add_argument(
        "--jet-pt-min",
        type=float,
        help="lowest pT in GeV of jets and GEN-jets (200; 120 from R = 1.5 on)",
    )
    parser.add_argument(
        "--qcd-labels", action="store_true", help="label jets without a resonance as QCD"
    )
    parser.add_argument(
        "--stored-parton-pt",
        type=float,
        default=10.0,
        help="lowest pT in GeV of quarks stored with QCD jets (10, as published)",
    )
    parser.add_argument(
        "--flavour", action="store_true", help="add the column jet_flavour, the parton flavour"
    )
    parser.set_defaults(run=_run_jets)


def _run_jets(options: argparse.Namespace) -> None:
    from ntuplizer.jets import Counts, JetSelection, iterate_jets

    selection = JetSelection(
        radius=options.jet_radius,
        pt_min=options.jet_pt_min,
        qcd_labels=options.qcd_labels,
        stored_parton_pt=options.stored_parton_pt,
        collection=options.jet_collection,
        flavour=options.flavour,
    )
    counts = Counts()
    tables = iterate_jets(options.events, selection, counts)
    _write(options, tables, selection.schema, selection, counts)


def _add_regression(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("regression", help="jets with their GEN-jet, to learn energies")
    _add_event_file(parser)
    _add_collection(parser)
    parser.add_argument("--jet-radius", type=float, default=0.4, help="anti-kT R (0.4)")
    parser.add_argument("--jet-pt-min", type=float, default=15.0, help="lowest pT in GeV (15)")
    parser.add_argument("--jet-eta-max", type=float, default=2.5, help="largest |η| (2.5)")
    parser.set_defaults(run=_run_regression)


def _run_regression(options: argparse.Namespace) -> None:
    from ntuplizer.jets import Counts
    from ntuplizer.regression import RegressionSelection, iterate_regression_jets
    from ntuplizer.schema import REGRESSION_SCHEMA

    selection = RegressionSelection(
        radius=options.jet_radius,
        pt_min=options.jet_pt_min,
        eta_max=options.jet_eta_max,
        collection=options.jet_collection,
    )
    counts = Counts()
    tables = iterate_regression_jets(options.events, selection, counts)
    _write(options, tables, REGRESSION_SCHEMA, selection, counts)


def _add_events(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("events", help="leading objects of the events with six objects")
    _add_event_file(parser)
    parser.add_argument("--lepton-pt-min", type=float, default=10.0, help="lepton pT in GeV (10)")
    parser.add_argument("--jet-pt-min", type=float, default=20.0, help="jet pT in GeV (20)")
    parser.add_argument(
        "--overlap",
        type=float,
        default=0.0,
        help="leave out jets within this ΔR of the leading lepton (0: none)",
    )
    parser.add_argument("--jet-branch", default="JetPUPPI", help="branch of the jets (JetPUPPI)")
    parser.add_argument(
        "--met-branch",
        default="PuppiMissingET",
        help="branch of the missing transverse momentum (PuppiMissingET)",
    )
    parser.set_defaults(run=_run_events)


def _run_events(options: argparse.Namespace) -> None:
    from ntuplizer.events import EventCounts, EventSelection, iterate_events
    from ntuplizer.schema import EVENT_SCHEMA

    selection = EventSelection(
        lepton_pt_min=options.lepton_pt_min,
        jet_pt_min=options.jet_pt_min,
        overlap=options.overlap,
        jet_branch=options.jet_branch,
        met_branch=options.met_branch,
    )
    counts = EventCounts()
    tables = iterate_events(options.events, selection, counts)
    _write(options, tables, EVENT_SCHEMA, selection, counts)


def _add_shard(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("shard", help="a dataset file of exactly N shuffled jets")
    parser.add_argument("jets", type=Path, nargs="+", help="jet files, in a fixed order")
    parser.add_argument("--jets", dest="n_jets", type=int, required=True, help="jets to take")
    parser.add_argument("--seed", type=int, required=True, help="the dataset's seed")
    parser.add_argument("--part", required=True, help="the dataset's part, as Res34P")
    parser.add_argument("--index", type=int, required=True, help="number within the part")
    parser.add_argument("--split", required=True, help="train, val or test")
    parser.add_argument("--config-sha256", default="", help="hash of the configuration")
    parser.add_argument(
        "--raise-key",
        default="the number of events",
        help="what to raise when there are too few jets",
    )
    parser.add_argument("--output", type=Path, required=True, help="Parquet file to write")
    parser.set_defaults(run=_run_shard)


def _run_shard(options: argparse.Namespace) -> None:
    from ntuplizer.shards import ShardKey, class_counts, read_jets, write_shard

    started = time.perf_counter()
    key = ShardKey(options.part, options.index, options.split, options.seed)
    rows = write_shard(
        options.output,
        (read_jets(path) for path in options.jets),
        options.n_jets,
        key,
        options.config_sha256,
        options.raise_key,
    )
    write_ledger(
        options.output,
        started,
        **asdict(key),
        config_sha256=options.config_sha256,
        inputs=[path.name for path in options.jets],
        rows=rows.num_rows,
        class_counts=class_counts(rows),
    )
    print(f"{rows.num_rows} jets: {options.output}")


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
    parser.add_argument("--config-sha256", default="", help="hash of the configuration")
    parser.add_argument("--output", type=Path, required=True, help="manifest to write")
    parser.set_defaults(run=_run_manifest)


def _run_manifest(options: argparse.Namespace) -> None:
    from ntuplizer.manifest import build_manifest

    manifest = build_manifest(
        options.shards, options.name, options.seed, options.config_sha256, options.output
    )
    totals = manifest["totals"]
    print(f"{totals['files']} files, {totals['rows']} jets: {options.output}")


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
