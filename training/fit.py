"""Training: the one entry for all tasks."""

import logging
import sys
import time
import warnings
from pathlib import Path

from lightning import Trainer, seed_everything
from lightning.pytorch.callbacks import (
    Callback,
    EMAWeightAveraging,
    LearningRateMonitor,
    ModelCheckpoint,
)
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from provenance.files import atomic_output, write_json
from provenance.ledger import write_ledger
from training.callbacks import History, StepSeed, StreamPosition, Throughput
from training.checkpoint import check_resumable, load_task
from training.config import FitConfig
from training.data.module import JetData, plain_errors
from training.devices import (
    check_devices,
    compiles,
    device_count,
    device_name,
    limit_threads,
)
from training.tasks import make_task

# Saved for resuming, beside the results.
LAST = "last.ckpt"


def fit(config: FitConfig, manifest: Path, output: Path, resume: bool = False) -> None:
    """Train, and write checkpoint, history and summary.

    Parameters
    ----------
    config
        The training.
    manifest
        Of the dataset; its splits `train` and `val` are used.
    output
        Folder for `checkpoint.ckpt` (averaged weights, contract 5), `history.csv`, `summary.json`,
        `logs/` (CSV and TensorBoard) and `last.ckpt`, from which an interrupted training goes on.
    resume
        Go on from `last.ckpt` where there is one.

    Raises
    ------
    UserError
        When the data or the devices asked for are not there, no jet passes the selection, or the
        checkpoint to go on from is damaged or of another network.
    """
    started = time.perf_counter()
    check_devices(config.run)
    limit_threads(config.run)
    quieten()
    seed_everything(config.seed, workers=True, verbose=False)
    output.mkdir(parents=True, exist_ok=True)
    pretrained = None
    if config.transfer is not None and config.transfer.checkpoint is not None:
        trained = load_task(config.transfer.checkpoint)
        pretrained = trained.network
        config = config.model_copy(update={"model": trained.config.model})
    if config.transfer is None:
        data = JetData(manifest, config.data, config.seed)
    else:
        classes = len(config.transfer.labels)
        data = JetData(manifest, config.data, config.seed, labels=None, classes=classes)
    task = make_task(config, pretrained)
    if compiles(config.run):
        task.network.compile_parts()
    parameters = sum(p.numel() for p in task.network.parameters())
    throughput = Throughput()
    history = History(output / "history.csv", throughput)
    trainer = make_trainer(config, data, output, [throughput, history])
    last = output / LAST
    going_on = resume and last.exists()
    if going_on:
        check_resumable(last, config)
    with plain_errors():
        trainer.fit(task, data, ckpt_path=last if going_on else None, weights_only=True)
    checkpoint = output / "checkpoint.ckpt"
    if not trainer.is_global_zero:
        # Every process gives its state, the first one writes.
        trainer.save_checkpoint(checkpoint)
        return
    with atomic_output(checkpoint) as temporary:
        trainer.save_checkpoint(temporary)
    description = {
        "task": config.task,
        "parameters": parameters,
        "device": device_name(trainer),
        "devices": trainer.world_size,
        "epochs": trainer.current_epoch,
        "steps": trainer.global_step,
        "result": history.rows[-1],
        "config": config.model_dump(mode="json"),
    }
    write_ledger(checkpoint, started, **description)
    write_json(
        output / "summary.json",
        {**description, "wall_seconds": round(time.perf_counter() - started, 3)},
    )


def make_trainer(
    config: FitConfig, data: JetData, output: Path, callbacks: list[Callback]
) -> Trainer:
    """Return Lightning's trainer for a configuration, its logs and checkpoints under `output`."""
    run = config.run
    return Trainer(
        accelerator=run.accelerator,
        devices=device_count(run),
        precision=run.precision,
        max_epochs=config.epochs,
        limit_train_batches=data.steps_per_epoch(device_count(run)),
        limit_val_batches=data.validation_steps(device_count(run)),
        gradient_clip_val=config.optimizer.gradient_clip,
        num_sanity_val_steps=0,
        # The streams hand every device its own jets.
        use_distributed_sampler=False,
        log_every_n_steps=50,
        enable_model_summary=False,
        # Without a terminal the history's line per epoch is the progress.
        enable_progress_bar=sys.stderr.isatty(),
        default_root_dir=output,
        logger=[CSVLogger(output, "logs", ""), TensorBoardLogger(output, "logs", "tensorboard")],
        callbacks=[
            StepSeed(config.seed),
            StreamPosition(),
            *callbacks,
            EMAWeightAveraging(decay=config.optimizer.ema_decay),
            LearningRateMonitor("step"),
            ModelCheckpoint(
                output,
                filename=Path(LAST).stem,
                enable_version_counter=False,
                every_n_train_steps=run.checkpoint_steps,
                every_n_epochs=None if run.checkpoint_steps else 1,
                save_on_train_epoch_end=True,
            ),
        ],
    )


def quieten() -> None:
    """Hide Lightning's advice; what it says does not apply to streams or is for its authors."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",
        ".*`srun` command is available.*",
        ".*exists and is not empty.*",
        ".*smaller than the logging interval.*",
        ".*isinstance.treespec, LeafSpec.*",
        ".*in eval mode at the start of training.*",
    ):
        warnings.filterwarnings("ignore", message)
