"""The report: numbers of the manifests, escaped text, figures within; read in a browser."""

import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import browser
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import ntuplizer.products
from ntuplizer.manifest import build_manifest
from ntuplizer.ntuplize import ntuplize
from ntuplizer.products import count_classes, get_product
from ntuplizer.shards import ShardKey, write_shard
from provenance.errors import UserError
from provenance.files import read_json, write_json
from provenance.ledger import write_ledger
from workflow.figures import draw_study, plot_distribution, plot_label_counts
from workflow.report import marked, write_report
from workflow.report.elements import format_number
from workflow.report.inputs import Inputs

NAME = "<script>alert(1)</script>"
ROWS = {"QCD": 60, "Res34P": 50}
PHONE = 375


def write_dataset(folder: Path, name: str, parts: dict[str, tuple[pa.Table, int]], options=None):
    """Write a dataset of one test shard a part; return its manifest."""
    product = get_product(name)
    options = product.read_options(options or {})
    shards = []
    schema = product.schema(options)
    for part, (given, n_rows) in parts.items():
        path = folder / f"{part}_0000.parquet"
        table = given.select(schema.names).cast(schema)
        key = ShardKey(name, part, 0, "test", 1)
        rows = write_shard(path, [table], n_rows, key, product, options, "f" * 64, "more")
        label = product.label(options)
        write_ledger(
            path, 0.0, rows=len(rows), events_generated=120, rows_made=n_rows + 3,
            rows_left_over=3, batches=[], card="card.tcl", card_sha256="c" * 64,
            class_counts=None if label is None else count_classes(rows, label),
        )  # fmt: skip
        shards.append(path)
    build_manifest(shards, name, 1, "f" * 64, folder / "manifest.json")
    return folder / "manifest.json"


def write_evaluation(folder: Path) -> Path:
    metrics = {
        "task": "sophon", "split": "test", "summary": {"auc_of_X_bb": 0.2534, "jets": 12345},
        "figures": {}, "dataset_sha256": "d" * 64, "checkpoint_sha256": "a" * 64,
    }  # fmt: skip
    write_json(folder / "metrics.json", metrics)
    return folder / "metrics.json"


def write_study(folder: Path) -> Path:
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


def write_comparison(study: Path) -> Path:
    """Write a comparison as `python -m validation compare` leaves it, with a figure at hand."""
    path = study.parents[1] / "comparison" / "fatjet" / "comparison.json"
    path.parent.mkdir(parents=True)
    (path.parent / "leaves.png").write_bytes(study.with_suffix(".png").read_bytes())
    table = {"caption": "Bounds", "head": ["Bound", "Met"], "rows": [["Means within 1 %", 17]]}
    content = {"text": ["One file."], "tables": [table], "figures": {"leaves": "All leaves."}}
    write_json(path, content)
    return path


def write_benchmarks(folder: Path) -> Path:
    for number, memory in enumerate((900.5, 1500.0)):
        path = folder / "shard" / "jets" / f"QCD_000{number}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\th:m:s\tmax_rss\tcpu_time\n3600.0\t1:00:00\t{memory}\t1800.0\n")
    (folder / "train").mkdir()
    (folder / "train" / "sophon.tsv").write_text("s\tmax_rss\tcpu_time\n1.5\tNA\tNA\n")
    return folder


@pytest.fixture(scope="module")
def run(reference, tmp_path_factory):
    """Return what a run leaves: jets, events, a network, a study, a comparison."""
    folder = tmp_path_factory.mktemp("run")
    tables = {
        part: pq.read_table(reference(f"delphes/{name}.ntuple.parquet"))
        for part, name in (("QCD", "qcd_3"), ("Res34P", "res34p_1"))
    }
    parts = {part: (table, ROWS[part]) for part, table in tables.items()}
    events, _ = ntuplize(reference("delphes/ttbar_events.root"), "events", {})
    study = write_study(folder)
    ledger = folder / "checkpoint.ckpt.json"
    write_json(ledger, {"sha256": "a" * 64, "parameters": 54321, "wall_seconds": 90.0})
    return Inputs(
        name=NAME,
        manifests=[
            write_dataset(folder / "jets", "jets", parts),
            write_dataset(folder / "events", "events", {"Top": (events, min(len(events), 20))}),
        ],
        metrics=[write_evaluation(folder / "sophon")],
        studies=[study],
        checkpoints=[ledger],
        comparisons=[write_comparison(study)],
        benchmarks=write_benchmarks(folder / "benchmarks"),
        configuration={"name": "run", "training": {"sophon": {"from": {"training": "before"}}}},
    )


@pytest.fixture(scope="module")
def report(run, tmp_path_factory):
    """Return the page; what it links to lies where a run has it."""
    output = run.studies[0].parents[1] / "a report.html"
    write_report(run, output)
    return output


class Outline(HTMLParser):
    """Headings, identifiers, links and images of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.levels: list[int] = []
        self.identifiers: list[str] = []
        self.links: list[str] = []
        self.images: list[dict] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if re.fullmatch(r"h[1-6]", tag):
            self.levels.append(int(tag[1]))
        if "id" in found:
            self.identifiers.append(found["id"])
        if tag == "a":
            self.links.append(found["href"])
        if tag == "img":
            self.images.append(found)


def test_report_shows_datasets_networks_and_studies(report):
    page = report.read_text()
    assert NAME not in page
    assert "&lt;script&gt;" in page
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    for part, count in ROWS.items():
        assert f" {part} 1 0 0 {count} {count} " in text
    for words in (
        "Dataset jets", "Dataset events", "Network sophon", "Study few", "Comparison fatjet",
        "AUC of X bb 0.2534", "parameters 54,321", "training, minutes 1.5", "begins with before",
        "0.0123", "Means within 1 % 17", "shard 2 1 2 60 1,500",
    ):  # fmt: skip
        assert words in text, words
    assert "http://" not in page
    assert "https://" not in page


def test_structure_serves_those_who_cannot_see_it(report):
    outline = Outline(report.read_text())
    assert outline.levels[0] == 1
    assert outline.levels.count(1) == 1
    assert all(below - above <= 1 for above, below in pairwise(outline.levels))
    assert len(set(outline.identifiers)) == len(outline.identifiers)
    assert len(outline.images) > 8
    assert all(len(image["alt"]) > 10 for image in outline.images)


def test_every_link_leads_somewhere(report):
    outline = Outline(report.read_text())
    for link in outline.links:
        if link.startswith("#"):
            assert link[1:] in outline.identifiers
        else:
            assert (report.parent / unquote(link)).is_file(), link
    labels = read_json(report.with_suffix("") / "jets" / "labels.json")["rows"]
    assert sum(count for group in labels.values() for count in group.values()) == sum(ROWS.values())
    for name in ("jets/response", "jets/examples", "events/met_pt"):
        assert (report.with_suffix("") / f"{name}.pdf").read_bytes().startswith(b"%PDF")


PRODUCT = """
from ntuplizer.products import Axis, Product, ProductOptions
from ntuplizer.schema import scalars

PRODUCT = Product(
    name="heights", summary="rows of a height", version=1, Options=ProductOptions,
    columns=lambda options: scalars("", ("height", "float32", "m", "a height")),
    branches=lambda options: {}, make=None, axes=(Axis("height", "Height (m)", 10, 0, 3),),
)
"""


def test_a_new_product_appears_by_itself_and_twice_the_same(run, tmp_path, monkeypatch):
    (tmp_path / "heights.py").write_text(PRODUCT)
    monkeypatch.setattr(ntuplizer.products, "__path__", [str(tmp_path)])
    table = pa.table({"height": np.linspace(1, 2, 30, dtype="f4")})
    manifest = write_dataset(tmp_path / "data", "heights", {"People": (table, 30)})
    for folder in ("a", "b"):
        inputs = Inputs("x", [manifest], run.metrics, run.studies, benchmarks=run.benchmarks)
        write_report(inputs, tmp_path / folder / "report.html")
    files = ("report.html", "report/heights/height.json", "report/heights/height.pdf")
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    page = (tmp_path / "a" / "report.html").read_text()
    assert "Dataset heights" in page
    assert "rows of a height" in page
    assert read_json(tmp_path / "a" / files[1])["rows"]["People"]


def test_missing_manifest_is_named(tmp_path):
    with pytest.raises(UserError, match=r"manifest\.json: no such file"):
        write_report(Inputs("x", [tmp_path / "manifest.json"]), tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("key", "maker"),
    [("metrics", "training evaluate"), ("studies", "workflow study"),
     ("comparisons", "validation compare")],
)  # fmt: skip
def test_a_file_of_another_kind_is_named(run, tmp_path, key, maker):
    write_json(tmp_path / "other.json", {"accuracy": 1})
    with pytest.raises(UserError, match=f"other.json: not the result of `python -m {maker}`"):
        write_report(Inputs("x", **{key: [tmp_path / "other.json"]}), tmp_path / "report.html")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1234567, "1,234,567"), (0.49217, "0.4922"), (3.0, "3"), (0.0, "0"), (None, "–")],
)
def test_numbers_are_written_for_people(value, expected):
    assert format_number(value) == expected


def test_text_is_escaped_around_code():
    assert marked("a <b> `c <d>` e") == "a &lt;b&gt; <code>c &lt;d&gt;</code> e"


def test_distributions_have_no_empty_ends():
    axis = get_product("jets").axes[0]
    values = np.random.default_rng(1).uniform(300, 900, 20_000)
    figure, data, outside = plot_distribution({"QCD": values}, axis)
    counts = data["rows"]["QCD"]
    assert counts[0] > 0
    assert counts[-1] > 0
    assert outside < 0.003
    low, high = figure.axes[0].get_xlim()
    assert 200 < low < 320
    assert 880 < high < 1100


def test_names_of_all_labels_are_written_and_do_not_overlap():
    label = get_product("jets").label(None)
    groups: dict[str, dict[str, int]] = {}
    for number, name in enumerate(label.names):
        groups.setdefault(label.group_of(name), {})[name] = 1 + number
    figure = plot_label_counts(groups)
    figure.draw_without_rendering()
    written = []
    for axes in figure.axes:
        boxes = [tick.get_window_extent() for tick in axes.get_yticklabels()]
        tops = sorted((box.y0, box.y1) for box in boxes)
        assert all(below[1] <= above[0] + 1 for below, above in pairwise(tops))
        written += [tick.get_text() for tick in axes.get_yticklabels()]
    assert set(label.names) <= set(written)


@pytest.fixture(scope="module")
def page(report, tmp_path_factory):
    """Return the report in a browser."""
    if browser.find() is None:
        pytest.skip("no Chromium is installed: the report is not looked at in a browser")
    with browser.chromium(tmp_path_factory.mktemp("profile")) as opened:
        opened.open(report)
        yield opened


def test_browser_shows_every_image_and_complains_of_nothing(page, report):
    sizes = page.ask(
        "Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth)))"
    )
    assert len(sizes) == len(Outline(report.read_text()).images)
    assert min(sizes) > 100
    assert page.complaints == []
    assert page.requests == [report.absolute().as_uri()]


@pytest.mark.parametrize("width", [PHONE, 768, 1280])
def test_nothing_scrolls_sideways(page, width):
    page.resize(width, phone=width == PHONE)
    page.ask("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.ask("document.documentElement.scrollWidth") == width


def test_tables_sort_both_ways_and_keep_their_foot(page):
    page.ask("window.table = document.querySelector('#rows-jets table')")
    rows = "[...table.tBodies[0].rows].map(r => r.cells[5].textContent.trim())"
    click = "table.tHead.rows[0].cells[5].querySelector('button').click()"
    page.ask(click)
    assert page.ask(rows) == ["50", "60"]
    page.ask(click)
    assert page.ask(rows) == ["60", "50"]
    assert page.ask("table.tHead.rows[0].cells[5].getAttribute('aria-sort')") == "descending"
    assert page.ask("table.tFoot.rows[0].cells[5].textContent.trim()") == "110"


def test_tables_are_searched(page):
    shown = "[...document.querySelectorAll('#labels-jets tbody tr')].filter(r => !r.hidden).length"
    every = page.ask(shown)
    page.ask(
        "i = document.querySelector('#labels-jets input'); i.value = 'QCD_light';"
        "i.dispatchEvent(new Event('input'))"
    )
    assert page.ask(shown) == 1 < every
    page.ask("i.value = ''; i.dispatchEvent(new Event('input'))")
    assert page.ask(shown) == every


def test_figures_are_enlarged_and_closed_again(page):
    page.resize(1280)
    page.ask("document.querySelector('a.zoom').click()")
    assert page.ask("document.querySelector('dialog').open")
    assert page.ask("document.querySelector('dialog img').getBoundingClientRect().width") > 1000
    page.ask("document.querySelector('dialog button').click()")
    assert not page.ask("document.querySelector('dialog').open")
    assert page.complaints == []


def test_it_reads_without_javascript(page, report):
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page.open(report)
        # Its own scripts did not run, ours from outside do.
        assert page.ask("document.querySelectorAll('button, input').length") == 0
        assert page.ask("document.querySelectorAll('tbody tr').length") > 40
        paper = page.call("Page.printToPDF", preferCSSPageSize=True)["data"]
        assert len(paper) > 100_000
    finally:
        page.call("Emulation.setScriptExecutionDisabled", value=False)
