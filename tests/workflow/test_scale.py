"""The published dataset plans quickly with either backend, and in little memory."""

import importlib.util

import pytest

from workflow.config_model import ROOT

SECONDS, MEGABYTES = 60, 1000


@pytest.fixture(scope="module")
def benchmark():
    """Return the module `benchmarks/dag.py`, which measures."""
    spec = importlib.util.spec_from_file_location("dag", ROOT / "benchmarks" / "dag.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("config", "jobs"), [("jetclass2", 2_010), ("jetclass2-containers", 2_300)]
)
def test_published_dataset_plans_in_time(benchmark, config, jobs):
    planned, seconds, memory = benchmark.plan(ROOT / "config" / f"{config}.yaml")
    assert planned > jobs
    assert seconds < SECONDS
    assert memory < MEGABYTES
