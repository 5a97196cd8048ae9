"""The published dataset plans quickly in either backend, and in little memory."""

import importlib.util

import pytest
import yaml

from workflow.config_model import ROOT

SECONDS, MEGABYTES = 120, 4000


@pytest.fixture(scope="module")
def benchmark():
    """Return the module `benchmarks/dag.py`, which measures."""
    spec = importlib.util.spec_from_file_location("dag", ROOT / "benchmarks" / "dag.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("backend", "jobs"), [("embedded", 2_016), ("containers", 10_000)])
def test_published_dataset_plans_in_time(benchmark, backend, jobs, tmp_path):
    config = yaml.safe_load((ROOT / "config" / "jetclass2.yaml").read_text())
    if backend == "containers":
        config = benchmark.with_containers(config)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    planned, seconds, memory = benchmark.plan(path)
    assert planned >= jobs
    assert seconds < SECONDS
    assert memory < MEGABYTES
