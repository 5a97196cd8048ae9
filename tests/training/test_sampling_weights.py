"""Sampling weights: groups, flatness, shares, and drawing with them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL, TINY, drawn_pixels

from ntuplizer.labels import LABELS, QCD_LABELS
from provenance.errors import UserError
from training.checkpoint import read_checkpoint
from training.config import load_config
from training.data.loaders import TrainingData
from training.data.sampling import SamplingWeights, acceptance_of, write_weights
from training.data.shards import list_row_groups, read_dataset
from training.data.stream import TrainingStream
from training.fit import fit
from training.jets.config import JetDataConfig
from training.jets.reader import JetReader
from training.tasks.sophon.sampling import GROUP_SHARES, label_group, sampling_scheme

SOPHON = '{"task": "sophon", "data": {"workers": 0, "batch_size": 50}}'


@pytest.mark.parametrize(
    ("label", "group"),
    [
        ("X_bb", "X_QQ"),
        ("X_sq", "X_QQ"),
        ("X_gg", "X_gg"),
        ("X_mm", "X_ll"),
        ("X_tauhtaue", "X_tauhtaul"),
        ("X_tauhtauh", "X_tauhtauh"),
        ("X_YY_bbgg", "X_YY_QQgg"),
        ("X_YY_ggq", "X_YY_Qgg"),
        ("X_YY_qqg", "X_YY_QQg"),
        ("X_YY_see", "X_YY_Qll"),
        ("X_YY_ccm", "X_YY_QQl"),
        ("X_YY_gtauhtaum", "X_YY_gtauhtaul"),
        ("X_YY_bcsq", "X_YY_QQQQ"),
        ("X_YY_bcev", "X_YY_QQlv"),
        ("X_YY_bctaumv", "X_YY_QQtaulv"),
        ("X_YY_qqtauhv", "X_YY_QQtauhv"),
        ("QCD_bbcs", "QCD"),
        ("QCD_light", "QCD"),
    ],
)
def test_group_of_a_label(label, group):
    assert label_group(label) == group


def test_every_label_has_a_group_and_every_group_a_label():
    groups = [label_group(label) for label in LABELS]
    assert set(groups) == set(GROUP_SHARES)
    assert groups.count("X_QQ") == 9
    assert groups.count("X_YY_QQQQ") == 22
    assert groups.count("QCD") == len(QCD_LABELS) == 27


def test_full_bins_become_flat_and_shares_hold():
    rng = np.random.default_rng(0)
    counts = rng.poisson(2000 * rng.random((3, 4, 5)) + 500).astype(float)
    counts[1, 0, 0] = 0
    shares = np.array([0.5, 0.3, 0.2])
    acceptance = acceptance_of(counts, shares)
    assert acceptance.min() >= 0
    assert acceptance.max() <= 1
    drawn = counts * acceptance
    np.testing.assert_allclose(drawn.sum(axis=(1, 2)) / drawn.sum(), shares)
    for group in drawn:
        filled = group[group > 0]
        flat = filled.max()
        # Only the emptiest tenth of the bins cannot reach the others.
        assert (filled < flat * (1 - 1e-9)).mean() <= 0.11


@pytest.mark.parametrize("axes", [1, 3])
def test_any_number_of_axes(axes):
    counts = np.random.default_rng(1).poisson(500, (2, *(4,) * axes)).astype(float)
    drawn = counts * acceptance_of(counts, np.array([3.0, 1.0]))
    assert drawn[0].sum() == pytest.approx(3 * drawn[1].sum())


def test_a_group_without_rows_is_left_out():
    counts = np.ones((2, 2, 2))
    counts[1] = 0
    acceptance = acceptance_of(counts, np.array([0.5, 0.5]))
    assert (acceptance[0] == 1).all()
    assert (acceptance[1] == 0).all()


def loaded(path: Path, manifest: Path, text: str = SOPHON, *overrides: str) -> SamplingWeights:
    config = load_config(text, list(overrides))
    reader = JetReader(config.data, sampling=sampling_scheme(config.data.label))
    return TrainingData(read_dataset(manifest), reader, config, path).weights


def test_drawing_follows_the_weights(manifest, tmp_path):
    write_weights(load_config(SOPHON), manifest, tmp_path / "all.v1.json")
    # Four panels with coloured lines.
    assert drawn_pixels(tmp_path / "all.v1.png") > 5000
    weights = loaded(tmp_path / "all.v1.json", manifest)
    reader = JetReader(JetDataConfig(batch_size=50, workers=0))
    groups = list_row_groups(read_dataset(manifest).shards("train"), reader)
    jets = reader.read(groups)
    chosen = np.flatnonzero(reader.select(jets.scalars))
    rng = np.random.default_rng(0)
    copies = np.mean([weights.copies(jets.scalars, chosen, 10, rng) for _ in range(2000)], axis=0)
    scale = min(10, 1 / weights.mean_acceptance)
    group = np.array([label_group(LABELS[label]) for label in jets.label[chosen]])
    content = json.loads((tmp_path / "all.v1.json").read_text())["groups"]
    for name in ("X_QQ", "X_YY_QQQQ", "QCD"):
        drawn = copies[group == name].sum() / copies.sum()
        assert drawn == pytest.approx(content[name]["share_drawn"], rel=0.05)
    assert copies.sum() == pytest.approx(weights.mean_acceptance * scale * len(chosen), rel=0.03)
    assert copies.max() > 1.5

    first = next(iter(TrainingStream(groups, reader, reader.config, weights, seed=1)))
    assert len(np.unique(first.batch["jet_pt"])) < first.rows


def test_weights_are_made_from_the_rows_of_their_training(manifest, tmp_path):
    path = tmp_path / "weights.json"
    text = json.dumps(json.loads(SOPHON) | {"seed": 7})
    command = [sys.executable, "-m", "training", "weights", "--config", text]
    command += ["--set", "data.selection.jet_pt=[250,2500]", "--set", "data.train_rows=200"]
    command += ["--manifest", str(manifest), "--output", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    groups = json.loads(path.read_text())["groups"].values()
    assert sum(group["rows"] for group in groups) == 200
    own = ["data.selection.jet_pt=[250,2500]", "data.train_rows=200"]
    loaded(path, manifest, text, *own)
    with pytest.raises(UserError, match=r"250 < jet_pt < 2500 .* but the training's is 200 <"):
        loaded(path, manifest, text, "data.train_rows=200")
    with pytest.raises(UserError, match=r"the subset 200 rows of seed 7 but .* is all rows"):
        loaded(path, manifest, text, own[0])
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(content | {"dataset_sha256": "0" * 64}))
    with pytest.raises(UserError, match="was made for the dataset 5eed5eed"):
        loaded(path, manifest, text, *own)


def test_a_training_with_weights_is_another_one(manifest, tmp_path, capsys):
    config = load_config(SMALL, [*TINY, "epochs=1", "data.rows_per_epoch=64"])
    write_weights(config, manifest, tmp_path / "weights.json")
    losses = []
    for weights in (None, tmp_path / "weights.json"):
        fit(config, manifest, tmp_path / "out", weights=weights)
        losses.append(read_checkpoint(tmp_path / "out" / "checkpoint.ckpt")["history"])
    assert losses[0][0]["train_loss"] != losses[1][0]["train_loss"]
    assert "with other weights_sha256; begins anew" in capsys.readouterr().err


def test_a_foreign_file_is_refused(manifest, tmp_path):
    (tmp_path / "weights.json").write_text("{}")
    with pytest.raises(UserError, match="not a file of `python -m training weights`"):
        loaded(tmp_path / "weights.json", manifest)


def test_labels_of_ones_own_have_no_weights(manifest, tmp_path):
    config = load_config(SOPHON, ["labels=[signal,background]", "data.label=jet_class"])
    with pytest.raises(UserError, match="has no sampling weights as it is configured"):
        write_weights(config, manifest, tmp_path / "weights.json")
