"""Drills on real runs: whatever happens to a run, the next call ends with the same bytes."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
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
    mounted,
    remount,
    shards,
    start,
    with_library,
    write_config,
)

from provenance.files import read_json, sha256
from provenance.ledger import ledger_path
from workflow.config_model import ROOT

pytestmark = [pytest.mark.faults, pytest.mark.slow]

KILLS = 20


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return write_config(tmp_path_factory.mktemp("config"))


@pytest.fixture(scope="module")
def undisturbed(config, tmp_path_factory) -> Path:
    """Return the folder of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    result = build(folder, config, *SHARDS)
    assert result.returncode == 0, result.stderr[-3000:]
    assert len(shards(folder)) == len(SHARDS)
    return folder


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it had just ended


def test_twenty_kills(undisturbed, config, tmp_path, monkeypatch):
    """Worker, controller, or both are killed at random times, in one run that is always resumed."""
    folder = tmp_path / "run"
    shutil.copytree(undisturbed, folder)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    wanted = shards(undisturbed)
    chance = random.Random(20)
    killed = 0
    while killed < KILLS:
        for index in chance.sample(range(len(SHARDS)), 2):
            dataset(folder).joinpath(f"Res34P_{index:04d}.parquet").unlink(missing_ok=True)
        run = start(folder, config, *SHARDS)
        job = await_shard(folder, run)
        time.sleep(chance.uniform(0, 4))
        if job is not None and run.poll() is None:
            victim = ("worker", "controller", "both")[killed % 3]
            killed += 1
            if victim == "worker":
                kill(job)
            elif victim == "controller":
                run.kill()
            else:
                os.killpg(run.pid, signal.SIGKILL)
        run.wait(PATIENCE)
        assert shards(folder).items() <= wanted.items()
    result = build(folder, config, *SHARDS)
    assert result.returncode == 0, result.stderr[-3000:]
    assert shards(folder) == wanted
    assert not [file.name for file in dataset(folder).iterdir() if file.name.startswith(".")]
    assert len(list((tmp_path / "scratch").glob("jetclass-*"))) <= 1


def test_two_controllers_in_one_folder(undisturbed, config, tmp_path):
    folder = with_library(undisturbed, tmp_path / "run")
    first = start(folder, config, SHARDS[0])
    assert await_shard(folder, first) is not None
    second = build(folder, config, SHARDS[1])
    assert second.returncode != 0
    assert f"another run works here (process {first.pid} on" in second.stderr
    assert first.wait(PATIENCE) == 0
    assert list(shards(folder).items()) == list(shards(undisturbed).items())[:1]


def test_a_cold_cache_is_filled_by_several_at_once(undisturbed, tmp_path):
    """Jobs that compile the same kernels at the same time do not spoil each other's."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "kernels")}
    shard = dataset(undisturbed) / "Res34P_0000.parquet"
    job = json.dumps(read_json(ledger_path(shard))["job"])

    def fill(name: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "workflow", "shard", "--job", job,
             "--pileup", undisturbed / PILEUP, "--output", tmp_path / f"{name}.parquet"],
            env=environment, cwd=ROOT, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    together = [fill(name) for name in "abc"]
    for process in together:
        assert process.wait(600) == 0, process.stderr.read()
    alone = fill("alone")
    assert alone.wait(PATIENCE) == 0, alone.stderr.read()
    made = {sha256(tmp_path / f"{name}.parquet") for name in ("a", "b", "c", "alone")}
    assert made == {sha256(shard)}


def test_little_scratch(undisturbed, config, tmp_path, monkeypatch):
    folder = with_library(undisturbed, tmp_path / "run")
    with mounted(tmp_path / "scratch", "100m") as scratch:
        monkeypatch.setenv("TMPDIR", str(scratch))
        result = build(folder, config, SHARDS[4])
    assert result.returncode == 0, result.stderr[-3000:]
    assert shards(folder).items() <= shards(undisturbed).items()


def test_odd_surroundings(undisturbed, config, tmp_path, monkeypatch):
    """No UTF-8, files for the owner alone, another time zone, a link to a folder of odd letters."""
    folder = with_library(undisturbed, tmp_path / "a run, möglichst 'odd' (2)")
    link = tmp_path / "link"
    link.symlink_to(folder)
    for name, value in {
        "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "TZ": "Pacific/Apia",
        "PYTHONHASHSEED": "random",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    before = os.umask(0o077)
    try:
        result = build(link, config, SHARDS[5])
    finally:
        os.umask(before)
    assert result.returncode == 0, result.stderr[-3000:]
    assert shards(folder).items() <= shards(undisturbed).items()
    assert dataset(folder).joinpath("Res34P_0005.parquet").stat().st_mode & 0o077 == 0


def test_a_home_that_cannot_be_written(config, tmp_path):
    with mounted(tmp_path / "home", "1m") as home:
        remount(home, "ro")
        environment = {
            name: value for name, value in os.environ.items() if name != "XDG_CACHE_HOME"
        }
        result = subprocess.run(
            ["make", "-C", ROOT, "plan", f"CONFIG={config}", f"VENV={sys.prefix}",
             "-o", f"{sys.prefix}/.installed"],
            env=environment | {"HOME": str(home)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    assert "pileup_library" in result.stdout + result.stderr
