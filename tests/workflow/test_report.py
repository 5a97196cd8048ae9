"""The report: numbers of the manifest, escaped text, figures inside the file."""

import re
from collections import Counter

import pyarrow.parquet as pq
import pytest

from ntuplizer.labels import LABELS
from provenance.errors import UserError
from provenance.files import write_json
from workflow.report import format_number, write_report


@pytest.fixture
def dataset(reference, tmp_path):
    """Give the folder of a small dataset made of reference jets."""
    files = []
    for part, name in (("QCD", "qcd_3"), ("Res34P", "res34p_1")):
        table = pq.read_table(reference(f"delphes/{name}.ntuple.parquet"))
        path = tmp_path / f"{part}_0000.parquet"
        pq.write_table(table, path, write_page_checksum=True)
        counts = Counter(LABELS[code] for code in table["jet_label"].to_pylist())
        files.append(
            {
                "path": path.name, "part": part, "split": "test", "rows": len(table),
                "bytes": path.stat().st_size, "sha256": "0" * 64, "class_counts": dict(counts),
                "ledger": {"events_generated": 120, "jets_labelled": len(table) + 3,
                           "jets_left_over": 3, "wall_seconds": 2.4},
            }
        )  # fmt: skip
    write_json(
        tmp_path / "manifest.json",
        {
            "format": 1, "name": "<script>alert(1)</script>", "seed": 1,
            "config_sha256": "c" * 64, "versions": {"python": "3"}, "labels": list(LABELS),
            "files": files, "totals": {},
        },
    )  # fmt: skip
    return tmp_path


def test_report_shows_the_dataset(dataset):
    evaluation = dataset / "sophon"
    write_json(evaluation / "metrics.json", {"accuracy": 0.25, "per_class": {"X_bb": 1}})
    write_report(dataset / "manifest.json", [evaluation], dataset / "report.html")
    page = (dataset / "report.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    rows = {
        part: pq.read_metadata(dataset / f"{part}_0000.parquet").num_rows
        for part in ("QCD", "Res34P")
    }
    for part, count in rows.items():
        assert re.search(rf"<td>{part}</td><td>1</td><td>0</td><td>0</td><td>{count}</td>", page)
    assert "0.25" in page
    assert page.count("data:image/png;base64,") == 5
    assert "http://" not in page


def test_report_is_the_same_twice(dataset):
    for name in ("a.html", "b.html"):
        write_report(dataset / "manifest.json", [], dataset / name)
    assert (dataset / "a.html").read_bytes() == (dataset / "b.html").read_bytes()


def test_missing_manifest_is_named(tmp_path):
    with pytest.raises(UserError, match=r"manifest\.json: no such file"):
        write_report(tmp_path / "manifest.json", [], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1234567, "1,234,567"), (0.49217, "0.4922"), (3.0, "3"), (0.0, "0")],
)
def test_numbers_are_written_for_people(value, expected):
    assert format_number(value) == expected
