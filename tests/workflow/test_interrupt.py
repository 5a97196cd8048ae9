"""Interrupted work: the next call goes on, and nothing half-written is ever taken for whole.

Each test disturbs a run of two small shards, looks at what it left, and calls the same command
again: the bytes must be those of a run that nobody disturbed.
"""

import os
import resource
import signal
import time
from pathlib import Path

import pytest
from mini_dataset import (
    PATIENCE,
    PILEUP,
    SHARDS,
    await_shard,
    build,
    dataset,
    find_process,
    mounted,
    remount,
    shards,
    start,
    with_library,
    write_config,
)

pytestmark = pytest.mark.slow

TARGETS = SHARDS[:2]
# Not enough address space for a shard, enough for Snakemake itself.
LITTLE_MEMORY = 700_000_000


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return write_config(tmp_path_factory.mktemp("config"))


@pytest.fixture(scope="module")
def library(config, tmp_path_factory):
    """Return a folder that holds the pile-up library only."""
    folder = tmp_path_factory.mktemp("library")
    result = build(folder, config, PILEUP)
    assert result.returncode == 0, result.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def undisturbed(config, library, tmp_path_factory):
    folder = with_library(library, tmp_path_factory.mktemp("undisturbed") / "run")
    result = build(folder, config, *TARGETS)
    assert result.returncode == 0, result.stderr[-3000:]
    return shards(folder)


@pytest.fixture
def folder(library, tmp_path):
    """Return a folder in which the pile-up library is there and no shard is."""
    return with_library(library, tmp_path / "run")


@pytest.fixture
def run(folder, config):
    """Start Snakemake; return it when it simulates its first shard."""
    process = start(folder, config, *TARGETS)
    assert await_shard(folder, process) is not None
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def assert_nothing_half_written(folder: Path, undisturbed: dict[str, str]) -> None:
    assert shards(folder).items() <= undisturbed.items()


def assert_next_call_completes(folder: Path, config: Path, undisturbed: dict[str, str]) -> None:
    result = build(folder, config, *TARGETS)
    assert result.returncode == 0, result.stderr[-5000:]
    assert shards(folder) == undisturbed
    assert not [file.name for file in dataset(folder).iterdir() if file.name.startswith(".")]


@pytest.mark.parametrize("delay", [0.0, 2.0, 5.0])
def test_machine_dies(run, folder, config, undisturbed, delay):
    time.sleep(delay)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert_nothing_half_written(folder, undisturbed)
    assert_next_call_completes(folder, config, undisturbed)


def test_snakemake_is_killed_and_its_job_goes_on(run, folder, config, undisturbed):
    run.kill()
    run.wait()
    assert_next_call_completes(folder, config, undisturbed)


def test_worker_is_killed(run, folder, config, undisturbed):
    os.kill(find_process(folder, "workflow", "shard"), signal.SIGKILL)
    assert run.wait(PATIENCE) != 0
    # The other shard was made all the same.
    assert len(shards(folder)) == 1
    assert_nothing_half_written(folder, undisturbed)
    assert_next_call_completes(folder, config, undisturbed)


def test_disk_is_full(folder, config, undisturbed):
    with mounted(dataset(folder), "16k"):
        result = build(folder, config, *TARGETS)
        assert result.returncode != 0
        assert "No space left on device" in result.stderr
        logs = [file.read_text() for file in (folder / "results" / "mini" / "logs").rglob("*.log")]
        assert not any("Traceback (most recent call last):\n  File" in log for log in logs)
        assert shards(folder) == {}
        remount(dataset(folder), "size=50m")
        assert_next_call_completes(folder, config, undisturbed)


@pytest.mark.parametrize("size", ["4k", "16k", "100k"])
def test_scratch_is_full(folder, config, undisturbed, tmp_path, monkeypatch, size):
    """What Pythia keeps there is made again where it finds no room."""
    with mounted(tmp_path / "scratch", size):
        monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
        result = build(folder, config, *TARGETS)
    assert result.returncode == 0, result.stderr[-2000:]
    assert shards(folder) == undisturbed


def test_output_is_read_only(folder, config, undisturbed):
    with mounted(dataset(folder), "50m"):
        remount(dataset(folder), "ro")
        result = build(folder, config, *TARGETS)
        assert result.returncode != 0
        assert shards(folder) == {}
        remount(dataset(folder), "rw")
        assert_next_call_completes(folder, config, undisturbed)


def test_memory_runs_out(folder, config, undisturbed):
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (LITTLE_MEMORY, limits[1]))
    try:
        result = build(folder, config, *TARGETS)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    assert result.returncode != 0
    assert shards(folder) == {}
    assert_next_call_completes(folder, config, undisturbed)
