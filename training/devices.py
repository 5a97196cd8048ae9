"""What a training or an evaluation runs on."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from provenance.errors import UserError, first_line
from training.config import RunConfig

# Where errors of a compiler come from. Triton calls one for C, which may not be there.
COMPILERS = "torch._dynamo", "torch._inductor", "triton"
# More would only wait for each other, and fill the memory.
PROCESSES_PER_CORE = 2


def check_devices(run: RunConfig) -> None:
    """Refuse a run that asks for GPUs which are not there, or for far more processes than cores.

    Raises
    ------
    UserError
        Names how many were asked for and how many there are.
    """
    available, cores = torch.cuda.device_count(), os.cpu_count() or 1
    asked = run.devices if isinstance(run.devices, int) else 1
    on_gpus = run.accelerator == "gpu" or (run.accelerator == "auto" and available > 0)
    if on_gpus and asked > available:
        raise UserError(
            f"run.devices asks for {asked} GPUs and this machine has {available}: "
            "lower it or set run.accelerator to cpu"
        )
    if not on_gpus and asked > PROCESSES_PER_CORE * cores:
        raise UserError(
            f"run.devices asks for {asked} processes, as there is no GPU to use, and this machine "
            f"has {cores} cores: lower it"
        )


def device_count(run: RunConfig) -> int:
    """Return how many devices a run uses: all GPUs, or one process on a CPU, unless told."""
    if isinstance(run.devices, int):
        return run.devices
    return max(torch.cuda.device_count(), 1) if run.accelerator != "cpu" else 1


def compiles(run: RunConfig) -> bool:
    """Return whether a run compiles its network: on GPUs, unless told."""
    if run.compile is not None:
        return run.compile
    return torch.cuda.is_available() and run.accelerator != "cpu"


def limit_threads(run: RunConfig) -> None:
    """Keep PyTorch to the number of threads that a run asks for."""
    if run.threads is not None:
        torch.set_num_threads(run.threads)


def best_device() -> torch.device:
    """Return the first GPU, or the CPU where there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name(device: torch.device) -> str:
    """Return the name of a GPU, or `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


@contextmanager
def plain_device_errors() -> Iterator[None]:
    """Give one sentence to what a GPU, or a compiler of its kernels, refuses.

    Raises
    ------
    UserError
        When memory is used up, or a network cannot be compiled or captured.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise UserError(_memory(error)) from None
    except (RuntimeError, subprocess.CalledProcessError) as error:
        # What ends a capture may hide why.
        if isinstance(error.__context__, torch.OutOfMemoryError):
            raise UserError(_memory(error.__context__)) from None
        if not _of_compiler(error):
            raise
        raise UserError(
            f"the network cannot be compiled here ({first_line(error)}): run.compile=false goes "
            "on without, slower"
        ) from None


def _memory(error: Exception) -> str:
    return f"the memory of the GPU is used up ({first_line(error)}): lower data.batch_size"


def _of_compiler(error: Exception) -> bool:
    if isinstance(error, subprocess.CalledProcessError):
        return True
    said = str(error)
    # Of Triton's kernels, which are compiled when they are first launched, and of captures.
    compiling = "C compiler" in said or "captur" in said
    return type(error).__module__.startswith(COMPILERS) or compiling
