"""The comparison finds differences that are there and none between two runs of one detector."""

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from generation.pileup import build_library
from generation.simulate import DEFAULT_CARD
from validation.page import (
    for_report,
    kind_of,
    kind_section,
    read_foreign_jets,
    write_comparison,
)
from validation.quantities import (
    QUANTITIES,
    Comparison,
    Difference,
    Quantity,
    Values,
    classify,
    compare,
    jet_quantities,
    summarise,
)
from workflow.report import write_report
from workflow.report.inputs import Inputs

UNIT = Quantity("x", -5, 5)


def correlated(rng, n_events, shift=0.0, scale=1.0):
    """Return 20 values an event that share most of their spread."""
    events = np.repeat(np.arange(n_events), 20)
    values = rng.normal(size=n_events)[events] + 0.3 * rng.normal(size=len(events))
    return Values(shift + scale * values, events)


def test_the_same_detector_is_not_told_apart():
    rng = np.random.default_rng(1)
    p_values = [
        compare(correlated(rng, 100), correlated(rng, 100), UNIT).p_value for _ in range(20)
    ]
    # Uniform, though the values of an event are far from independent.
    assert min(p_values) > 0.005
    assert 0.25 < np.mean(p_values) < 0.75


def test_a_shift_and_a_wider_spread_are_found():
    rng = np.random.default_rng(2)
    first = correlated(rng, 300)
    second = Values(0.2 + 1.1 * first.values, first.event)
    found = compare(first, second, UNIT)
    assert found.mean.value == pytest.approx(0.2, abs=0.03)
    assert found.width.value == pytest.approx(0.1, abs=0.02)
    assert found.core.value == pytest.approx(0.1, abs=0.05)

    content = for_report(
        [Path("a.root")], Path("card.tcl"), {"x": found}, {"x": (first, second)}, [], (0.6, 0.01)
    )
    bounds, quantities = json.loads(json.dumps(content, allow_nan=False))["tables"]
    assert bounds["rows"] == [
        ["means within 1 %", 0, 1, 0, 1, 1], ["widths within 3 %", 0, 1, 0, 1, 1],
    ]  # fmt: skip
    row = dict(zip(quantities["head"], quantities["rows"][0], strict=True))
    assert row["Mean"] == pytest.approx(20, abs=3)
    assert row["Bound on the mean"] == "missed"
    assert found.p_value < 0.01
    # Paired: the events that both share do not blur the difference.
    assert found.mean.error < 0.02
    assert found.mean.verdict(0.01) == "missed"
    assert found.mean.verdict(0.5) == "met"
    assert found.mean.verdict(0.2) == "open"


def test_each_kind_of_events_has_a_verdict_of_its_own():
    same, apart = Difference(0.0, 0.001), Difference(0.05, 0.001)
    like = dict.fromkeys(QUANTITIES, Comparison(same, same, same, 0.5))
    unlike = like | {"met": Comparison(apart, same, same, 0.001)}
    rows = kind_section({kind_of(Path("qcd_12.root")): like, "res34p": unlike}).splitlines()
    assert "| `qcd` | 36 | 0 | 0 | 0 of 36 |" in "\n".join(rows)
    assert "| `res34p` | 35 | 1 | 0 | 1 of 36 | PUPPI missing energy (GeV): +50.0 σ |" in rows


@pytest.mark.slow
def test_two_runs_of_delphes_agree(reference):
    first, second = (
        read_foreign_jets(reference(f"delphes/qcd_3.{run}ntuple.parquet"))
        for run in ("", "resimulated_1.")
    )
    quantities = [jet_quantities(jets) for jets in (first, second)]
    for name in quantities[0]:
        found = compare(quantities[0][name], quantities[1][name], QUANTITIES[name])
        assert abs(found.mean.value) < 5 * found.mean.error + 1e-9, name
    auc, error = classify(summarise(first), summarise(second))
    assert auc < 0.5 + 3 * error


def test_the_classifier_finds_a_wrong_momentum_scale(reference):
    jets = read_foreign_jets(reference("delphes/qcd_3.ntuple.parquet"))
    column = jets.schema.get_field_index("jet_sdmass")
    wrong = jets.set_column(
        column, jets.schema.field(column), pa.array(jets["jet_sdmass"].to_numpy() * np.float32(1.4))
    )
    auc, error = classify(summarise(jets), summarise(wrong))
    assert auc > 0.5 + 3 * error


@pytest.mark.slow
def test_the_page_decides_and_shows_every_leaf(reference, tmp_path):
    build_library(tmp_path / "minbias.arrow", 500, 1)
    write_comparison(
        real=[reference("delphes/res2p_1.root")],
        reruns=[],
        card=DEFAULT_CARD,
        pileup=tmp_path / "minbias.arrow",
        repeats=2,
        jet_radius=0.8,
        output=tmp_path / "page",
    )
    page = (tmp_path / "page" / "README.md").read_text()
    assert "of `res2p`: once through Delphes, 2 times through" in page
    assert "2 times through" in page
    rows = [line for line in page.splitlines() if line.startswith("| jet $p_T$")]
    assert len(rows) == 1
    assert set(re.findall("met|missed|open", rows[0])) <= {"met", "open"}
    leaves = (tmp_path / "page" / "leaves.md").read_text()
    assert re.search(r"`Particle.PID` .*\| same \|", leaves)
    assert re.search(r"`JetPUPPIAK8.Tau\[0\]` .*\| [01]\.?\d* \|", leaves)
    for name in ("distributions.png", "leaves.png"):
        assert (tmp_path / "page" / name).stat().st_size > 10_000
    # A run's report makes a section of it.
    write_report(
        Inputs("x", comparisons=[tmp_path / "page" / "comparison.json"]), tmp_path / "x.html"
    )
    assert "boosted trees" in (tmp_path / "x.html").read_text().lower()
