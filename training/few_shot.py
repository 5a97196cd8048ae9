"""How much a pre-trained network is worth when labels are few."""

from itertools import product
from pathlib import Path
from typing import Any

from provenance.errors import UserError
from provenance.files import read_json, write_json
from training.config import FitConfig
from training.evaluate.evaluate import evaluate
from training.evaluate.figures import draw_few_shot
from training.fit import fit

# Name → changes to the `transfer` section; `scratch` drops the checkpoint.
WAYS: dict[str, dict[str, Any]] = {
    "scratch": {"checkpoint": None, "frozen": False},
    "frozen": {"frozen": True},
    "fine-tuned": {"frozen": False},
}


def few_shot(
    config: FitConfig, manifest: Path, sizes: list[int], seeds: list[int], output: Path
) -> None:
    """Train from scratch, on a frozen and on a fine-tuned network, with few jets each.

    Parameters
    ----------
    config
        A transfer with a checkpoint.
    manifest
        Of the dataset with the user's labels; trained on `train`, measured on `test`.
    sizes
        Numbers of training jets (before the selection).
    seeds
        Of the trainings: another one trains on other jets, in another order, from other weights.
    output
        Folder for a training each with its evaluation, `few_shot.json` (accuracy and AUC by way,
        size and seed) and its figure, whose bands are standard deviations over the seeds.

    Raises
    ------
    UserError
        When the configuration is no transfer or names no checkpoint.
    """
    if config.transfer is None or config.transfer.checkpoint is None:
        raise UserError("few-shot compares ways to use a network: set transfer.checkpoint")
    results: dict[str, dict[str, dict[str, list[float]]]] = {way: {} for way in WAYS}
    for size, (way, changes), seed in product(sizes, WAYS.items(), seeds):
        changed = {
            "seed": seed,
            "data": config.data.model_copy(update={"train_jets": size}),
            "transfer": config.transfer.model_copy(update=changes),
        }
        folder = output / f"{way}_{size}_seed{seed}"
        fit(config.model_copy(update=changed), manifest, folder)
        evaluate(folder / "checkpoint.ckpt", manifest, "test", folder / "test")
        measured = read_json(folder / "test" / "metrics.json")
        numbers = results[way].setdefault(str(size), {"accuracy": [], "auc": []})
        for quantity, values in numbers.items():
            values.append(measured[quantity])
    draw_few_shot(output / "few_shot", results)
    write_json(output / "few_shot.json", {"seeds": seeds, "ways": results})
