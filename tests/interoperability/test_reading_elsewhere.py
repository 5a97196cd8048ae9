"""A published dataset is read by what others use, without a line of this project's code.

The libraries are those of the optional dependencies `interop`; without one its test says so.
"""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from jet_dataset import JETS, OPTIONS, write_jet_dataset

from ntuplizer.card import CARD, CROISSANT, size_category
from ntuplizer.cli import main
from ntuplizer.labels import LABELS
from provenance.errors import UserError
from workflow.config_model import ROOT

SPLITS = ("train", "train", "train", "train", "val", "test")
ROWS = 20


def library(name):
    return pytest.importorskip(name, reason=f"{name} is not installed: pip install '.[interop]'")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    """Return a dataset of six shards with its card, made by the command line."""
    folder = write_jet_dataset(tmp_path_factory.mktemp("published") / "jets", SPLITS, ROWS)
    main(["card", str(folder), "--title=Random jets", "--date=2026-11-27"])
    return folder


@pytest.fixture(scope="module")
def first(dataset) -> pa.Table:
    return pq.read_table(dataset / "QCD_0000.parquet")


def test_the_card_says_what_is_there(dataset):
    text = (dataset / CARD).read_text()
    _, front_matter, body = text.split("---\n", 2)
    front = yaml.safe_load(front_matter)
    assert front["license"] == "cc-by-4.0"
    assert front["size_categories"] == ["n<1K"]
    (config,) = front["configs"]
    assert [files["split"] for files in config["data_files"]] == ["train", "val", "test"]
    assert config["data_files"][1]["path"] == ["QCD_0004.parquet"]
    assert "| QCD | 80 | 20 | 20 |" in body
    assert all(f"| `{column.name}` |" in body for column in JETS.columns(OPTIONS))
    assert all(f"`{label}`" in body for label in LABELS)
    manifest = json.loads((dataset / "manifest.json").read_text())
    assert manifest["dataset_sha256"] in body
    # The shards were made from files, which may be of collisions.
    assert "imulated" not in text.split("## Columns")[0]
    assert "simulation" not in front["tags"]
    # The same dataset has the same card.
    written = [(dataset / name).read_bytes() for name in (CARD, CROISSANT)]
    main(["card", str(dataset), "--title=Random jets", "--date=2026-11-27"])
    assert [(dataset / name).read_bytes() for name in (CARD, CROISSANT)] == written
    # What was not there before the card is not a fault of the dataset.
    main(["verify", str(dataset)])


def test_a_card_speaks_of_one_folder(dataset, tmp_path):
    manifest = tmp_path / "elsewhere" / "manifest.json"
    main(["manifest", str(dataset), "--name=jets", "--seed=5", f"--output={manifest}"])
    with pytest.raises(UserError, match=r"QCD_0000.parquet: lies outside of .*elsewhere"):
        main(["card", str(manifest)])
    assert not (manifest.parent / CARD).exists()


@pytest.mark.parametrize(
    ("rows", "name"),
    [(999, "n<1K"), (1_000, "1K<n<10K"), (48_000, "10K<n<100K"), (201_000_000, "100M<n<1B")],
)
def test_sizes_as_hugging_face_names_them(rows, name):
    assert size_category(rows) == name


def test_croissant(dataset, first):
    croissant = library("mlcroissant")
    described = croissant.Dataset(jsonld=dataset / CROISSANT)
    issues = described.metadata.ctx.issues
    assert not issues.errors
    assert not issues.warnings
    records = list(described.records("train"))
    assert len(records) == 4 * ROWS
    expected = first.to_pylist()[0]
    found = {name.removeprefix("train/"): value for name, value in records[0].items()}
    assert found.keys() == expected.keys()
    assert found["jet_label"] == expected["jet_label"]
    np.testing.assert_array_equal(found["part_px"], np.float32(expected["part_px"]))
    assert len(list(described.records("test"))) == ROWS


def test_hugging_face_streams_chosen_columns(dataset, first, tmp_path, monkeypatch):
    # Its cache goes where tests write, and nothing is looked up elsewhere.
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = library("datasets")
    files = sorted(map(str, dataset.glob("*.parquet")))
    rows = datasets.load_dataset(
        "parquet", data_files=files, split="train", streaming=True, columns=["jet_pt", "part_px"]
    )
    row = next(iter(rows))
    assert row == first.select(["jet_pt", "part_px"]).to_pylist()[0]
    # The card says which files belong to which split.
    split = datasets.load_dataset(str(dataset), split="val", streaming=True)
    assert len(list(split)) == ROWS


def test_duckdb(dataset, first):
    duckdb = library("duckdb")
    found = duckdb.sql(
        f"SELECT count(*), max(jet_pt), max(len(part_px)) FROM '{dataset}/QCD_0000.parquet'"  # noqa: S608
    ).fetchall()
    lengths = [len(px) for px in first["part_px"]]
    assert found == [(ROWS, max(first["jet_pt"].to_pylist()), max(lengths))]


def test_polars(dataset, first):
    polars = library("polars")
    found = polars.scan_parquet(dataset / "QCD_0000.parquet").select("jet_pt", "part_px").collect()
    assert found["jet_pt"].to_list() == first["jet_pt"].to_pylist()
    assert found["part_px"].to_list() == first["part_px"].to_pylist()


def test_pandas(dataset, first):
    pandas = library("pandas")
    found = pandas.read_parquet(dataset / "QCD_0000.parquet", columns=["jet_label", "part_px"])
    assert found["jet_label"].tolist() == first["jet_label"].to_pylist()
    np.testing.assert_array_equal(found["part_px"][3], first["part_px"][3].as_py())


def test_awkward(dataset, first):
    awkward = library("awkward")
    found = awkward.from_parquet(dataset / "QCD_0000.parquet", columns=["jet_pt", "part_*"])
    assert awkward.to_list(found.part_isPhoton) == first["part_isPhoton"].to_pylist()


def test_weaver_makes_the_inputs_that_we_make(dataset):
    """Its reading of Sophon's recipe and ours agree, jet by jet."""
    library("weaver")
    from weaver.utils.dataset import SimpleIterDataset

    from training.data.shards import list_row_groups
    from training.jets.config import JetDataConfig
    from training.jets.reader import JetReader

    path = dataset / "QCD_0005.parquet"
    loader = SimpleIterDataset(
        {"_": [str(path)]},
        str(ROOT / "docs" / "files" / "weaver-sophon.yaml"),
        for_training=False,
        fetch_step=1,
        async_load=False,
    )
    theirs = list(loader)
    reader = JetReader(JetDataConfig())
    ours = reader.collate(reader.read(list_row_groups([(path, "test")], reader)), np.arange(ROWS))
    assert len(theirs) == ROWS
    for (inputs, labels, observers), features, vectors, mask, label, pt in zip(
        theirs,
        *(ours[name] for name in ("features", "vectors", "mask", "label", "jet_pt")),
        strict=True,
    ):
        real = inputs["pf_mask"][0] > 0
        assert real.sum() == mask.sum()
        n = int(mask.sum())
        np.testing.assert_allclose(inputs["pf_features"][:, :n].T, features[:n], atol=2e-5)
        np.testing.assert_allclose(inputs["pf_vectors"][:, :n].T, vectors[:n], rtol=1e-5)
        assert labels["truth_label"] == label
        assert observers["jet_pt"] == pytest.approx(float(pt))
