"""The configuration: both shipped files are valid, wrong ones are named in one sentence."""

import copy
from pathlib import Path

import pytest
import yaml

from provenance.errors import UserError
from workflow.config_model import GENERATED, ROOT, load_config

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
    shards = {name: part.shards for name, part in config.dataset.parts.items()}
    assert shards == {"Res2P": 300, "Res34P": 1290, "QCD": 420}
    assert config.dataset.jets_per_shard == 100_000


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (["generation", "n_events"], 7, "generation.n_events is unknown; known here: backend"),
        (["dataset", "parts", "QCD", "process"], "qcd", "dataset.parts.QCD.process is unknown"),
        (["training", "sophon", "epochs"], 7, "training.sophon.epochs is unknown"),
        (["nmae"], "x", "nmae is unknown"),
        (["dataset", "jets_per_shard"], -5, "dataset.jets_per_shard = -5"),
        (["dataset", "jets_per_shard"], "many", "dataset.jets_per_shard = 'many'"),
        (["dataset", "max_events_per_shard"], 10**7, "generation.events_per_batch"),
        (["dataset", "parts", "QCD", "shards"], 7, "multiple of 6"),
        (["dataset", "parts", "QCD", "processes"], {"qdc": 1}, "unknown process 'qdc'; there are"),
        (["dataset", "parts", "QCD", "processes"], {"qcd": 0}, "processes.qcd = 0"),
        (["generation", "card"], "delphes_cards/none.tcl", "no such file"),
        (["seed"], 50, "seed = 50"),
        (["name"], "../escape", "name = '../escape'"),
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


def test_missing_section_is_named(quickstart):
    del quickstart["generation"]["card"]
    with pytest.raises(UserError, match=r"generation\.card is missing"):
        load_config(quickstart)


def test_empty_configuration_is_refused():
    with pytest.raises(UserError, match="--configfile"):
        load_config({})


def test_paths_are_resolved_against_the_project(quickstart, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Path(load_config(quickstart).generation.card).is_file()
