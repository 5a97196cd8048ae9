"""A dataset against its manifest: every kind of fault has its own name."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from jet_tables import JETS, OPTIONS, SCHEMA, jet_table

from ntuplizer.cli import main
from ntuplizer.labels import LABELS
from ntuplizer.manifest import hash_dataset, read_manifest
from ntuplizer.shards import describe, write_tables
from ntuplizer.verify import verify
from provenance.errors import UserError
from provenance.files import sha256
from provenance.seal import json_sha256

NAMES = ("QCD_0000", "QCD_0001", "QCD_0002", "Res2P_0000")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """Return a sound dataset of four shards, made by the command line."""
    folder = tmp_path_factory.mktemp("dataset")
    for number, name in enumerate(NAMES):
        part, index = name.split("_")
        jets = folder / "scratch" / f"{name}.parquet"
        write_tables(jets, [jet_table(60, number)], SCHEMA, lambda: describe(JETS, OPTIONS))
        split = ("train", "val", "test", "train")[number]
        main(
            ["shard", str(jets), "--rows", "50", "--dataset", "small", "--seed", "5",
             "--part", part, "--index", index, "--split", split, "--fingerprint", "f0",
             "--output", str(folder / f"{name}.parquet")]
        )  # fmt: skip
    build(folder)
    return folder


def build(folder: Path) -> None:
    main(
        ["manifest", str(folder), "--name", "small", "--seed", "5", "--fingerprint", "c0",
         "--output", str(folder / "manifest.json")]
    )  # fmt: skip


@pytest.fixture
def dataset(whole, tmp_path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def kinds(folder: Path) -> list[tuple[str, str]]:
    return [(problem.kind, problem.file.removesuffix(".parquet")) for problem in verify(folder)]


def edit(folder: Path, change) -> None:
    """Change the manifest by hand, its digest included."""
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    del manifest["manifest_sha256"]
    manifest["manifest_sha256"] = json_sha256(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def rewrite(folder: Path, name: str, table, metadata: dict | None = None) -> None:
    """Replace a shard and make the manifest agree with its bytes."""
    old = pq.read_metadata(folder / f"{name}.parquet").metadata
    metadata = metadata or json.loads(old[b"jetclass"])
    write_tables(folder / f"{name}.parquet", [table], table.schema, lambda: metadata)

    def change(manifest):
        entry = next(e for e in manifest["files"] if e["path"] == f"{name}.parquet")
        entry["sha256"] = sha256(folder / entry["path"])
        entry["bytes"] = (folder / entry["path"]).stat().st_size

    edit(folder, change)


def test_manifest_lists_the_shards(whole):
    manifest = json.loads((whole / "manifest.json").read_text())
    assert [entry["path"] for entry in manifest["files"]] == [f"{name}.parquet" for name in NAMES]
    assert [entry["split"] for entry in manifest["files"]] == ["train", "val", "test", "train"]
    for entry in manifest["files"]:
        assert entry["rows"] == sum(entry["class_counts"].values()) == 50
        assert entry["bytes"] == (whole / entry["path"]).stat().st_size
        assert entry["ledger"]["fingerprint"] == "f0"
        assert entry["ledger"]["sha256"] == entry["sha256"] == sha256(whole / entry["path"])
    assert manifest["labels"] == list(LABELS)
    assert manifest["totals"]["rows"] == 200
    assert manifest["totals"]["splits"]["train"]["files"] == 2
    assert (manifest["name"], manifest["seed"], manifest["fingerprint"]) == ("small", 5, "c0")
    assert (manifest["format"], manifest["product"]) == (2, "jets")
    assert manifest["options"] == OPTIONS.model_dump()
    assert manifest["identity"] == []
    assert read_manifest(whole) == manifest


def test_the_datasets_hash_is_that_of_its_rows_and_splits(whole):
    manifest = read_manifest(whole)
    own = manifest["dataset_sha256"]
    assert own == hash_dataset("jets", manifest["files"])
    files = [dict(entry, path="elsewhere", ledger={}) for entry in manifest["files"]]
    assert hash_dataset("jets", files) == own
    assert hash_dataset("jets", files[:3]) != own
    assert hash_dataset("energy", files) != own
    files[0]["split"] = "test"
    assert hash_dataset("jets", files) != own


def test_sound_dataset(dataset):
    assert verify(dataset) == verify(dataset / "manifest.json") == []
    main(["verify", str(dataset)])


def test_missing_empty_unexpected(dataset):
    (dataset / "QCD_0000.parquet").unlink()
    (dataset / "QCD_0001.parquet").write_bytes(b"")
    shutil.copy(dataset / "Res2P_0000.parquet", dataset / "Res2P_0001.parquet")
    assert kinds(dataset) == [
        ("missing", "QCD_0000"), ("empty", "QCD_0001"), ("unexpected", "Res2P_0001"),
    ]  # fmt: skip
    with pytest.raises(UserError, match="3 problems"):
        main(["verify", str(dataset)])


def test_swapped_and_duplicate(dataset):
    first, second = dataset / "QCD_0000.parquet", dataset / "QCD_0001.parquet"
    content = first.read_bytes(), second.read_bytes()
    first.write_bytes(content[1])
    second.write_bytes(content[0])
    assert kinds(dataset) == [("swapped", "QCD_0000"), ("swapped", "QCD_0001")]
    first.write_bytes(content[0])
    assert kinds(dataset) == [("duplicate", "QCD_0001")]


def test_every_flipped_bit_is_found(dataset):
    file = dataset / "QCD_0002.parquet"
    sound = file.read_bytes()
    rng = np.random.default_rng(1)
    for place in rng.integers(len(sound), size=20):
        damaged = bytearray(sound)
        damaged[place] ^= 1 << int(rng.integers(8))
        file.write_bytes(damaged)
        assert kinds(dataset) == [("checksum", "QCD_0002")]


def test_other_size(dataset):
    with (dataset / "QCD_0002.parquet").open("ab") as stream:
        stream.write(b"more")
    assert kinds(dataset) == [("size", "QCD_0002")]


def test_contents(dataset):
    table = pq.read_table(dataset / "QCD_0000.parquet")
    rewrite(dataset, "QCD_0000", table.slice(1))
    assert kinds(dataset) == [("rows", "QCD_0000")]
    rewrite(dataset, "QCD_0000", table.drop_columns(["jet_tau4"]))
    assert kinds(dataset) == [("schema", "QCD_0000")]

    def with_column(name, values):
        position = table.schema.get_field_index(name)
        return table.set_column(position, table.schema.field(name), [values])

    labels = table["jet_label"].to_numpy().copy()
    labels[3] = 188
    rewrite(dataset, "QCD_0000", with_column("jet_label", labels))
    assert kinds(dataset) == [("label", "QCD_0000")]
    labels[3] = (table["jet_label"][3].as_py() + 1) % 188
    rewrite(dataset, "QCD_0000", with_column("jet_label", labels))
    assert kinds(dataset) == [("classes", "QCD_0000")]
    pt = table["jet_pt"].to_numpy().copy()
    pt[5] = np.nan
    rewrite(dataset, "QCD_0000", with_column("jet_pt", pt))
    assert kinds(dataset) == [("value", "QCD_0000")]


def test_jets_in_two_splits(dataset):
    rewrite(dataset, "QCD_0001", pq.read_table(dataset / "QCD_0000.parquet").slice(0, 50))
    edit(dataset, lambda m: m["files"][1].update(class_counts=m["files"][0]["class_counts"]))
    found = verify(dataset)
    assert [(problem.kind, problem.file) for problem in found] == [("repeated", "QCD_0000.parquet")]
    assert "50 of its rows are also in QCD_0001.parquet" in found[0].detail


def test_metadata_of_another_shard(dataset):
    table = pq.read_table(dataset / "QCD_0000.parquet")
    key = {"dataset": "small", "part": "QCD", "index": 9, "split": "val", "seed": 5}
    rewrite(dataset, "QCD_0000", table, describe(JETS, OPTIONS) | {"key": key})
    assert kinds(dataset) == [("metadata", "QCD_0000")] * 2  # index and split
    wide = JETS.read_options({"jet_radius": 1.5})
    key |= {"index": 0, "split": "train"}
    rewrite(dataset, "QCD_0000", table, describe(JETS, wide) | {"key": key})
    assert kinds(dataset) == [("metadata", "QCD_0000")]  # options


def test_totals(dataset):
    edit(dataset, lambda m: m["totals"].update(rows=1))
    assert kinds(dataset) == [("totals", "manifest.json")]


def test_manifests_that_cannot_be_read(dataset, tmp_path):
    with pytest.raises(UserError, match="no such file"):
        verify(tmp_path / "nowhere")
    for change, words in (
        (lambda m: m["labels"].reverse(), "other labels"),
        (lambda m: m["options"].update(jet_width=1), "option jet_width"),
        (lambda m: m.update(product="muons"), "no product 'muons'"),
        (lambda m: m["files"][1].update(rows="50"), r"files\.1\.rows: Input should be"),
        (lambda m: m["files"][1].pop("split"), r"files\.1\.split: Field required"),
        (lambda m: m.pop("totals"), "totals: Field required"),
        (lambda m: m.update(format=99), "format 2"),
    ):
        before = (dataset / "manifest.json").read_text()
        edit(dataset, change)
        with pytest.raises(UserError, match=words):
            verify(dataset)
        (dataset / "manifest.json").write_text(before)
    (dataset / "manifest.json").write_text("{}")
    with pytest.raises(UserError, match="not a dataset manifest"):
        verify(dataset)


@pytest.mark.parametrize(("old", "new"), [('"val"', '"test"'), ('"rows": 50', '"rows": 51')])
def test_a_manifest_that_was_changed(dataset, old, new):
    text = (dataset / "manifest.json").read_text()
    (dataset / "manifest.json").write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match="changed since it was written"):
        verify(dataset)
    # Layout is not content.
    (dataset / "manifest.json").write_text(json.dumps(json.loads(text), sort_keys=True))
    assert verify(dataset) == []


def test_manifest_of_changed_or_foreign_shards(dataset, tmp_path):
    output = ["--name", "small", "--output", str(tmp_path / "m.json")]
    other = ["--name", "large", "--output", str(tmp_path / "m.json")]
    with pytest.raises(UserError, match="made with dataset small, not large"):
        main(["manifest", str(dataset / "QCD_0000.parquet"), "--seed", "5", *other])
    with pytest.raises(UserError, match="made with seed 5, not 6"):
        main(["manifest", str(dataset / "QCD_0000.parquet"), "--seed", "6", *output])
    twice = [str(dataset / "QCD_0000.parquet")] * 2
    with pytest.raises(UserError, match="2 shards have this part and index"):
        main(["manifest", *twice, "--seed", "5", *output])
    (tmp_path / "void").mkdir()
    with pytest.raises(UserError, match="no shard"):
        main(["manifest", str(tmp_path / "void"), "--seed", "5", *output])
    shutil.copy(dataset / "QCD_0001.parquet", dataset / "QCD_0000.parquet")
    with pytest.raises(UserError, match="changed since its ledger"):
        main(["manifest", str(dataset), "--seed", "5", *output])
    (dataset / "QCD_0000.parquet.json").unlink()
    with pytest.raises(UserError, match="no such file"):
        main(["manifest", str(dataset), "--seed", "5", *output])
    assert not (tmp_path / "m.json").exists()
