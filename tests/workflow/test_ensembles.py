"""A vectorised study trains the seeds of each of its points in one job."""

import pytest
import yaml

from provenance.errors import UserError
from tests.workflow.test_dag import dry_run, job_counts
from workflow.config_model import ROOT, load_config
from workflow.ensembles import ensembles
from workflow.fits import resolve_fits
from workflow.planning import make_plan

CONFIG = ROOT / "config" / "events-small.yaml"


def test_seeds_are_members_of_one_training(tmp_path):
    content = yaml.safe_load(CONFIG.read_text())
    study = content["studies"]["fine_tuning_events"] | {"vectorised": True, "seeds": [1, 2, 3]}
    content["studies"] = {"fine_tuning_events": study}
    config = load_config(content)
    groups = ensembles(config, *resolve_fits(config))
    # Trees share the networks of a way.
    networks = [way for way, given in study["ways"].items() if "of" not in given]
    assert len(groups) == len(networks) * len(study["sizes"]["values"])
    assert [fit.config.seed for fit in groups["fine_tuning_events/masses_8192"]] == [1, 2, 3]
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(content))
    counts = job_counts(dry_run(tmp_path, "--configfile", str(path)))
    assert counts["train_ensemble"] == len(groups)
    assert counts["member"] == 3 * len(groups)
    assert counts["train"] == len(content["training"])
    assert counts["evaluate"] == len(content["training"]) + 3 * len(groups)


def test_only_trainings_on_event_objects_can_be():
    content = yaml.safe_load((ROOT / "config" / "quickstart.yaml").read_text())
    content["studies"] = {
        "curve": {"training": "sophon", "seeds": [1, 2], "metric": "accuracy", "vectorised": True}
    }
    config = load_config(content)
    with pytest.raises(UserError, match=r"studies\.curve\.vectorised: only trainings on event"):
        ensembles(config, *resolve_fits(config))


def test_an_ensemble_and_a_network_have_two_folders():
    content = yaml.safe_load(CONFIG.read_text())
    study = content["studies"]["half_labels"] | {"baseline": None, "seeds": [1, 4]}
    study["sizes"] = {"key": "model.blocks", "values": [2, 4]}
    content["studies"] = {"sizes": study | {"ways": {"wide": {}, "wide_2": {"set": {"steps": 9}}}}}
    with pytest.raises(UserError, match=r"ways\.wide_2: .* sizes/wide_2_4: give the way another"):
        make_plan(content)


def test_what_an_ensemble_does_not_do_is_said_before_any_job():
    content = yaml.safe_load(CONFIG.read_text())
    study = content["studies"]["half_labels"]
    study["ways"]["masses-half"]["set"]["optimizer.ema_decay"] = 0.9
    content["studies"] = {"half_labels": study}
    expected = r"half_labels\.vectorised \(masses-half\): .* set optimizer\.ema_decay to null"
    with pytest.raises(UserError, match=expected):
        make_plan(content)
