"""Jobs that do not train load no PyTorch: thousands of them start in a run."""

import json
import subprocess
import sys

import pytest
from jet_dataset import write_jet_dataset

from provenance.files import write_json
from workflow.config_model import Study
from workflow.fits import Point
from workflow.jobs.description import ShardJob
from workflow.jobs.study import study_job

STUDY = Study.model_validate({"training": "tagger", "seeds": [1], "metric": "accuracy"})
# Each command, then the packages of interest that the process holds by then.
SCRIPT = """
import json, sys
from importlib import import_module
for package, *arguments in json.loads(sys.argv[1]):
    import_module(f"{package}.cli").main(arguments)
    loaded = [name for name in ("torch", "lightning", "sklearn") if name in sys.modules]
    print(json.dumps(["loaded", package, arguments[0], loaded]))
"""
# What the rules run and is too slow, or too bound to a run, to be run here.
MODULES = ("generation.pileup", "workflow.jobs.containers", "workflow.report", "ntuplizer.verify")


@pytest.fixture
def commands(pileup_library, tmp_path):
    """Return calls as the rules make them, on very little."""
    jets = write_jet_dataset(tmp_path / "jets", ("train", "val", "test"), 10)
    point = Point("tagger", None, 1, "size/tagger_-_1", "accuracy")
    metrics = tmp_path / "evaluation" / point.fit / "metrics.json"
    write_json(metrics, {"summary": {"accuracy": 0.5}})
    shard = ShardJob(
        dataset="jets", part="QCD", index=0, split="train", product="jets",
        options={"qcd_labels": True}, processes={"qcd": 1}, seed=3,
        card="delphes_cards/jetclass2_fatjet.tcl", events_per_batch=2, rows=1, inputs={},
    )  # fmt: skip
    output = f"--output={tmp_path}"
    return [
        ["generation", "processes"],
        ["ntuplizer", "manifest", str(jets), "--name=jets", "--seed=5", f"{output}/a.json"],
        ["ntuplizer", "card", str(jets)],
        ["ntuplizer", "verify", str(jets)],
        ["workflow", "study", "--job", study_job("size", STUDY, [point]),
         f"--evaluations={tmp_path}/evaluation", f"{output}/study.json"],
        ["workflow", "shard", "--job", shard.text, f"--pileup={pileup_library}",
         f"{output}/QCD_0000.parquet"],
    ]  # fmt: skip


def test_no_job_loads_what_it_does_not_use(commands):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(commands)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    seen = [json.loads(line)[1:] for line in done.stdout.splitlines() if '["loaded"' in line]
    assert seen == [[package, name, []] for package, name, *_ in commands]


def test_modules_of_jobs_load_no_pytorch():
    code = f"import sys\nfor name in {MODULES}: __import__(name)\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
