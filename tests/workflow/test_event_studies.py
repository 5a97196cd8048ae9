"""The studies of config/events-small.yaml, cut down, from simulation to the report."""

import pytest
import yaml
from mini_dataset import build

from ntuplizer.verify import verify
from provenance.files import read_json
from workflow.config_model import ROOT

TINY = {"steps": 12, "data.batch_size": 8, "data.rows_per_epoch": 48, "model.width": 16,
        "model.blocks": 1, "model.feedforward": 16}  # fmt: skip


@pytest.mark.slow
def test_a_vectorised_study_of_events_runs_to_its_report(tmp_path):
    content = yaml.safe_load((ROOT / "config" / "events-small.yaml").read_text())
    content["generation"]["events_per_batch"] = 10
    events = content["datasets"]["events"]
    events["rows_per_shard"] = 8
    del events["parts"]["SecondSignal"]
    content["datasets"] = {"events": events}
    masses, tuned = (content["training"][name] for name in ("masses", "tuned"))
    masses |= {"dataset": "events", "set": TINY}
    tuned["set"] |= TINY | {"data.train_rows": 24, "data.filled": False}
    content["training"] = {"masses": masses, "tuned": tuned}
    study = content["studies"]["fine_tuning_events"]
    names = ("scratch", "masses", "trees-on-masses")
    study["ways"] = {name: study["ways"][name] for name in names}
    study |= {"sizes": {"key": "data.train_rows", "values": [24]}, "seeds": [1, 2]}
    content["studies"] = {"fine_tuning_events": study}
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(content, sort_keys=False))

    result = build(tmp_path, config)
    assert result.returncode == 0, result.stderr[-5000:]
    folder = tmp_path / "results" / "events-small"
    assert verify(folder / "datasets" / "events") == []
    for way in ("scratch", "masses"):
        summaries = [
            read_json(folder / "training" / "fine_tuning_events" / f"{way}_24_{seed}"
                      / "checkpoint.ckpt.json") for seed in (1, 2)
        ]  # fmt: skip
        assert [summary["members"] for summary in summaries] == [2, 2]
        assert [summary["config"]["seed"] for summary in summaries] == [1, 2]
    results = read_json(folder / "studies" / "fine_tuning_events" / "study.json")["results"]
    assert {(row["way"], len(row["values"])) for row in results} == {(name, 2) for name in names}
    assert "Study fine_tuning_events" in (folder / "report.html").read_text()
    again = build(tmp_path, config, "--dry-run")
    assert "Nothing to be done" in again.stdout + again.stderr
