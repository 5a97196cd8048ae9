"""Checkpoints: how they are written, what is read back, and what they are checked against."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from provenance.errors import UserError
from provenance.files import atomic_output
from training.config import FitConfig
from training.task import AnyTask, Description
from training.tasks import config_type, load_task_type

# Tensors and plain values.
Checkpoint = dict[str, Any]


def make_task(config: FitConfig) -> AnyTask:
    """Return the task of a configuration, with new weights."""
    return load_task_type(config.task)(config)


def write_checkpoint(content: Checkpoint, path: Path) -> None:
    """Write a checkpoint beside its place and rename it, so that what was there stays till then.

    Raises
    ------
    UserError
        When the disk is full, or the folder is not writable.
    """
    try:
        with atomic_output(path) as temporary:
            torch.save(content, temporary)
    except (OSError, RuntimeError) as error:  # torch has its own writer, which tells no errno
        reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        raise UserError(f"{path}: cannot be written ({reason}); is the disk full?") from None


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint file, tensors and plain values only.

    Raises
    ------
    UserError
        When the file is missing or is no checkpoint of this project.
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
        raise UserError(f"{path}: has no description of its task: not of this project")
    return checkpoint


def read_config(path: Path, description: Description) -> FitConfig:
    """Return the configuration that a checkpoint describes.

    Raises
    ------
    UserError
        When the task is not known here, or was configured by another version.
    """
    config = description.get("config")
    try:
        return config_type(str(description.get("task"))).model_validate(config)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except ValidationError as error:
        raise UserError(f"{path}: made by another version ({str(error).splitlines()[0]})") from None


def load_task(path: str | Path) -> AnyTask:
    """Rebuild the trained task, in evaluation mode.

    Raises
    ------
    UserError
        As `read_checkpoint` and `read_config`, and when it was trained with other features or
        labels than this version's.
    """
    path = Path(path)
    checkpoint = read_checkpoint(path)
    description = checkpoint["description"]
    task = make_task(read_config(path, description))
    check_same(path, description, task, (*task.reader.describe(), "labels"))
    try:
        task.load_state_dict(checkpoint["state_dict"])
    except (KeyError, RuntimeError) as error:
        raise UserError(f"{path}: made by another version ({str(error).splitlines()[0]})") from None
    task.use_calibration(checkpoint.get("calibration"))
    return task.eval()


def check_same(path: Path, description: Description, task: AnyTask, keys: Iterable[str]) -> None:
    """Refuse a checkpoint whose inputs or labels are not a task's.

    Raises
    ------
    UserError
        Names the file and what differs.
    """
    own = task.describe()
    for key in keys:
        found, expected = description.get(key), own[key]
        if found != expected:
            raise UserError(
                f"{path}: was trained with other {key} ({_size(found)}) than this task's "
                f"({_size(expected)})"
            )


def start_from(task: AnyTask, path: Path) -> None:
    """Begin with the weights of a checkpoint, as `config.start` says.

    Raises
    ------
    UserError
        When the checkpoint cannot be used, has other inputs, or a network of other sizes.
    """
    checkpoint = read_checkpoint(path)
    check_same(path, checkpoint["description"], task, task.reader.describe())
    parts = task.config.start.parts or task.config.parts
    wanted = {name: x for name, x in task.state_dict().items() if task.part_of(name) in parts}
    found = checkpoint["state_dict"]
    for name, tensor in wanted.items():
        shape = tuple(found[name].shape) if name in found else None
        if shape != tuple(tensor.shape):
            raise UserError(
                f"{path}: does not fit: {name} is {shape or 'not there'}, where the network has "
                f"{tuple(tensor.shape)}{_other_sizes(checkpoint['description'], task)}"
            )
    task.load_state_dict({name: found[name] for name in wanted}, strict=False)
    if task.config.start.frozen:
        task.freeze(parts)


def convert(task: str, weights: Path, output: Path) -> None:
    """Make a checkpoint of another program's weights.

    It serves `evaluate`, `predict`, `export` and as a start; a training cannot go on from it.

    Raises
    ------
    UserError
        When the task does not know such weights.
    """
    converted = load_task_type(task).convert(weights)
    description = converted.describe() | {"dataset_sha256": None}
    content = {"description": description, "state_dict": converted.state_dict(), "history": []}
    write_checkpoint(content, output)


def _other_sizes(description: Description, task: AnyTask) -> str:
    """Name the sizes that differ between a checkpoint's network and a task's."""
    before = description.get("config")
    there = before.get("model") if isinstance(before, dict) else None
    here = task.config.model_dump(mode="json").get("model")
    if not isinstance(there, dict) or not isinstance(here, dict):
        return ""
    differing = [f"model.{key}={there[key]}" for key in here if there.get(key) != here[key]]
    return f"; the checkpoint has {', '.join(differing)}" if differing else ""


def _size(value: object) -> str:
    return str(len(value)) if isinstance(value, list) else "none"
