"""Training: the one entry for all tasks."""

import csv
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import torch
from lightning.fabric import Fabric

from provenance.errors import UserError, first_line
from provenance.files import atomic_output, refuse_replacing, sha256, write_json
from provenance.ledger import write_ledger
from provenance.lock import locked
from training.checkpoint import (
    Checkpoint,
    make_task,
    read_checkpoint,
    start_from,
    write_checkpoint,
)
from training.config import FitConfig, RunConfig
from training.data.loaders import TrainingData, plain_errors
from training.data.shards import open_dataset
from training.devices import (
    check_devices,
    compiles,
    device_count,
    device_name,
    limit_threads,
    plain_device_errors,
)
from training.loop import HistoryRow, Training
from training.task import Description

# Saved for going on, beside the results, and what was saved before that.
LAST = "last.ckpt"
PREVIOUS = "previous.ckpt"
RESULT = "checkpoint.ckpt"
# Rows that are enough to adjust predictions by.
MOST_CALIBRATED = 500_000


class Saved(NamedTuple):
    """What a training goes on with, and where it was read."""

    path: Path
    state: Checkpoint


@plain_device_errors()
def fit(
    config: FitConfig,
    manifest: Path,
    output: Path,
    *,
    start: Path | None = None,
    weights: Path | None = None,
    restart: bool = False,
) -> None:
    """Train, and write checkpoint, history and summary.

    A training that was interrupted goes on by itself: `last.ckpt` in the folder is taken up when it
    is of the same configuration, dataset, start and sampling weights, and of this version of the
    task; where it is damaged, the one saved before it. Otherwise it begins anew. A line on stderr
    says which, and which results are replaced.

    Parameters
    ----------
    config
        The training.
    manifest
        Of the dataset; its splits `train` and `val` are used.
    output
        Folder for `checkpoint.ckpt` (averaged weights, contract 5), `history.csv`, `summary.json`,
        `logs/` (TensorBoard), `last.ckpt` and `previous.ckpt`.
    start
        A checkpoint to begin with, in the place of `config.start.checkpoint`.
    weights
        Sampling weights of `python -m training weights`; None: every row once per pass.
    restart
        Begin anew in any case.

    Raises
    ------
    UserError
        When the data or the devices asked for are not there, another training works in the folder,
        no row passes the selection, a loss is no number, or a checkpoint cannot be used or would be
        replaced.
    """
    check_devices(config.run)
    limit_threads(config.run)
    start = start or config.start.checkpoint
    if start is None and (config.start.frozen or config.start.parts):
        raise UserError("start.parts and start.frozen speak of a checkpoint: give start.checkpoint")
    if start is not None:
        refuse_replacing([output / name for name in (RESULT, LAST, PREVIOUS)], [start])
    fabric = make_fabric(config.run)
    with _alone(output, fabric), plain_errors():
        torch.manual_seed(config.seed)
        task = make_task(config)
        dataset = open_dataset(manifest, config, task.reader)
        data = TrainingData(dataset, task.reader, config, weights)
        if start is not None:
            start_from(task, start)
        description = task.describe() | {
            "product": dataset.product,
            "dataset_sha256": dataset.sha256,
            "start_sha256": None if start is None else sha256(start),
            "weights_sha256": None if data.weights is None else data.weights.sha256,
        }
        saved, said = (None, "") if restart else _saved_before(output, description)
        if fabric.is_global_zero:
            if said:
                sys.stderr.write(f"{said}\n")
            if saved is None and (output / RESULT).exists():
                sys.stderr.write(f"{output / RESULT}: is replaced when this training ends\n")
        if compiles(config.run):
            task.compile_network()
        fabric.launch()
        training = Training(task, data, fabric, output / "logs")
        if saved is not None:
            _go_on(training, saved)
            if fabric.is_global_zero:
                sys.stderr.write(_going_on(saved.path, training))
        last_is_sound = saved is not None and saved.path == output / LAST

        def save(content: Checkpoint) -> None:
            nonlocal last_is_sound
            if fabric.is_global_zero:
                if last_is_sound:
                    _keep(output)
                write_checkpoint({"description": description, **content}, output / LAST)
                last_is_sound = True
                _write_history(training.history, output / "history.csv")

        training.run(save)
        if fabric.is_global_zero:
            _write_results(training, description, output)


def make_fabric(run: RunConfig) -> Fabric:
    """Return what runs on the devices that a configuration asks for."""
    # Its advice is about loaders of other kinds.
    warnings.filterwarnings("ignore", ".*`srun` command is available.*")
    return Fabric(accelerator=run.accelerator, devices=device_count(run), precision=run.precision)


@contextmanager
def _alone(output: Path, fabric: Fabric) -> Iterator[None]:
    """Keep other trainings out of a folder; the first process of several holds the lock."""
    if not fabric.is_global_zero:
        yield
        return
    with lock_of(output):
        yield


def lock_of(output: Path) -> AbstractContextManager[None]:
    """Return the lock that a training holds of the folder of its results."""
    return locked(output / ".lock", "training")


def _saved_before(output: Path, description: Description) -> tuple[Saved | None, str]:
    """Return what was saved of the same training, and why it is not, or not the last."""
    damaged: list[str] = []
    for path in (output / LAST, output / PREVIOUS):
        if not path.exists():
            continue
        try:
            state = read_checkpoint(path)
        except UserError as error:
            damaged.append(str(error))
            continue
        before, now = _identity(state["description"]), _identity(description)
        differing = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        if differing:
            other = f"{path}: is of a training with other {_listed(differing)}"
            return None, "; ".join([*damaged, other, "begins anew"])
        said = [*damaged, "the one saved before it is taken"] if damaged else []
        return Saved(path, state), "; ".join(said)
    return None, "; ".join([*damaged, "begins anew"] if damaged else [])


def _go_on(training: Training, saved: Saved) -> None:
    try:
        training.load_state_dict(saved.state)
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            f"{saved.path}: lacks what a training needs ({first_line(error)}); "
            "--restart trains anew"
        ) from None


def _keep(output: Path) -> None:
    """Keep what was saved last under another name; it stays under its own as well."""
    previous = output / PREVIOUS
    previous.unlink(missing_ok=True)
    # Some file systems have no links: there the last one alone is kept.
    with suppress(OSError):
        previous.hardlink_to(output / LAST)


def _identity(description: Description) -> dict[str, object]:
    """Return what must agree for a training to go on, flat; where it runs need not."""
    flat: dict[str, object] = {}

    def add(value: object, name: str) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                add(item, f"{name}.{key}" if name else str(key))
        else:
            flat[name] = value

    add(description, "")
    free = ("config.run.", "config.start.checkpoint")
    kept = "config.run.precision"
    return {
        name.removeprefix("config."): value
        for name, value in flat.items()
        if name == kept or not name.startswith(free)
    }


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _going_on(path: Path, training: Training) -> str:
    if training.step >= training.total:
        return (
            f"{path}: this training is finished ({training.step} steps); its results are written "
            "again, --restart trains anew\n"
        )
    return f"{path}: goes on after step {training.step} of {training.total}\n"


def _write_history(history: list[HistoryRow], path: Path) -> None:
    columns = list(dict.fromkeys(name for row in history for name in row))
    with atomic_output(path) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(history)


def _calibration(training: Training) -> Mapping[str, object] | None:
    """Return what the result's predictions are adjusted by, of the rows validated on."""
    task = training.task
    if not task.calibrated:
        return None
    from training.evaluate.evaluate import collect_groups

    task.load_state_dict(training.result())
    task.use_calibration(None)
    groups = training.data.val
    rows, _, _ = collect_groups(task.eval(), groups, task.calibrated, MOST_CALIBRATED)
    return task.calibrate(rows)


def _write_results(training: Training, description: Description, output: Path) -> None:
    checkpoint = output / RESULT
    content = {
        "description": description,
        "state_dict": training.result(),
        "history": training.history,
        "calibration": _calibration(training),
    }
    write_checkpoint(content, checkpoint)
    _write_history(training.history, output / "history.csv")
    summary = {
        "task": description["task"],
        "parameters": sum(p.numel() for p in training.task.network.parameters()),
        "device": device_name(training.fabric.device),
        "devices": training.fabric.world_size,
        "epochs": len(training.history),
        "steps": training.step,
        "result": training.kept,
        "config": description["config"],
        "dataset_sha256": description["dataset_sha256"],
    }
    # The time of all calls that it took.
    write_ledger(checkpoint, time.perf_counter() - training.seconds, **summary)
    write_json(output / "summary.json", summary | {"wall_seconds": round(training.seconds, 3)})
