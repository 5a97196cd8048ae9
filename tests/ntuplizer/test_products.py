"""A product is one file: found by its name, cheap to import, and known to every command."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from event_files import write_events

from ntuplizer import products
from ntuplizer.batch import Collection
from ntuplizer.cli import main
from ntuplizer.manifest import read_manifest
from ntuplizer.products import get_product, product_names
from ntuplizer.shards import ShardKey, read_metadata, read_table, write_shard
from ntuplizer.verify import verify
from provenance.errors import UserError
from provenance.ledger import write_ledger

# A row per particle; how many options are read, which columns a label and an identity have, is
# all said here and nowhere else.
TOY = '''
from pydantic import Field

from ntuplizer.products import Axis, Label, Product, ProductOptions
from ntuplizer.schema import EVENT_IDENTITY, Column, scalars


class ToyOptions(ProductOptions):
    """Which particles to keep."""

    pt_min: float = Field(5.0, ge=0, description="lowest pT in GeV")
    species: tuple[str, ...] = Field(("other", "muon"), description="what particles are called")
    squared: bool = Field(False, description="add the square of pT")


def columns(options):
    square = scalars("", ("pt_squared", "float32", "GeV²", "its square"))
    return (
        *EVENT_IDENTITY,
        Column("particle", "int32", "", "number of the particle in its event"),
        *scalars("", ("pt", "float32", "GeV", "pT"), ("kind", "int32", "", "index of the species")),
        *(square if options.squared else ()),
    )


def make(batch, options, counts):
    import numpy as np

    particles = batch["Particle"]
    kept = np.flatnonzero(particles["PT"] > options.pt_min)
    counts.steps["particles"] += len(particles["PT"])
    event = particles.event[kept]
    return {
        **batch.identify(event),
        "particle": kept - particles.offsets[event],
        "pt": particles["PT"][kept],
        "kind": np.abs(particles["PID"][kept]) == 13,
        "pt_squared": particles["PT"][kept] ** 2,
    }


PRODUCT = Product(
    name="toy",
    summary="particles",
    version=3,
    Options=ToyOptions,
    columns=columns,
    branches=lambda options: {"Particle": ("PT", "PID")},
    make=make,
    label=lambda options: Label("kind", options.species),
    identity=(*(column.name for column in EVENT_IDENTITY), "particle"),
    axes=(Axis("pt", "pT", 10, 0, 100),),
)
'''


@pytest.fixture
def toy(tmp_path, monkeypatch) -> products.Product:
    """Add a product by adding a file."""
    folder = tmp_path / "products"
    folder.mkdir()
    (folder / "toy.py").write_text(TOY)
    monkeypatch.setattr(products, "__path__", [*products.__path__, str(folder)])
    monkeypatch.delitem(sys.modules, "ntuplizer.products.toy", raising=False)
    yield get_product("toy")
    del sys.modules["ntuplizer.products.toy"]


def write_particles(path: Path, process: str, batch: int, n_events: int = 20) -> Path:
    rng = np.random.default_rng(batch)
    counts = rng.integers(0, 6, n_events)
    columns = {
        "PT": rng.exponential(20, counts.sum()).astype("f4"),
        "PID": rng.choice(np.array([13, -13, 11], "i4"), counts.sum()),
    }
    particles = Collection(np.concatenate(([0], np.cumsum(counts))), columns)
    write_events(path, {"Particle": particles})
    write_ledger(path, 0.0, batches=[{"process": process, "batch": batch, "events": n_events}])
    return path


def test_a_product_is_one_file(toy, tmp_path):
    assert "toy" in product_names()
    for number, split in enumerate(("train", "val")):
        events = write_particles(tmp_path / f"{number}.root", "dimuon", number)
        rows = tmp_path / "rows" / f"{number}.parquet"
        main(["toy", str(events), "--output", str(rows), "--pt-min", "8",
              "--species", "electron", "muon", "--squared"])  # fmt: skip
        main(["shard", str(rows), "--rows", "20", "--dataset", "particles", "--part", "A",
              "--index", str(number), "--split", split, "--seed", "1",
              "--output", str(tmp_path / "dataset" / f"A_{number}.parquet")])  # fmt: skip
    folder = tmp_path / "dataset"
    main(["manifest", str(folder), "--name", "particles", "--seed", "1",
          "--output", str(folder / "manifest.json")])  # fmt: skip
    main(["verify", str(folder)])

    table = read_table(folder / "A_1.parquet", "toy")
    assert table.num_rows == 20
    assert set(table["process"].to_pylist()) == {"dimuon"}
    assert set(table["batch"].to_pylist()) == {1}
    assert min(table["pt"].to_pylist()) > 8
    counts = read_metadata(tmp_path / "rows" / "1.parquet")["counts"]
    assert counts["events"] == 20
    assert counts["steps"]["particles"] >= counts["rows"] == sum(counts["class_counts"].values())
    manifest = read_manifest(folder)
    assert (manifest["product"], manifest["product_version"]) == ("toy", 3)
    assert manifest["labels"] == ["electron", "muon"]
    assert manifest["identity"] == ["process", "batch", "event", "particle"]
    assert manifest["options"] == {"pt_min": 8, "species": ["electron", "muon"], "squared": True}
    assert manifest["totals"]["class_counts"].keys() == {"electron", "muon"}


def make_dataset(folder: Path, toy: products.Product, shards: list[pa.Table]) -> None:
    """Write tables of the toy product as shards for training, validation and test."""
    options = toy.Options()
    for index, table in enumerate(shards):
        path = folder / f"A_{index}.parquet"
        key = ShardKey("particles", "A", index, ("train", "val", "test")[index], 1)
        write_shard(path, [table], table.num_rows, key, toy, options, "", "")
        write_ledger(path, 0.0)
    main(["manifest", str(folder), "--name", "particles", "--seed", "1",
          "--output", str(folder / "manifest.json")])  # fmt: skip


@pytest.fixture
def particles(toy, tmp_path) -> pa.Table:
    """Return toy rows of two batches, in the order of the events."""
    tables = []
    for batch in range(2):
        events = write_particles(tmp_path / f"{batch}.root", "dimuon", batch)
        main(["toy", str(events), "--output", str(tmp_path / "rows.parquet")])
        tables.append(pq.read_table(tmp_path / "rows.parquet"))
    return pa.concat_tables(tables).combine_chunks()


def test_rows_with_one_identity(toy, particles, tmp_path):
    twice = pa.concat_tables([particles.slice(0, 20), particles.slice(3, 2)])
    # Other values do not make it another particle.
    twice = twice.set_column(
        twice.schema.get_field_index("pt"),
        twice.schema.field("pt"),
        [np.arange(twice.num_rows, dtype="f4")],
    )
    make_dataset(tmp_path / "twice", toy, [twice])
    (problem,) = verify(tmp_path / "twice")
    assert (problem.kind, problem.file) == ("identity", "A_0.parquet")
    assert problem.detail == "2 of its identities occur more than once"


def test_events_in_two_splits(toy, particles, tmp_path):
    event, batch = particles["event"].to_numpy(), particles["batch"].to_numpy()
    inside = np.flatnonzero((np.diff(event) == 0) & (np.diff(batch) == 0))
    within = int(inside[len(inside) // 2]) + 1
    between = within + int(np.flatnonzero(np.diff(event[within:]) != 0)[0]) + 1
    make_dataset(tmp_path / "apart", toy, [particles.slice(0, between), particles.slice(between)])
    assert verify(tmp_path / "apart") == []
    make_dataset(tmp_path / "cut", toy, [particles.slice(0, within), particles.slice(within)])
    (problem,) = verify(tmp_path / "cut")
    assert (problem.kind, problem.file) == ("leak", "manifest.json")
    assert problem.detail == "1 events have rows in the splits train and val"


def test_the_same_number_in_another_process_is_another_event(toy, particles, tmp_path):
    place = particles.schema.get_field_index("process")
    renamed = particles.set_column(
        place, particles.schema.field("process"), [pa.array(["other"] * particles.num_rows)]
    )
    make_dataset(tmp_path / "two", toy, [particles, renamed])
    assert verify(tmp_path / "two") == []
    make_dataset(tmp_path / "one", toy, [particles, particles])
    assert [problem.kind for problem in verify(tmp_path / "one")] == ["identity", "leak"]


def test_options_that_differ_between_parts(toy, particles, tmp_path):
    """What all shards share stands in the manifest, the rest with each file."""
    for index, pt_min in enumerate((5.0, 6.0)):
        path = tmp_path / "set" / f"A_{index}.parquet"
        options = toy.read_options({"pt_min": pt_min})
        table = particles.slice(30 * index, 30)
        key = ShardKey("particles", "A", index, "train", 1)
        write_shard(path, [table], 30, key, toy, options, "", "")
        write_ledger(path, 0.0, batches=[1, 2, 3], events=7)
    main(["manifest", str(tmp_path / "set"), "--name", "particles", "--seed", "1",
          "--output", str(tmp_path / "set" / "manifest.json")])  # fmt: skip
    manifest = read_manifest(tmp_path / "set")
    assert manifest["options"] == {"species": ["other", "muon"], "squared": False}
    assert [entry["options"] for entry in manifest["files"]] == [{"pt_min": 5.0}, {"pt_min": 6.0}]
    assert verify(tmp_path / "set") == []
    # Thousands of batches stay in the shard's own ledger.
    assert "batches" not in manifest["files"][0]["ledger"]
    assert manifest["files"][0]["ledger"]["events"] == 7


def test_shards_of_other_columns_are_no_dataset(toy, particles, tmp_path):
    squared = particles.append_column(
        toy.schema(toy.read_options({"squared": True})).field("pt_squared"),
        [np.ones(particles.num_rows, "f4")],
    )
    for index, (table, chosen) in enumerate(((particles, False), (squared, True))):
        path = tmp_path / "set" / f"A_{index}.parquet"
        options = toy.read_options({"squared": chosen})
        key = ShardKey("particles", "A", index, "train", 1)
        write_shard(path, [table], 30, key, toy, options, "", "")
        write_ledger(path, 0.0)
    with pytest.raises(UserError, match=r"A_1\.parquet: its options give other columns"):
        main(["manifest", str(tmp_path / "set"), "--name", "particles", "--seed", "1",
              "--output", str(tmp_path / "manifest.json")])  # fmt: skip


def test_shards_of_another_version_are_no_dataset(toy, particles, tmp_path, monkeypatch):
    path = tmp_path / "A_0.parquet"
    key = ShardKey("particles", "A", 0, "train", 1)
    write_shard(path, [particles], 30, key, toy, toy.Options(), "", "")
    write_ledger(path, 0.0)
    # Of another length, or Python may take its compiled copy.
    (tmp_path / "products" / "toy.py").write_text(TOY.replace("version=3", "version=3 + 1"))
    monkeypatch.delitem(sys.modules, "ntuplizer.products.toy")
    with pytest.raises(UserError, match="made by version 3 of the product toy, this is version 4"):
        main(["manifest", str(path), "--name", "particles", "--seed", "1",
              "--output", str(tmp_path / "manifest.json")])  # fmt: skip


def test_unknown_products_and_options_are_named():
    with pytest.raises(UserError, match=r"no product 'toys': it is one of .*jets"):
        get_product("toys")
    jets = get_product("jets")
    for values, words in (
        ({"jet_width": 1}, "product jets, option jet_width: it is none of jet_radius, "),
        ({"jet_radius": "wide"}, "option jet_radius: a valid number is needed, not 'wide'"),
        ({"jet_radius": 4}, "option jet_radius: less than or equal to 3.14"),
        ({"jet_collection": "calo"}, "option jet_collection: 'puppi' or 'chs' is needed"),
    ):
        with pytest.raises(UserError, match=words) as caught:
            jets.read_options(values)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", product_names())
def test_what_a_product_says_of_itself_holds(name):
    product = get_product(name)
    options = product.Options()
    columns = {column.name: column for column in product.columns(options)}
    assert set(product.identity) <= columns.keys()
    assert product.identity[: len(product.event_identity)] == product.event_identity
    assert {axis.column for axis in product.axes} <= columns.keys()
    label = product.label(options)
    assert label is None or columns[label.column].value_type == "int32"
    for field in product.Options.model_fields.values():
        assert field.description
        assert not field.is_required()
    with pytest.raises(ValueError, match="frozen"):
        options.model_copy().__setattr__(next(iter(product.Options.model_fields)), 1)


def test_importing_all_products_is_light():
    """The workflow checks its configuration with them, in under a second."""
    code = (
        "import sys\n"
        "from ntuplizer.products import get_product, product_names\n"
        "for name in product_names():\n    get_product(name).Options()\n"
        "heavy = {'numba', 'numpy', 'fastjet', 'awkward', 'uproot', 'pyarrow', 'torch'}\n"
        "print(heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_datasets_are_read_without_what_makes_them():
    code = (
        "import sys, ntuplizer.manifest, ntuplizer.verify\n"
        "print({'numba', 'fastjet', 'awkward', 'uproot', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
