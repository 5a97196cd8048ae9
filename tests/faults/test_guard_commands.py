"""Wrong arguments of commands: one sentence, and no output."""

import os
import subprocess
import sys

import pytest

from generation.cli import main as generation
from generation.external.cli import main as external
from ntuplizer.cli import main as ntuplizer
from provenance.errors import UserError
from training.cli import main as training
from workflow.cli import main as workflow
from workflow.config_model import ROOT
from workflow.jobs.containers import write_plan
from workflow.jobs.study import gather_study

BEYOND = str(10**20)
SIMULATE = "simulate --process res34p --events 5 --output OUT"
SHARD = "shard x.parquet --rows 5 --dataset d --split train --output OUT"
PLAN = "plan --process res34p --output OUT"
PILEUP = "pileup --scratch . --output OUT"
SOPHON = str(ROOT / "training" / "configs" / "sophon.yaml")
SUMMARY = f"summary --config {SOPHON}"
ZEROS = "0" * 64

WRONG = [
    (generation, f"{SIMULATE} --seed {BEYOND}", f"seed {BEYOND} is out of range: 0 to"),
    (generation, f"{SIMULATE} --seed -1", "seed -1 is out of range"),
    (generation, f"{SIMULATE} --seed nan", "invalid int value: 'nan'"),
    (generation, f"{SIMULATE} --seed 1 --events -5", "-5 events asked for; at least 1"),
    (generation, f"{SIMULATE} --seed 1 --events {10**23}", "out of range"),
    (generation, f"{SIMULATE} --seed 1 --events-per-batch 0", "0 events per batch asked for"),
    (generation, f"{SIMULATE} --seed 1 --first-batch -1", "batch -1 is out of range"),
    (generation, f"{SIMULATE} --seed 1 --first-batch {BEYOND}", "is out of range"),
    (generation, f"{SIMULATE} --seed 1 --process nope", "no process 'nope'; known are"),
    (generation, f"{SIMULATE} --seed 1 --card /etc/passwd", "not a command that a card may use"),
    (generation, "pileup --events 0 --seed 1 --output OUT", "0 events asked for"),
    (generation, f"pileup --events 5 --seed {BEYOND} --output OUT", "is out of range"),
    (generation, f"resimulate x.root --seed {BEYOND} --output OUT", "is out of range"),
    (ntuplizer, "jets x.root --output OUT --stored-parton-pt nan", "stored_parton_pt: a finite"),
    (ntuplizer, "jets x.root --output OUT --stored-parton-pt inf", "stored_parton_pt: a finite"),
    (ntuplizer, "jets x.root --output OUT --jet-radius 0", "jet_radius: greater than 0"),
    (ntuplizer, "energy x.root --output OUT --jet-pt-min nan", "jet_pt_min: a finite number"),
    (ntuplizer, f"{SHARD} --part ../Q --index 0 --seed 1", "part '../Q': a name of 1 to 32"),
    (ntuplizer, f"{SHARD} --part Q --index -1 --seed 1", "must not be negative"),
    (ntuplizer, f"{SHARD} --part Q --index 0 --seed {BEYOND}", "from 0 to 2^64 - 1 is needed"),
    (ntuplizer, f"{SHARD} --part Q --index 0 --seed 1 --split all", "one of train, val, test"),
    (external, f"fetch --url nonsense --sha256 {ZEROS} --output OUT", "address that begins with"),
    (external, f"fetch --url http://[x/y --sha256 {ZEROS} --output OUT", "cannot be fetched"),
    (external, f"fetch --url file:///x/y --sha256 {ZEROS} --output OUT", "cannot be fetched"),
    (external, f"fetch --url ftp://x/y --sha256 {ZEROS} --output OUT", "address that begins with"),
    (external, f"{PLAN} --batches 0 --events-per-batch 5 --seed 1", "no batches asked for"),
    (external, f"{PLAN} --batches {10**11} --events-per-batch 5 --seed 1", "1 to 2250000"),
    (external, f"{PLAN} --batches 5 --events-per-batch 0 --seed 1", "0 events per batch"),
    (external, f"{PLAN} --batches 5 --events-per-batch 5 --seed {BEYOND}", "is out of range"),
    (external, f"{PLAN} --batches 5 --events-per-batch 5 --seed 1 --place 99", "place 99 is out"),
    (external, f"{PLAN} --batches 5 --events-per-batch 5 --seed 1 --first -9", "batch -9 is out"),
    (external, f"{PILEUP} --events 0 --seed 1", "0 events asked for"),
    (external, f"{PILEUP} --events 5 --seed {BEYOND}", "is out of range"),
    (
        external,
        "process-directory --process nope --scratch . --output OUT",
        "'nope': MadGraph has no part",
    ),
    (
        external,
        "process-directory --process res34p --model x --scratch . --output OUT",
        "model x: no archive",
    ),
    (training, f"{SUMMARY} --set run.devices=0", "run.devices = 0"),
    (training, f"{SUMMARY} --set run.devices=-5", "run.devices = -5"),
    (training, f"{SUMMARY} --set model.heads=7", "heads = 7 must divide"),
    (training, f"{SUMMARY} --set model.embedding=[]", "model.embedding = []"),
    (training, f"{SUMMARY} --set optimizer.learning_rate=.nan", "learning_rate = nan"),
    (training, f"{SUMMARY} --set seed={BEYOND}", "less than"),
    (training, f"{SUMMARY} --set epochs=3 --set =3", "--set =3: write key=value"),
    (training, f"{SUMMARY} --set data={{workers:", "not YAML"),
    (training, "summary --config /dev/zero", "larger than a configuration may be"),
    (training, "summary --config none.yaml", "none.yaml: no such file"),
    (training, "summary --config .", "Is a directory"),
    (workflow, "report --name x --config [1 --output OUT", "--config: not JSON"),
    (workflow, "report --name x --config [1] --output OUT", "--config: a JSON object is needed"),
]


@pytest.mark.parametrize(("command", "arguments", "sentence"), WRONG)
def test_a_wrong_argument_is_named(command, arguments, sentence, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    words = [word.replace("OUT", "output") for word in arguments.split()]
    with pytest.raises((UserError, SystemExit)) as refused:
        command(words)
    said = str(refused.value)
    if isinstance(refused.value, SystemExit):
        assert refused.value.code == 2
        said = capfd.readouterr().err
    assert sentence in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("job", ["x", "{}", "[]", '{"process": "res34p"}', '{"points": 3}'])
def test_a_wrong_job_is_named(job, tmp_path):
    with pytest.raises(UserError, match="--job: "):
        write_plan(job, tmp_path / "plan.npz")
    with pytest.raises(UserError, match="--job: "):
        gather_study(job, tmp_path, tmp_path / "study.json")
    assert list(tmp_path.iterdir()) == []


def test_letters_that_a_terminal_lacks_are_no_error():
    ascii_only = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    result = subprocess.run(
        [sys.executable, "-m", "generation", "processes"],
        env=os.environ | ascii_only, capture_output=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert rb"\u03bd" in result.stdout
