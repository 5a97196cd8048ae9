"""What a training or an evaluation runs on."""

import torch

from provenance.errors import UserError
from training.config import RunConfig


def check_devices(run: RunConfig) -> None:
    """Refuse a run that asks for GPUs which are not there.

    Raises
    ------
    UserError
        Names how many were asked for and how many there are.
    """
    available = torch.cuda.device_count()
    asked = run.devices if isinstance(run.devices, int) else 1
    if run.accelerator == "gpu" and asked > available:
        raise UserError(
            f"run.devices asks for {asked} GPUs and this machine has {available}: "
            "lower it or set run.accelerator to cpu"
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
