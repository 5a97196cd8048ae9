"""Sampling weights: groups, flatness, shares, and drawing with them."""

import json

import numpy as np
import pytest

from ntuplizer.labels import LABELS, QCD_LABELS
from provenance.errors import UserError
from training.config import DataConfig, Selection
from training.data.module import JetData
from training.data.shards import list_row_groups, list_shards, read_row_groups, selected
from training.data.stream import TrainingStream
from training.data.weights import GROUP_SHARES, SamplingWeights, acceptance_of, label_group
from training.reweight import write_weights


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


def test_a_group_without_jets_is_left_out():
    counts = np.ones((2, 2, 2))
    counts[1] = 0
    acceptance = acceptance_of(counts, np.array([0.5, 0.5]))
    assert (acceptance[0] == 1).all()
    assert (acceptance[1] == 0).all()


def test_drawing_follows_the_weights(manifest, tmp_path):
    write_weights(manifest, tmp_path / "weights.json", Selection())
    assert (tmp_path / "weights.png").stat().st_size > 10_000
    weights = SamplingWeights.load(tmp_path / "weights.json")
    groups = list_row_groups(list_shards(manifest, "train", LABELS))
    jets = read_row_groups(groups)
    chosen = np.flatnonzero(selected(jets, Selection()))
    rng = np.random.default_rng(0)
    copies = np.mean([weights.copies(jets, chosen, 10, rng) for _ in range(2000)], axis=0)
    scale = min(10, 1 / weights.mean_acceptance)
    group = np.array([label_group(LABELS[label]) for label in jets.label[chosen]])
    content = json.loads((tmp_path / "weights.json").read_text())["groups"]
    for name in ("X_QQ", "X_YY_QQQQ", "QCD"):
        drawn = copies[group == name].sum() / copies.sum()
        assert drawn == pytest.approx(content[name]["share_drawn"], rel=0.05)
    assert copies.sum() == pytest.approx(weights.mean_acceptance * scale * len(chosen), rel=0.03)
    assert copies.max() > 1.5

    config = DataConfig(batch_size=50, workers=0)
    first = next(iter(TrainingStream(groups, config, weights, seed=1)))
    assert len(np.unique(first["jet_pt"])) < len(first["jet_pt"])


def test_weights_of_another_selection_are_refused(manifest, tmp_path):
    path = tmp_path / "weights.json"
    write_weights(manifest, path, Selection(jet_pt=(250, 2500)))
    config = DataConfig(weights=path, selection=Selection(jet_pt=(250, 2500)))
    assert JetData(manifest, config, seed=1).weights.selection == config.selection
    with pytest.raises(UserError, match=r"250 < jet_pt < 2500 .* but the training selects 200 <"):
        JetData(manifest, DataConfig(weights=path), seed=1)


def test_a_foreign_file_is_refused(tmp_path):
    (tmp_path / "weights.json").write_text("{}")
    with pytest.raises(UserError, match="not a file of `python -m training weights`"):
        SamplingWeights.load(tmp_path / "weights.json")
