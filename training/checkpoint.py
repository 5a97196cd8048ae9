"""Checkpoints: what is read back from them, and what they are checked against."""

from functools import reduce
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from ntuplizer.labels import LABELS
from provenance.errors import UserError
from provenance.files import atomic_output
from training.config import FitConfig
from training.data.features import FEATURES, VECTORS
from training.models.weaver import convert_weaver
from training.tasks import make_task
from training.tasks.sophon import Sophon


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint file, tensors and plain values only.

    Raises
    ------
    UserError
        When the file is missing, is no checkpoint of this project, or was trained on other
        features or labels.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen unrelated types here
        raise UserError(f"{path}: not a checkpoint ({str(error).splitlines()[0]})") from None
    description = checkpoint.get("description") if isinstance(checkpoint, dict) else None
    if not isinstance(description, dict):
        raise UserError(f"{path}: has no description of features and labels: not of this project")
    checks = [("features", FEATURES), ("vectors", VECTORS)]
    if description.get("task") != "transfer":
        checks.append(("labels", LABELS))
    for key, expected in checks:
        if tuple(description.get(key, ())) != tuple(expected):
            raise UserError(
                f"{path}: was trained with other {key} ({len(description.get(key, ()))}) "
                f"than this version's ({len(expected)})"
            )
    return checkpoint


def check_resumable(path: Path, config: FitConfig) -> None:
    """Refuse to go on from a checkpoint of another network.

    Raises
    ------
    UserError
        As `read_checkpoint`, or naming the key of the configuration that differs.
    """
    before = read_checkpoint(path)["description"]["config"]
    now = config.model_dump(mode="json")
    keys = [("task",), *(("model", key) for key in now["model"])]
    for key in keys:
        old, new = (reduce(lambda part, name: part.get(name), key, c) for c in (before, now))
        if old != new:
            raise UserError(
                f"{path}: {'.'.join(key)} was {old} and is {new}: train into another folder, or "
                "without --resume"
            )


def import_weaver(weights: Path, output: Path) -> None:
    """Make a checkpoint of a weaver-trained Sophon, such as the released one.

    It serves `evaluate`, `predict` and `export`; a training cannot be resumed from it.

    Raises
    ------
    UserError
        When the file holds no weights of weaver's Particle Transformer at Sophon's sizes.
    """
    if not weights.is_file():
        raise UserError(f"{weights}: no such file")
    task = Sophon(FitConfig(), LABELS)
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        task.network.load_state_dict(convert_weaver(state))
    except Exception as error:  # torch raises half a dozen unrelated types here
        reason = str(error).splitlines()[0]
        raise UserError(f"{weights}: not weaver's weights of a Sophon ({reason})") from None
    checkpoint: dict[str, Any] = {
        "state_dict": task.state_dict(),
        "callbacks": {"History": {"rows": []}},
    }
    task.on_save_checkpoint(checkpoint)
    with atomic_output(output) as temporary:
        torch.save(checkpoint, temporary)


def load_task(path: str | Path) -> Sophon:
    """Rebuild the trained task with its averaged weights, in evaluation mode.

    Raises
    ------
    UserError
        As `read_checkpoint`.
    """
    checkpoint = read_checkpoint(path)
    try:
        config = FitConfig.model_validate(checkpoint["description"]["config"])
        task = make_task(config)
        task.load_state_dict(checkpoint["state_dict"])
    except (KeyError, ValidationError, RuntimeError) as error:
        raise UserError(f"{path}: made by another version ({str(error).splitlines()[0]})") from None
    return task.eval()
