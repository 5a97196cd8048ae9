"""A local Slurm for the tests of this folder, and what a plain run makes of the same dataset."""

import pytest
from local_slurm import LocalSlurm, missing
from mini_dataset import build, shards, write_config


@pytest.fixture(scope="session")
def config(tmp_path_factory):
    """Return the file of a dataset of six shards, made in seconds each."""
    return write_config(tmp_path_factory.mktemp("config"))


@pytest.fixture(scope="session")
def undisturbed(config, tmp_path_factory):
    """Return the checksums of the shards that a plain run on this machine makes."""
    folder = tmp_path_factory.mktemp("undisturbed")
    result = build(folder, config, "datasets")
    assert result.returncode == 0, result.stderr[-5000:]
    return shards(folder)


@pytest.fixture
def slurm(tmp_path):
    """Start a Slurm for one test."""
    if reason := missing():
        pytest.skip(reason)
    with LocalSlurm(tmp_path / "slurm") as cluster:
        yield cluster
