"""What a device or a compiler refuses ends in one sentence that names the way out."""

import subprocess

import pytest
import torch
from torch._inductor import config as inductor

from provenance.errors import UserError
from training.config import RunConfig
from training.devices import check_devices, plain_device_errors


@pytest.mark.parametrize(
    ("gpus", "run", "words"),
    [
        (0, {"devices": 10_000}, "10000 processes, as there is no GPU"),
        (8, {"devices": 10_000, "accelerator": "cpu"}, "10000 processes"),
        (1, {"devices": 2}, "2 GPUs and this machine has 1"),
        (0, {"accelerator": "gpu"}, "1 GPUs and this machine has 0"),
    ],
)
def test_more_devices_than_there_are_are_refused(monkeypatch, gpus, run, words):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(UserError, match=words):
        check_devices(RunConfig(**run))
    check_devices(RunConfig(devices=max(gpus, 1)))


@pytest.mark.parametrize(
    ("error", "way_out"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried\nto allocate"), "data.batch_size"),
        (RuntimeError("Failed to find C compiler. Please specify"), "run.compile=false"),
        (RuntimeError("CUDA error: operation not permitted when stream is capturing"), "compile"),
        (subprocess.CalledProcessError(1, ["gcc", "main.c"]), "run.compile=false"),
    ],
)
def test_an_error_says_in_one_sentence_what_to_set(error, way_out):
    with pytest.raises(UserError, match=way_out) as seen, plain_device_errors():
        raise error
    assert "\n" not in str(seen.value)


def test_memory_that_is_used_up_during_a_capture_is_named():
    @plain_device_errors()
    def capture():
        try:
            raise torch.OutOfMemoryError("CUDA out of memory")
        finally:
            raise RuntimeError("CUDA error: operation failed due to an error during capture")

    with pytest.raises(UserError, match=r"data\.batch_size"):
        capture()


def test_other_errors_are_what_they_were():
    with pytest.raises(RuntimeError, match="shapes"), plain_device_errors():
        raise RuntimeError("shapes differ")


def test_a_compiler_that_is_not_there_is_named():
    """As in a container for running, where a GPU's kernels are compiled all the same."""
    torch.compiler.reset()
    double = torch.compile(lambda x: x * 2 + 1)
    with (
        inductor.patch({"cpp.cxx": (None, "/nowhere/c++")}),
        pytest.raises(UserError, match=r"run\.compile=false") as seen,
        plain_device_errors(),
    ):
        double(torch.ones(3))
    assert "/nowhere/c++" in str(seen.value)
    torch.compiler.reset()
