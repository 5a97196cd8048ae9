"""The command line: parses and calls one function."""

import argparse
from pathlib import Path


def main(arguments: list[str] | None = None) -> None:
    """Run `python -m training <command>`."""
    parser = argparse.ArgumentParser(prog="python -m training", description="Shards to models.")
    commands = parser.add_subparsers(required=True, metavar="command")

    fit = commands.add_parser("fit", help="train a network on a dataset")
    fit.add_argument("--config", type=Path, required=True, help="a file of training/configs")
    fit.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override, e.g. epochs=2"
    )
    fit.add_argument("--manifest", type=Path, required=True, help="manifest.json of the dataset")
    fit.add_argument("--output", type=Path, required=True, help="folder for the results")
    fit.add_argument("--resume", action="store_true", help="go on from the folder's last.ckpt")
    fit.set_defaults(call=_fit)

    few_shot = commands.add_parser("few-shot", help="compare ways to use a network on few jets")
    few_shot.add_argument("--config", type=Path, required=True, help="a transfer")
    few_shot.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    few_shot.add_argument("--manifest", type=Path, required=True)
    few_shot.add_argument(
        "--jets", type=int, nargs="+", default=[100, 1000, 10000], help="training jets"
    )
    few_shot.add_argument(
        "--seeds", type=int, nargs="+", default=[1, 2, 3], help="trainings of each kind"
    )
    few_shot.add_argument("--output", type=Path, required=True, help="folder for the results")
    few_shot.set_defaults(call=_few_shot)

    evaluate = commands.add_parser("evaluate", help="measure a trained network")
    evaluate.add_argument("--checkpoint", type=Path, required=True)
    evaluate.add_argument("--manifest", type=Path, required=True)
    evaluate.add_argument("--split", choices=("train", "val", "test"), default="test")
    evaluate.add_argument("--output", type=Path, required=True, help="folder for the results")
    evaluate.set_defaults(call=_evaluate)

    predict = commands.add_parser("predict", help="score every jet of a file")
    predict.add_argument("--checkpoint", type=Path, required=True)
    predict.add_argument(
        "--input", type=Path, required=True, help="jets (Parquet) or Delphes events (ROOT)"
    )
    predict.add_argument("--output", type=Path, required=True, help="Parquet file")
    predict.set_defaults(call=_predict)

    export = commands.add_parser("export", help="write a trained network in another format")
    export.add_argument("--checkpoint", type=Path, required=True)
    export.add_argument("--format", choices=("onnx",), default="onnx")
    export.add_argument("--output", type=Path, required=True, help="network.onnx")
    export.set_defaults(call=_export)

    convert = commands.add_parser("convert", help="make a checkpoint of weaver's Sophon weights")
    convert.add_argument("--weights", type=Path, required=True, help="model.pt of weaver")
    convert.add_argument("--output", type=Path, required=True, help="checkpoint.ckpt")
    convert.set_defaults(call=_convert)

    weights = commands.add_parser("weights", help="compute the sampling weights of a dataset")
    weights.add_argument("--manifest", type=Path, required=True)
    weights.add_argument(
        "--config", type=Path, required=True, help="the training, whose selection of jets counts"
    )
    weights.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    weights.add_argument("--output", type=Path, required=True, help="weights.json")
    weights.set_defaults(call=_weights)

    summary = commands.add_parser("summary", help="print a network's layers and parameters")
    summary.add_argument("--task", choices=("sophon",), required=True)
    summary.set_defaults(call=_summary)

    options = parser.parse_args(arguments)
    options.call(options)


def _fit(options: argparse.Namespace) -> None:
    from training.config import load_config
    from training.fit import fit

    config = load_config(options.config, options.set)
    fit(config, options.manifest, options.output, options.resume)


def _few_shot(options: argparse.Namespace) -> None:
    from training.config import load_config
    from training.few_shot import few_shot

    config = load_config(options.config, options.set)
    few_shot(config, options.manifest, options.jets, options.seeds, options.output)


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
    from training.checkpoint import import_weaver

    import_weaver(options.weights, options.output)


def _weights(options: argparse.Namespace) -> None:
    from training.config import load_config
    from training.reweight import write_weights

    config = load_config(options.config, options.set)
    write_weights(options.manifest, options.output, config.data.selection)


def _summary(options: argparse.Namespace) -> None:
    from training.summary import summary

    print(summary(options.task))
