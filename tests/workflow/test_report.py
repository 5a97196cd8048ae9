"""The report: numbers of the manifests, escaped text, figures inside the file."""

import re

import pyarrow.parquet as pq
import pytest

from ntuplizer.manifest import build_manifest
from ntuplizer.products import count_classes, get_product
from ntuplizer.shards import ShardKey, write_shard
from provenance.errors import UserError
from provenance.files import write_json
from provenance.ledger import write_ledger
from workflow.figures import draw_study
from workflow.report import format_number, write_report

ROWS = {"QCD": 60, "Res34P": 50}


@pytest.fixture
def dataset(reference, tmp_path):
    """Give the folder of a small dataset made of reference jets."""
    product = get_product("jets")
    options = product.read_options({})
    shards = []
    for part, name in (("QCD", "qcd_3"), ("Res34P", "res34p_1")):
        table = pq.read_table(reference(f"delphes/{name}.ntuple.parquet"))
        path = tmp_path / f"{part}_0000.parquet"
        table = table.select(product.schema(options).names).cast(product.schema(options))
        key = ShardKey("jets", part, 0, "test", 1)
        rows = write_shard(path, [table], ROWS[part], key, product, options, "f" * 64, "more")
        counts = count_classes(rows, product.label(options))
        write_ledger(
            path, 0.0, rows=len(rows), class_counts=counts, events_generated=120,
            rows_made=ROWS[part] + 3, rows_left_over=3, batches=[],
        )  # fmt: skip
        shards.append(path)
    build_manifest(shards, "jets", 1, "f" * 64, tmp_path / "manifest.json")
    return tmp_path


@pytest.fixture
def evaluation(dataset):
    folder = dataset / "sophon"
    metrics = {
        "task": "sophon", "split": "test", "summary": {"accuracy": 0.2534, "jets": 12345},
        "figures": {}, "dataset_sha256": "d" * 64,
    }  # fmt: skip
    write_json(folder / "metrics.json", metrics)
    return folder / "metrics.json"


def study(folder):
    """Write a study as its rule leaves it."""
    content = {
        "name": "few", "training": "tuned", "metric": "auc", "size_key": "data.train_rows",
        "baseline": "scratch", "note": "Not on collisions",
        "results": [
            {"way": way, "size": 10, "seeds": [1], "mean": 0.5, "error": None} | gain
            for way, gain in (("scratch", {}), ("tuned", {"gain": 0.0123, "gain_error": 0.001}))
        ],
    }  # fmt: skip
    path = folder / "few" / "study.json"
    write_json(path, content)
    draw_study(path.with_suffix(""), content["results"], content)
    return path


def test_report_shows_datasets_networks_and_studies(dataset, evaluation):
    output = dataset / "report.html"
    manifests = [dataset / "manifest.json"]
    write_report("<script>alert(1)</script>", manifests, [evaluation], [study(dataset)], output)
    page = output.read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    for part, count in ROWS.items():
        assert re.search(rf"<td>{part}</td><td>1</td><td>0</td><td>0</td><td>{count}</td>", page)
    assert "0.2534" in page
    assert "0.0123" in page
    # Jets, labels, three distributions, the study.
    assert page.count("data:image/png;base64,") == 6
    assert "http://" not in page


def test_report_is_the_same_twice(dataset, evaluation):
    for name in ("a.html", "b.html"):
        write_report("x", [dataset / "manifest.json"], [evaluation], [], dataset / name)
    assert (dataset / "a.html").read_bytes() == (dataset / "b.html").read_bytes()


def test_missing_manifest_is_named(tmp_path):
    with pytest.raises(UserError, match=r"manifest\.json: no such file"):
        write_report("x", [tmp_path / "manifest.json"], [], [], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_a_file_that_is_no_evaluation_is_named(dataset):
    write_json(dataset / "other" / "metrics.json", {"accuracy": 1})
    metrics = [dataset / "other" / "metrics.json"]
    with pytest.raises(UserError, match="not the result of `python -m training evaluate`"):
        write_report("x", [dataset / "manifest.json"], metrics, [], dataset / "report.html")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1234567, "1,234,567"), (0.49217, "0.4922"), (3.0, "3"), (0.0, "0"), (None, "–")],
)
def test_numbers_are_written_for_people(value, expected):
    assert format_number(value) == expected
