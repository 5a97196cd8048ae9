"""The configuration: every shipped file is valid, wrong ones are named in one sentence."""

import copy
import time

import pytest
import yaml

from provenance.errors import UserError
from workflow.config_docs import GENERATED
from workflow.config_model import ROOT, load_config

SHIPPED = sorted((ROOT / "config").glob("*.yaml"))


@pytest.fixture
def quickstart():
    return yaml.safe_load((ROOT / "config" / "quickstart.yaml").read_text())


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_configurations_are_valid(path):
    assert load_config(yaml.safe_load(path.read_text())).name == path.stem


@pytest.mark.parametrize("path", GENERATED)
def test_generated_files_are_in_step_with_the_model(path):
    assert (ROOT / path).read_text() == GENERATED[path](), "run: python -m workflow schema"


def test_published_dataset_has_the_published_size():
    config = load_config(yaml.safe_load((ROOT / "config" / "jetclass2.yaml").read_text()))
    dataset = config.datasets["jets"]
    shards = {name: part.n_shards for name, part in dataset.parts.items()}
    assert shards == {"Res2P": 300, "Res34P": 1290, "QCD": 420}
    assert dataset.rows_per_shard == 100_000


QCD = ["datasets", "jets", "parts", "QCD"]


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (["generation", "n_events"], 7, "generation.n_events is unknown; known here: backend"),
        ([*QCD, "process"], "qcd", "datasets.jets.parts.QCD.process is unknown; known here: proc"),
        (["training", "sophon", "epochs"], 7, "training.sophon.epochs is unknown; known here: con"),
        (["nmae"], "x", "nmae is unknown; known here: name, seed"),
        (["datasets", "jets", "rows_per_shard"], -5, "datasets.jets.rows_per_shard = -5"),
        (["datasets", "jets", "rows_per_shard"], "many", "datasets.jets.rows_per_shard = 'many'"),
        (["datasets", "jets", "rows_per_shard"], 10**15, "rows_per_shard = 1000000000000000"),
        (["datasets", "jets", "product"], "jetz", "product = 'jetz': no such product; there are"),
        (["datasets", "jets", "options"], {"radius": 1}, "product jets, option radius"),
        (["datasets", "jets", "options"], {"jet_radius": -1}, "product jets, option jet_radius"),
        (["datasets", "Jets x"], {}, "datasets.Jets x"),
        ([*QCD, "shards"], 7, "multiple of 6"),
        ([*QCD, "shards"], [6, 5], "multiple of 6"),
        ([*QCD, "shards"], 0, "positive multiple of 6"),
        ([*QCD, "shards"], 1506, "at most 1500 shards"),
        ([*QCD, "processes"], {"qdc": 1}, "unknown process 'qdc'; there are"),
        ([*QCD, "processes"], {"minbias": 1}, "unknown process 'minbias'; there are"),
        ([*QCD, "processes"], {"qcd": 0}, "processes.qcd = 0"),
        ([*QCD, "processes"], {"res34p": 1}, "both hold res34p"),
        (["datasets", "jets", "card"], "delphes_cards/none.tcl", "no such file"),
        (["training", "sophon", "dataset"], "evnts", "training.sophon.dataset is evnts, which"),
        (["training", "sophon", "from"], {"training": "x"}, "training.sophon.from.training is x"),
        (["training", "sophon", "from"], {"training": "sophon"}, "sophon begins with sophon"),
        (["training", "sophon", "from"], {"frozen": True}, "either a training or a checkpoint"),
        (["seed"], -1, "seed = -1"),
        (["seed"], 2**64, "seed = 18446744073709551616"),
        (["seed"], True, "seed = True"),
        (["seed"], "1", "seed = '1'"),
        (["name"], "../escape", "name = '../escape'"),
        (["generation", "containers"], {"image": "$(reboot)"}, "image = '$(reboot)'"),
    ],
)
def test_wrong_key_is_named(quickstart, path, value, expected):
    wrong = copy.deepcopy(quickstart)
    section = wrong
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value
    with pytest.raises(UserError) as error:
        load_config(wrong)
    assert expected in str(error.value)


STUDY = {"training": "sophon", "seeds": [1, 2], "metric": "accuracy"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"training": "none"}, "studies.s.training is none, which is not configured"),
        ({"seeds": []}, "studies.s.seeds"),
        ({"seeds": [1, 1]}, "seeds: a value occurs twice"),
        ({"sizes": {"key": "data.train_rows", "values": [5, 5]}}, "sizes: a value occurs twice"),
        ({"sizes": {"key": "x y", "values": [5]}}, "sizes.key"),
        ({"baseline": "scratch"}, "baseline scratch is none of the ways: as configured"),
        ({"configs": "docs"}, "no *.yaml in docs"),
        ({"ways": {"a": {"from": {"training": "b"}}}}, "studies.s.ways.a.from.training is b"),
        ({"metrics": "auc"}, "studies.s.metrics is unknown; known here: training, sizes"),
    ],
)
def test_a_wrong_study_is_named(quickstart, change, expected):
    quickstart["studies"] = {"s": STUDY | change}
    with pytest.raises(UserError) as error:
        load_config(quickstart)
    assert expected in str(error.value)


def test_every_mistake_is_named_at_once(quickstart):
    quickstart["seed"] = -3
    quickstart["generation"]["pileup_events"] = "none"
    with pytest.raises(UserError, match=r"seed = -3.*; generation.pileup_events"):
        load_config(quickstart)


def test_missing_key_is_named(quickstart):
    del quickstart["datasets"]["jets"]["card"]
    with pytest.raises(UserError, match=r"datasets\.jets\.card is missing"):
        load_config(quickstart)


def test_empty_configuration_is_refused():
    with pytest.raises(UserError, match="--configfile"):
        load_config({})


def test_a_configuration_is_checked_quickly(quickstart):
    started = time.process_time()
    load_config(quickstart)
    assert time.process_time() - started < 1
