"""The command line: parses and calls one function."""

import argparse
from pathlib import Path

from provenance.errors import UserError


def main(arguments: list[str] | None = None) -> None:
    """Run `python -m training <command>`."""
    parser = argparse.ArgumentParser(prog="python -m training", description="Shards to models.")
    commands = parser.add_subparsers(required=True, metavar="command")

    fit = commands.add_parser("fit", help="train a network on a dataset, or go on with a training")
    _add_config(fit)
    _add_manifest(fit)
    fit.add_argument("--output", type=Path, required=True, help="folder for the results")
    fit.add_argument("--start", type=Path, metavar="CHECKPOINT", help="weights to begin with")
    fit.add_argument("--weights", type=Path, metavar="FILE", help="sampling weights")
    fit.add_argument(
        "--restart", action="store_true", help="begin anew, whatever the folder's last.ckpt holds"
    )
    fit.set_defaults(call=_fit)

    ensemble = commands.add_parser(
        "ensemble", help="train networks on event objects that differ in their seeds at once"
    )
    _add_config(ensemble)
    _add_manifest(ensemble)
    ensemble.add_argument("--seeds", type=int, nargs="+", required=True, help="of the members")
    ensemble.add_argument(
        "--output", type=Path, required=True, help="folder for the results, a folder for each seed"
    )
    ensemble.add_argument("--start", type=Path, metavar="CHECKPOINT", help="weights to begin with")
    ensemble.set_defaults(call=_ensemble)

    evaluate = commands.add_parser("evaluate", help="measure a trained network")
    _add_checkpoint(evaluate)
    _add_manifest(evaluate)
    evaluate.add_argument("--split", choices=("train", "val", "test"), default="test")
    evaluate.add_argument("--output", type=Path, required=True, help="folder for the results")
    evaluate.set_defaults(call=_evaluate)

    predict = commands.add_parser("predict", help="say something of every row of a file")
    _add_checkpoint(predict)
    predict.add_argument(
        "--input", type=Path, required=True, help="rows (Parquet) or Delphes events (ROOT)"
    )
    predict.add_argument("--output", type=Path, required=True, help="Parquet file")
    predict.set_defaults(call=_predict)

    export = commands.add_parser("export", help="write a trained network in another format")
    _add_checkpoint(export)
    export.add_argument("--format", choices=("onnx",), default="onnx")
    export.add_argument("--output", type=Path, required=True, help="network.onnx")
    export.set_defaults(call=_export)

    convert = commands.add_parser("convert", help="make a checkpoint of another program's weights")
    convert.add_argument("--task", required=True, help="a folder of training/tasks")
    convert.add_argument("--weights", type=Path, required=True, help="e.g. model.pt of weaver")
    convert.add_argument("--output", type=Path, required=True, help="checkpoint.ckpt")
    convert.set_defaults(call=_convert)

    weights = commands.add_parser("weights", help="compute the sampling weights of a training")
    _add_config(weights)
    _add_manifest(weights)
    weights.add_argument("--output", type=Path, required=True, help="weights.json")
    weights.set_defaults(call=_weights)

    summary = commands.add_parser("summary", help="print a network's layers and parameters")
    _add_config(summary)
    summary.set_defaults(call=_summary)

    options = parser.parse_args(arguments)
    options.call(options)


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
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
    from training.events.ensemble import Member, fit_ensemble

    start = options.start or config.start.checkpoint
    members = [Member(seed, options.output / str(seed), start) for seed in options.seeds]
    fit_ensemble(config, options.manifest, members)


def _evaluate(options: argparse.Namespace) -> None:
    from training.evaluate.evaluate import evaluate

    evaluate(options.checkpoint, options.manifest, options.split, options.output)


def _predict(options: argparse.Namespace) -> None:
    from training.predict import predict

    predict(options.checkpoint, options.input, options.output)


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


def _summary(options: argparse.Namespace) -> None:
    from training.config import load_config

    config = load_config(options.config, options.set)
    from training.summary import summary

    print(summary(config))
