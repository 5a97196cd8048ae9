"""A hundred wrong configurations: each refused at once, naming key, value and what is right."""

import copy
import math
import time

import pytest

from provenance.errors import UserError
from workflow.config_model import ROOT
from workflow.planning import make_plan, read_files

QUICKSTART = ROOT / "config" / "quickstart.yaml"
# Of a planning, however wrong the configuration.
PATIENCE = 3.0
MISSING = object()

JETS = "datasets.jets"
PART = "datasets.jets.parts.QCD"
SOPHON = "training.sophon"
STUDY = {"training": "sophon", "seeds": [1, 2], "metric": "accuracy"}
NAN, INFINITY = math.nan, math.inf
WHOLE = "valid integer"

# Key, its value, and words that the sentence must hold.
WRONG = [
    # the run
    ("nmae", "x", ["nmae is unknown", "known here: name, seed, generation"]),
    ("name", MISSING, ["name is missing"]),
    ("name", "../escape", ["name = '../escape'", "pattern"]),
    ("name", "", ["name = ''", "pattern"]),
    ("name", "a b", ["name = 'a b'", "pattern"]),
    ("name", "$(reboot)", ["name = '$(reboot)'", "pattern"]),
    ("name", "x" * 200, ["name = 'xxx", "at most 100"]),
    ("name", 2024, ["name = 2024", "valid string"]),
    ("seed", -1, ["seed = -1", "greater than or equal to 0"]),
    ("seed", 10**20, ["seed = 100000000000000000000", "less than or equal to"]),
    ("seed", True, ["seed = True", WHOLE]),
    ("seed", "1", ["seed = '1'", WHOLE]),
    ("seed", 1.5, ["seed = 1.5", WHOLE]),
    ("seed", None, ["seed = None", WHOLE]),
    ("seed", INFINITY, ["seed = inf", "integer"]),
    ("generation", MISSING, ["generation is missing"]),
    ("datasets", {}, ["datasets"]),
    ("datasets", [1], ["datasets = [1]", "a mapping"]),
    ("datasets.1jets", {}, ["datasets.1jets", "pattern"]),
    ("datasets.jets/../..", {}, ["datasets.jets/../..", "pattern"]),
    # generation
    ("generation.n_events", 7, ["generation.n_events is unknown", "known here: backend"]),
    ("generation.backend", "embeded", ["backend = 'embeded'", "'embedded' or 'containers'"]),
    ("generation.backend", "containers", ["events_per_shard is needed", "at most"]),
    ("generation.pileup_events", 0, ["pileup_events = 0", "greater than or equal to 100"]),
    ("generation.pileup_events", 10**9, ["pileup_events = 1000000000", "1000000"]),
    ("generation.pileup_events", "none", ["pileup_events = 'none'", WHOLE]),
    ("generation.events_per_batch", 0, ["events_per_batch = 0", "greater than or equal to 1"]),
    ("generation.events_per_batch", 10**6, ["events_per_batch = 1000000", "1000"]),
    ("generation.events_per_batch", NAN, ["events_per_batch = nan", "integer"]),
    ("generation.containers", {"image": "$(reboot)"}, ["image = '$(reboot)'", "pattern"]),
    ("generation.containers", {"image": "--rm x"}, ["image = '--rm x'", "pattern"]),
    ("generation.containers", {"madgraph": "new"}, ["madgraph = 'new'", "pattern"]),
    (
        "generation.containers",
        {"models": {"heft": {"url": "nonsense", "sha256": "0" * 64}}},
        ["models.heft.url = 'nonsense'", "pattern"],
    ),
    (
        "generation.containers",
        {"models": {"heft": {"url": "https://a.b/c", "sha256": "12"}}},
        ["models.heft.sha256 = '12'", "pattern"],
    ),
    (
        "generation.containers",
        {"models": {"../heft": {"url": "https://a.b/c", "sha256": "0" * 64}}},
        ["models.../heft", "pattern"],
    ),
    ("generation.containers", {"hard_process_jobs": 0}, ["hard_process_jobs = 0", "equal to 1"]),
    # a dataset
    (f"{JETS}.product", "jetz", ["product = 'jetz'", "there are energy, events, jets"]),
    (f"{JETS}.card", MISSING, [f"{JETS}.card is missing"]),
    (f"{JETS}.card", "delphes_cards/none.tcl", ["card = 'delphes_cards/none.tcl'", "no such file"]),
    (f"{JETS}.card", "/etc/passwd", ["card = '/etc/passwd'", "no Delphes card"]),
    (f"{JETS}.card", "/dev/zero", ["card = '/dev/zero'", "no such file"]),
    (f"{JETS}.card", "docs/images/jets.png", ["card = 'docs/images/jets.png'", "no Delphes card"]),
    (f"{JETS}.card", "config/quickstart.yaml", ["config/quickstart.yaml'", "no Delphes card"]),
    (f"{JETS}.card", "a\0b", ["card = 'a\\x00b'", "no such file"]),
    (f"{JETS}.card", "x/" * 5000, ["card = 'x/x/", "no such file"]),
    (
        f"{JETS}.card",
        "delphes_cards/minimum_bias.tcl",
        ["needs the branch", "minimum_bias.tcl writes"],
    ),
    ("datasets.events.card", "delphes_cards/jetclass2_fatjet.tcl", ["needs the branch", "writes"]),
    (f"{JETS}.rows_per_shard", -5, ["rows_per_shard = -5", "greater than or equal to 1"]),
    (f"{JETS}.rows_per_shard", 10**15, ["rows_per_shard = 1000000000000000", "10000000"]),
    (f"{JETS}.rows_per_shard", 9_000_000, ["rows_per_shard = 9000000", "events_per_batch"]),
    (f"{JETS}.rows_per_shard", "many", ["rows_per_shard = 'many'", WHOLE]),
    (f"{JETS}.rows_per_shard", True, ["rows_per_shard = True", WHOLE]),
    (f"{JETS}.rows_per_shard", 400.5, ["rows_per_shard = 400.5", WHOLE]),
    (f"{JETS}.seed", -1, [f"{JETS}.seed = -1", "greater than or equal to 0"]),
    (f"{JETS}.seed", "7", [f"{JETS}.seed = '7'", WHOLE]),
    (f"{JETS}.options", {"radius": 1}, ["option radius", "jet_radius"]),
    (f"{JETS}.options", {"jet_radius": -1}, ["option jet_radius", "greater than 0", "not -1"]),
    (f"{JETS}.options", {"jet_radius": NAN}, ["jet_radius", "finite number"]),
    (f"{JETS}.options", {"jet_radius": True}, ["option jet_radius", "number", "not True"]),
    (f"{JETS}.options", {"stored_parton_pt": INFINITY}, ["stored_parton_pt", "finite number"]),
    (f"{JETS}.options", {"jet_collection": "ak4"}, ["jet_collection", "'puppi' or 'chs'"]),
    (f"{JETS}.options", {"jet_collection": "chs"}, ["needs the branch ParticleFlowCandidateCHS"]),
    (f"{JETS}.options", {"qcd_labels": "maybe"}, ["option qcd_labels", "boolean", "'maybe'"]),
    (f"{JETS}.parts", {}, [f"{JETS}.parts = {{}}", "at least 1"]),
    (f"{JETS}.parts.Q_CD", {"processes": {"wjets": 1}, "shards": 6}, ["parts.Q_CD", "pattern"]),
    (f"{JETS}.parts.{'Q' * 40}", {"processes": {"wjets": 1}, "shards": 6}, ["parts.QQ", "pattern"]),
    # a part
    (f"{PART}.process", "qcd", ["QCD.process is unknown", "known here: processes, shards"]),
    (f"{PART}.shards", 7, ["shards = 7", "multiple of 6"]),
    (f"{PART}.shards", [6, 5], ["shards = [6, 5]", "multiple of 6"]),
    (f"{PART}.shards", [], ["shards = []", "multiple of 6"]),
    (f"{PART}.shards", 0, ["shards = 0", "multiple of 6"]),
    (f"{PART}.shards", -6, ["shards = -6", "multiple of 6"]),
    (f"{PART}.shards", 1506, ["shards = 1506", "at most 1500"]),
    (f"{PART}.shards", "six", ["shards = 'six'", "valid integer or a list"]),
    (f"{PART}.shards", True, ["shards = True", "valid integer or a list"]),
    (f"{PART}.processes", {}, ["processes = {}", "at least 1"]),
    (f"{PART}.processes", {"qdc": 1}, ["unknown process 'qdc'", "there are 2hdm"]),
    (f"{PART}.processes", {"minbias": 1}, ["unknown process 'minbias'", "there are 2hdm"]),
    (f"{PART}.processes", {"../qcd": 1}, ["unknown process '../qcd'", "there are 2hdm"]),
    (f"{PART}.processes", {"qcd": 0}, ["processes.qcd = 0", "greater than or equal to 1"]),
    (f"{PART}.processes", {"qcd": 10**9}, ["processes.qcd = 1000000000", "1000000"]),
    (f"{PART}.processes", {"qcd": 1, "wjets": 9999}, ["shares add up to 10000", "at most 1500"]),
    (f"{PART}.processes", {"qcd": 0.5}, ["processes.qcd = 0.5", WHOLE]),
    (f"{PART}.processes", {"res34p": 1}, ["both hold res34p", "one part"]),
    (f"{PART}.events_per_shard", 0, ["events_per_shard = 0", "greater than or equal to 1"]),
    # a training
    (f"{SOPHON}.epochs", 7, ["sophon.epochs is unknown", "known here: config"]),
    (f"{SOPHON}.config", "training/configs/none.yaml", ["config = 'training", "no such file"]),
    (f"{SOPHON}.config", "delphes_cards/jetclass2_full.tcl", ["jetclass2_full.tcl", "not YAML"]),
    (f"{SOPHON}.config", "config/jetclass2.yaml", ["jetclass2.yaml: task", "a name is needed"]),
    (f"{SOPHON}.config", "training/configs/sophon-transfer.yaml", ["sophon-transfer", "`from`"]),
    (f"{SOPHON}.config", "docs/images/jets.png", ["jets.png", "not UTF-8"]),
    (f"{SOPHON}.config", "training/configs/jet-energy-pfn.yaml", ["reads energy", "holds jets"]),
    (f"{SOPHON}.dataset", "jetz", ["sophon.dataset is jetz", "there are jets, energy, events"]),
    (f"{SOPHON}.dataset", "energy", ["reads jets", "dataset energy holds energy"]),
    (f"{SOPHON}.seed", 2**32, ["sophon.seed = 4294967296", "4294967295"]),
    (f"{SOPHON}.from", {"training": "x"}, ["from.training is x", "there are sophon"]),
    (f"{SOPHON}.from", {"training": "sophon"}, ["sophon begins with sophon"]),
    (f"{SOPHON}.from", {"frozen": True}, ["either a training or a checkpoint"]),
    (f"{SOPHON}.from", {"checkpoint": "none.ckpt"}, ["checkpoint = 'none.ckpt'", "no such file"]),
    (f"{SOPHON}.from", {"checkpoint": "README.md"}, ["checkpoint = 'README.md'", "no checkpoint"]),
    (
        "training.probe.from",
        {"training": "joint-embedding", "parts": ["body"]},
        ["start.parts names 'body'", "are head, encoder"],
    ),
    (
        "training.probe.from",
        {"training": "deep-sets", "parts": ["encoder"]},
        ["probe begins with deep-sets", "reads energy and not jets"],
    ),
    ("training.deep-sets.flat_sampling", True, ["flat_sampling", "task jet_energy has none"]),
    # what a training overrides
    (f"{SOPHON}.set", {"epohcs": 3}, ["epohcs is unknown", "known here: task, seed, epochs"]),
    (f"{SOPHON}.set", {"data.batchsize": 3}, ["data.batchsize is unknown", "batch_size"]),
    (f"{SOPHON}.set", {"epochs": "many"}, ["epochs = 'many'", WHOLE]),
    (f"{SOPHON}.set", {"epochs": True}, ["epochs = True", WHOLE]),
    (f"{SOPHON}.set", {"epochs": "3"}, ["epochs = '3'", WHOLE]),
    (f"{SOPHON}.set", {"epochs": 0}, ["epochs = 0", "greater than 0"]),
    (f"{SOPHON}.set", {"epochs": 10**18}, ["epochs = 1000000000000000000", "1000000"]),
    (f"{SOPHON}.set", {"epochs.more": 3}, ["epochs is a value, not a section"]),
    (f"{SOPHON}.set", {"seed": 10**20}, ["seed = 100000000000000000000", "less than"]),
    (f"{SOPHON}.set", {"optimizer.learning_rate": NAN}, ["learning_rate = nan", "finite number"]),
    (f"{SOPHON}.set", {"optimizer.learning_rate": -INFINITY}, ["learning_rate = -inf", "finite"]),
    (f"{SOPHON}.set", {"optimizer.learning_rate": -1}, ["learning_rate = -1", "greater than 0"]),
    (f"{SOPHON}.set", {"optimizer.learning_rate": "fast"}, ["learning_rate = 'fast'", "number"]),
    (f"{SOPHON}.set", {"optimizer.name": "lion"}, ["optimizer", "one of adamw, adam, sgd"]),
    (f"{SOPHON}.set", {"optimizer.betas": [0.9]}, ["optimizer.betas.1 is missing"]),
    (f"{SOPHON}.set", {"optimizer.betas": [0.9, 1.0]}, ["betas.1 = 1.0", "less than 1"]),
    (f"{SOPHON}.set", {"run.devices": 0}, ["run.devices = 0", "greater than or equal to 1"]),
    (f"{SOPHON}.set", {"run.devices": -5}, ["run.devices = -5", "greater than or equal to 1"]),
    (f"{SOPHON}.set", {"run.precision": "8"}, ["precision = '8'", "'32-true' or 'bf16-mixed'"]),
    (f"{SOPHON}.set", {"model.heads": 7}, ["heads = 7 must divide the last width"]),
    (f"{SOPHON}.set", {"model.embedding": []}, ["model.embedding = []", "at least 1"]),
    (f"{SOPHON}.set", {"model.blocks": 10_000_000}, ["model.blocks = 10000000", "256"]),
    (f"{SOPHON}.set", {"model.embedding": [10**9]}, ["model.embedding.0", "16384"]),
    (f"{SOPHON}.set", {"model.dropout": 1}, ["model.dropout = 1", "less than 1"]),
    (f"{SOPHON}.set", {"data.label": "jet_lable"}, ["data.label = 'jet_lable'", "jet_label"]),
    (f"{SOPHON}.set", {"data.selection.jet_pt": [500, 200]}, ["an interval begins at 500"]),
    (f"{SOPHON}.set", {"data.workers": -1}, ["data.workers = -1", "greater than or equal to 0"]),
    (f"{SOPHON}.set", {"start.checkpoint": "/etc/passwd"}, ["start.checkpoint", "`from`"]),
    (f"{SOPHON}.set", {"task": "probe"}, ["task", "cannot be set"]),
    (f"{SOPHON}.set", [1], [f"{SOPHON}.set = [1]", "a mapping"]),
    ("training.higgs-or-top.set", {"classes.a": ["ttbar"], "classes.b": ["2hdn"]}, ["no '2hdn'"]),
    ("training.higgs-or-top.set", {"data.slots": ["leptons"]}, ["data.slots", "lepton"]),
    ("training.higgs-or-top.set", {"model.heads": 3}, ["heads = 3 must divide width"]),
    ("training.joint-embedding.set", {"masks.targets": 0}, ["masks.targets = 0", "greater than 0"]),
    # studies
    ("studies.s", STUDY | {"training": "none"}, ["studies.s.training is none", "sophon"]),
    ("studies.s", STUDY | {"seeds": []}, ["seeds = []", "at least 1"]),
    ("studies.s", STUDY | {"seeds": [1, 1]}, ["seeds: a value occurs twice"]),
    ("studies.s", STUDY | {"seeds": [True]}, ["seeds.0 = True", WHOLE]),
    ("studies.s", STUDY | {"metrics": "auc"}, ["metrics is unknown", "known here: training"]),
    ("studies.s", STUDY | {"baseline": "x"}, ["baseline x", "as configured"]),
    ("studies.s", STUDY | {"configs": "docs"}, ["no *.yaml in docs"]),
    ("studies.s", STUDY | {"ways": {"a b": {}}}, ["ways.a b", "pattern"]),
    (
        "studies.s",
        STUDY | {"sizes": {"key": "data.train_rowz", "values": [10]}},
        ["studies.s", "data.train_rowz is unknown", "train_rows"],
    ),
    (
        "studies.s",
        STUDY | {"sizes": {"key": "data.train_rows", "values": [-5]}},
        ["studies.s", "data.train_rows = -5", "greater than 0"],
    ),
    ("studies.sophon", STUDY, ["sophon is the name of a training and of a study"]),
]


@pytest.fixture(scope="module")
def quickstart():
    return read_files([QUICKSTART])


def test_an_endless_card_is_refused_in_time(quickstart, tmp_path):
    card = tmp_path / "endless.tcl"
    card.write_text("set i 0\nwhile {1} {incr i}\n")
    content = copy.deepcopy(quickstart)
    content["datasets"]["jets"]["card"] = str(card)
    started = time.process_time()
    with pytest.raises(UserError, match="a loop may be endless"):
        make_plan(content)
    assert time.process_time() - started < PATIENCE


def test_there_are_a_hundred():
    assert len({(key, repr(value)) for key, value, _ in WRONG}) >= 100


@pytest.mark.parametrize(("key", "value", "words"), WRONG)
def test_a_wrong_configuration_is_refused(quickstart, key, value, words):
    content = copy.deepcopy(quickstart)
    *parents, last = key.split(".", maxsplit=key.count(".") if "/" not in key else 1)
    section = content
    for parent in parents:
        section = section.setdefault(parent, {})
    section[last] = value
    if value is MISSING:
        del section[last]
    started = time.process_time()
    with pytest.raises(UserError) as refused:
        make_plan(content)
    assert time.process_time() - started < PATIENCE
    assert "\n" not in str(refused.value)
    for word in words:
        assert word in str(refused.value)
