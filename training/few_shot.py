"""How much a pre-trained network is worth when labels are few."""

from pathlib import Path
from typing import Any

from provenance.errors import UserError
from provenance.files import read_json, write_json
from training.config import FitConfig
from training.evaluate.figures import draw_few_shot
from training.fit import fit

# Name → changes to the `transfer` section; `scratch` drops the checkpoint.
WAYS: dict[str, dict[str, Any]] = {
    "scratch": {"checkpoint": None, "frozen": False},
    "frozen": {"frozen": True},
    "fine-tuned": {"frozen": False},
}


def few_shot(config: FitConfig, manifest: Path, sizes: list[int], output: Path) -> None:
    """Train from scratch, on a frozen and on a fine-tuned network, with few jets each.

    Parameters
    ----------
    config
        A transfer with a checkpoint.
    manifest
        Of the dataset with the user's labels.
    sizes
        Numbers of training jets (before the selection).
    output
        Folder for a training each, `few_shot.json` (validation loss and accuracy by way and size)
        and its figure.

    Raises
    ------
    UserError
        When the configuration is no transfer or names no checkpoint.
    """
    if config.transfer is None or config.transfer.checkpoint is None:
        raise UserError("few-shot compares ways to use a network: set transfer.checkpoint")
    results: dict[str, dict[str, Any]] = {way: {} for way in WAYS}
    for size in sizes:
        data = config.data.model_copy(update={"train_jets": size})
        for way, changes in WAYS.items():
            transfer = config.transfer.model_copy(update=changes)
            folder = output / f"{way}_{size}"
            fit(config.model_copy(update={"data": data, "transfer": transfer}), manifest, folder)
            result = read_json(folder / "summary.json")["result"]
            results[way][str(size)] = {key: result[key] for key in ("val_loss", "val_accuracy")}
    draw_few_shot(output / "few_shot", results)
    write_json(output / "few_shot.json", results)
