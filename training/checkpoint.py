"""Checkpoints: how they are written, what is read back, and what they are checked against."""

import time
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from provenance.errors import UserError, first_line
from provenance.files import atomic_output
from provenance.ledger import check_ledger, write_ledger
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
        When the file is missing, damaged or is no checkpoint of this project.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint")
    _check_records(path)
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen unrelated types here
        raise UserError(f"{path}: not a checkpoint ({first_line(error)})") from None
    description = checkpoint.get("description") if isinstance(checkpoint, dict) else None
    if not isinstance(description, dict):
        raise UserError(f"{path}: has no description of its task: not of this project")
    return checkpoint


def _check_records(path: Path) -> None:
    """Compare each record of a checkpoint with its checksum, which PyTorch does not look at."""
    try:
        with zipfile.ZipFile(path) as archive:
            # PyTorch compresses nothing; what unfolds could fill the memory.
            packed = [record for record in archive.infolist() if record.compress_type]
            damaged = packed[0].filename if packed else archive.testzip()
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: not a checkpoint ({first_line(error)})") from None
    if damaged is not None:
        raise UserError(f"{path}: not a checkpoint (its record {damaged} is damaged)")


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
        raise UserError(f"{path}: made by another version ({first_line(error)})") from None


def load_task(path: str | Path) -> AnyTask:
    """Rebuild the trained task, in evaluation mode.

    Raises
    ------
    UserError
        As `read_checkpoint` and `read_config`, when it is not the file that the ledger beside it
        speaks of, when it was trained with other features or labels than this version's, and when
        its weights are not those of its network.
    """
    path = Path(path)
    if path.is_file():
        check_ledger(path)
    checkpoint = read_checkpoint(path)
    description = checkpoint["description"]
    config = read_config(path, description)
    weights = _weights(path, checkpoint)
    with _no_larger_than(path, weights):
        task = make_task(config)
    check_same(path, description, task, (*task.reader.describe(), "labels"))
    try:
        task.load_state_dict(weights)
    except (KeyError, RuntimeError) as error:
        raise UserError(f"{path}: made by another version ({first_line(error)})") from None
    _check_finite(path, task.state_dict())
    try:
        task.use_calibration(checkpoint.get("calibration"))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: made by another version (its calibration: {first_line(error)})"
        ) from None
    return task.eval()


def _weights(path: Path, checkpoint: Checkpoint) -> dict[str, Tensor]:
    weights = checkpoint.get("state_dict")
    if not isinstance(weights, dict) or not all(isinstance(x, Tensor) for x in weights.values()):
        raise UserError(f"{path}: not a checkpoint (state_dict: not tensors by name)")
    return weights


@contextmanager
def _no_larger_than(path: Path, weights: dict[str, Tensor]) -> Iterator[None]:
    """Refuse to make a network that is larger than its weights, before it fills the memory."""
    # Parameters can be registered again, or be shared and saved once.
    room = 4 * sum(tensor.numel() for tensor in weights.values())

    def count(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        nonlocal room
        room -= 0 if parameter is None else parameter.numel()
        if room < 0:
            raise UserError(f"{path}: its configuration is of a larger network than its weights")

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    except (ArithmeticError, IndexError, RuntimeError, ValueError) as error:
        raise UserError(f"{path}: its network cannot be made ({first_line(error)})") from None
    finally:
        handle.remove()


def _check_finite(path: Path, weights: dict[str, Tensor]) -> None:
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise UserError(f"{path}: its weights {name} are not all finite numbers")


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
        When the checkpoint cannot be used, is not the file that the ledger beside it speaks of, has
        other inputs, or a network of other sizes.
    """
    if path.is_file():
        check_ledger(path)
    checkpoint = read_checkpoint(path)
    check_same(path, checkpoint["description"], task, task.reader.describe())
    parts = task.config.start.parts or task.config.parts
    wanted = {name: x for name, x in task.state_dict().items() if task.part_of(name) in parts}
    found = _weights(path, checkpoint)
    for name, tensor in wanted.items():
        shape = tuple(found[name].shape) if name in found else None
        if shape != tuple(tensor.shape):
            raise UserError(
                f"{path}: does not fit: {name} is {shape or 'not there'}, where the network has "
                f"{tuple(tensor.shape)}{_other_sizes(checkpoint['description'], task)}"
            )
    taken = {name: found[name] for name in wanted}
    _check_finite(path, taken)
    task.load_state_dict(taken, strict=False)
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
    started = time.perf_counter()
    converted = load_task_type(task).convert(weights)
    description = converted.describe() | {"dataset_sha256": None}
    content = {"description": description, "state_dict": converted.state_dict(), "history": []}
    write_checkpoint(content, output)
    write_ledger(output, started, task=task, source=weights.name)


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
