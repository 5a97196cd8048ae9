"""Command line of the networks: `python -m training --help`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from commandline.parser import Commands, FileOrText, run_package
from provenance.errors import UserError


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and run one command.

    Raises
    ------
    UserError
        When an input or an option is wrong.
    """
    run_package("training", "Train networks on datasets, and use them.", add_commands, arguments)


def add_commands(commands: Commands) -> None:
    """Add the commands of this package."""
    fit = commands.add(
        "fit",
        _fit,
        "train a network on a dataset, or go on with a training",
        "--config training/configs/sophon-small.yaml --manifest jets/manifest.json --output sophon",
    )
    _add_config(fit)
    _add_manifest(fit)
    fit.add_argument("--output", type=Path, required=True, help="folder for the results")
    fit.add_argument("--start", type=Path, metavar="CHECKPOINT", help="weights to begin with")
    fit.add_argument("--weights", type=Path, metavar="FILE", help="sampling weights")
    fit.add_argument(
        "--restart", action="store_true", help="begin anew, whatever the folder's last.ckpt holds"
    )

    ensemble = commands.add(
        "ensemble",
        _ensemble,
        "train networks on event objects that differ in their seeds at once",
        "--config training/configs/event-classification.yaml --manifest events/manifest.json "
        "--seeds 1 2 3 --output tuned",
    )
    _add_config(ensemble)
    _add_manifest(ensemble)
    ensemble.add_argument("--seeds", type=int, nargs="+", required=True, help="of the members")
    ensemble.add_argument(
        "--output", type=Path, required=True, help="folder for the results, a folder for each seed"
    )
    ensemble.add_argument("--start", type=Path, metavar="CHECKPOINT", help="weights to begin with")

    evaluate = commands.add(
        "evaluate",
        _evaluate,
        "measure a trained network",
        "--checkpoint sophon/checkpoint.ckpt --manifest jets/manifest.json --output evaluation",
    )
    _add_checkpoint(evaluate)
    _add_manifest(evaluate)
    evaluate.add_argument("--split", choices=("train", "val", "test"), default="test")
    evaluate.add_argument(
        "--predictions",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="what predict wrote of the split's shards, in place of the network's own",
    )
    evaluate.add_argument("--output", type=Path, required=True, help="folder for the results")

    predict = commands.add(
        "predict",
        _predict,
        "say something of every row of a file",
        "--checkpoint sophon/checkpoint.ckpt --input events.root --output scores.parquet",
    )
    _add_checkpoint(predict)
    predict.add_argument(
        "--input", type=Path, required=True, help="rows (Parquet) or Delphes events (ROOT)"
    )
    predict.add_argument("--output", type=Path, required=True, help="Parquet file")

    visualize = commands.add(
        "visualize",
        _visualize,
        "draw the rows that a training would read",
        "--config training/configs/jet-energy-pfn.yaml --manifest manifest.json --output figures",
    )
    _add_config(visualize)
    _add_manifest(visualize)
    visualize.add_argument("--split", choices=("train", "val", "test"), default="train")
    visualize.add_argument("--output", type=Path, required=True, help="folder for the figures")

    export = commands.add(
        "export",
        _export,
        "write a trained network in another format",
        "--checkpoint sophon/checkpoint.ckpt --output network.onnx",
    )
    _add_checkpoint(export)
    export.add_argument("--format", choices=("onnx",), default="onnx")
    export.add_argument("--output", type=Path, required=True, help="network.onnx")

    convert = commands.add(
        "convert",
        _convert,
        "make a checkpoint of another program's weights",
        "--task sophon --weights model.pt --output checkpoint.ckpt",
    )
    convert.add_argument("--task", required=True, help="a folder of training/tasks")
    convert.add_argument("--weights", type=Path, required=True, help="e.g. model.pt of weaver")
    convert.add_argument("--output", type=Path, required=True, help="checkpoint.ckpt")

    weights = commands.add(
        "weights",
        _weights,
        "compute the sampling weights of a training",
        "--config training/configs/sophon.yaml --manifest jets/manifest.json --output weights.json",
    )
    _add_config(weights)
    _add_manifest(weights)
    weights.add_argument("--output", type=Path, required=True, help="weights.json")

    standard = commands.add(
        "standard-benchmark",
        _standard_benchmark,
        "time CMS' corrections from text files on jets of CMS",
        "--input nano.root --texts *_AK4PFchs.txt --output times.json",
    )
    standard.add_argument(
        "--input", type=Path, nargs="+", required=True, help="NanoAOD or PFNano (ROOT)"
    )
    standard.add_argument(
        "--texts", type=Path, nargs="+", required=True, help="…_L1FastJet_AK4PFchs.txt, …"
    )
    standard.add_argument("--jet-type", default="AK4PFchs", help="as the texts name it (AK4PFchs)")
    standard.add_argument("--output", type=Path, required=True, help="JSON file")

    summary = commands.add(
        "summary",
        _summary,
        "print a network's layers and parameters",
        "--config training/configs/sophon.yaml --set model.blocks=4",
    )
    _add_config(summary)


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        type=FileOrText,
        required=True,
        metavar="FILE|JSON",
        help="a file of training/configs, or JSON text in braces",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override, e.g. epochs=2"
    )


def _add_manifest(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--manifest", type=Path, required=True, help="manifest.json of the dataset")


def _add_checkpoint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", type=Path, required=True, help="written by fit")


def _fit(options: argparse.Namespace) -> None:
    from training.config import load_config

    config = load_config(options.config, options.set)
    from training.fit import fit

    fit(
        config,
        options.manifest,
        options.output,
        start=options.start,
        weights=options.weights,
        restart=options.restart,
    )


def _ensemble(options: argparse.Namespace) -> None:
    from training.config import load_config
    from training.events.config import EventConfig

    config = load_config(options.config, options.set)
    if not isinstance(config, EventConfig):
        raise UserError(f"ensemble: the task {config.task} is none on event objects: use fit")
    if len(set(options.seeds)) < len(options.seeds):
        raise UserError("ensemble: --seeds names a seed twice, and each has a folder of its own")
    for seed in options.seeds:
        load_config(options.config, [*options.set, f"seed={seed}"])
    from training.events.ensemble import Member, fit_ensemble

    start = options.start or config.start.checkpoint
    members = [Member(seed, options.output / str(seed), start) for seed in options.seeds]
    fit_ensemble(config, options.manifest, members)


def _evaluate(options: argparse.Namespace) -> None:
    from training.evaluate.evaluate import evaluate

    evaluate(
        options.checkpoint,
        options.manifest,
        options.split,
        options.output,
        predictions=options.predictions,
    )


def _predict(options: argparse.Namespace) -> None:
    from training.predict import predict

    predict(options.checkpoint, options.input, options.output)


def _visualize(options: argparse.Namespace) -> None:
    from training.config import load_config

    config = load_config(options.config, options.set)
    from training.visualize import visualize

    visualize(config, options.manifest, options.split, options.output)


def _export(options: argparse.Namespace) -> None:
    from training.export import export_onnx

    export_onnx(options.checkpoint, options.output)


def _convert(options: argparse.Namespace) -> None:
    from training.checkpoint import convert

    convert(options.task, options.weights, options.output)


def _weights(options: argparse.Namespace) -> None:
    from training.config import load_config

    config = load_config(options.config, options.set)
    from training.data.sampling import write_weights

    write_weights(config, options.manifest, options.output)


def _standard_benchmark(options: argparse.Namespace) -> None:
    from training.jec.benchmark import benchmark_texts

    found = benchmark_texts(options.input, options.texts, options.jet_type, options.output)
    print(f"{options.output}: {found['jets']} jets, {found['jets_per_second']:,.0f} jets/s")


def _summary(options: argparse.Namespace) -> None:
    from training.config import load_config

    config = load_config(options.config, options.set)
    from training.summary import summary

    print(summary(config))
