"""Jets by their constituents' own features: what is read, grouped, masked and marked absent."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ntuplizer.labels import LABELS
from provenance.errors import UserError
from training.data.shards import list_row_groups, read_dataset
from training.jets.config import ConstituentDataConfig
from training.jets.constituents import FEATURES, ConstituentReader, group_labels
from training.models.sizes import TokenMasksConfig

MASKS = TokenMasksConfig(targets=2)
GROUPS = {"QCD": ("QCD_*",), "X": ("X_[!Y]*",), "YY": ("X_YY_*",)}


def reader(patches=6, **config) -> ConstituentReader:
    return ConstituentReader(ConstituentDataConfig(**config), patches=patches, masks=MASKS, seed=3)


@pytest.fixture
def shards(manifest):
    return read_dataset(manifest).shards("train")


def rows_of(own, shards):
    return own.read(list_row_groups(shards, own))


def test_features_are_of_the_constituent_alone(shards):
    own = reader(max_constituents=16)
    batch = own.collate(rows_of(own, shards[:1]), np.array([3]))
    row = pq.read_table(shards[0][0]).slice(3, 1).to_pylist()[0]
    n = int(batch["mask"].sum())
    assert n == min(row["jet_nparticles"], 16)
    found = dict(zip(FEATURES, batch["features"][0, :n].T.numpy(), strict=True))
    np.testing.assert_allclose(
        found["tanh(part_d0val / mm)"], np.tanh(row["part_d0val"][:n]), rtol=1e-6
    )
    np.testing.assert_allclose(
        found["clip(part_dzerr / mm, 0, 1)"], np.clip(row["part_dzerr"][:n], 0, 1), rtol=1e-6
    )
    assert found["part_isPhoton"].tolist() == row["part_isPhoton"][:n]
    assert found["has identity"].tolist() == found["has displacement"].tolist() == [1] * n
    # Momenta as they are, not in units of the jet's.
    np.testing.assert_array_equal(batch["vectors"][0, :n, 0], row["part_px"][:n])


def test_masks_depend_on_seed_jet_and_pass_alone(shards):
    own = reader()
    rows = rows_of(own, shards)
    chosen = np.arange(20)
    first = own.draw(rows, chosen, 1)
    # In another batch, order and set of shards.
    again = reader().draw(rows_of(own, shards[:1]), chosen[::-1].copy(), 1)
    assert (again["context"].flip(0) == first["context"]).all()
    assert (again["targets"].flip(0) == first["targets"]).all()
    for other in (own.draw(rows, chosen, 2), own.collate(rows, chosen)):
        assert (other["context"] != first["context"]).any(dim=1).float().mean() > 0.5
    assert not (first["context"][:, None] & first["targets"]).any()
    assert len(np.unique(rows.name)) == len(rows)


def test_labels_are_grouped(shards):
    own = reader(classes=GROUPS)
    assert own.labels == tuple(GROUPS)
    rows = rows_of(own, shards)
    batch = own.collate(rows, np.arange(len(rows)))
    for index, label in zip(batch["label"].tolist(), rows.scalars["jet_label"], strict=True):
        prefix = ("QCD_", "X_", "X_YY_")[index]
        assert LABELS[label].startswith(prefix)
    only = reader(classes={"b": ("X_bb",), "c": ("X_cc",)})
    assert set(rows.scalars["jet_label"][only.select(rows.scalars)]) == {
        LABELS.index("X_bb"), LABELS.index("X_cc"),
    }  # fmt: skip


def test_groups_that_cannot_be_are_named():
    with pytest.raises(UserError, match=r"data\.classes\.a: 'X_tt' is none of the 188 labels"):
        group_labels(LABELS, {"a": ("X_tt",), "b": ("X_bb",)})
    with pytest.raises(UserError, match="X_bb is of the classes a and b"):
        group_labels(LABELS, {"a": ("X_b*",), "b": ("X_bb",)})


def test_shuffled_labels_are_of_the_training_alone(shards):
    own = reader(classes=GROUPS)
    own.shuffled = True
    rows = rows_of(own, shards)
    chosen = np.flatnonzero(own.select(rows.scalars))
    truth = own.collate(rows, chosen)["label"].numpy()
    dealt = own.draw(rows, chosen, 0)["label"].numpy()
    assert np.array_equal(dealt, own.draw(rows, chosen, 5)["label"].numpy())
    assert np.array_equal(np.bincount(dealt), np.bincount(truth))
    chance = (np.bincount(truth) ** 2).sum() / len(truth) ** 2
    assert (dealt == truth).mean() == pytest.approx(chance, abs=0.1)


def test_what_a_set_lacks_is_absent_and_not_zero(shards, tmp_path):
    table = pq.read_table(shards[0][0])
    lacking = [name for name in table.column_names if name[5:] in
               ("d0val", "d0err", "dzval", "dzerr")]  # fmt: skip
    path = tmp_path / "some.parquet"
    own = reader()

    def write(metadata):
        small = table.drop_columns(lacking).replace_schema_metadata(metadata)
        pq.write_table(small, path, write_page_checksum=True)

    write({"jetclass": json.dumps({"absent": ["displacement"]})})
    # Beside jets that have it.
    rows = rows_of(own, [(path, ""), shards[0]])
    batch = own.collate(rows, np.array([0, len(table)]))
    real = batch["mask"]
    presence = batch["features"][..., -2:]
    assert presence[0][real[0]].unique(dim=0).tolist() == [[1, 0]]
    assert presence[1][real[1]].unique(dim=0).tolist() == [[1, 1]]
    assert not batch["features"][0, :, 6:10].any()
    write({})
    with pytest.raises(UserError, match=r"some\.parquet: has no column part_d0val, and its meta"):
        rows_of(own, [(path, "")])


def test_damage_is_named(shards, tmp_path):
    table = pq.read_table(shards[0][0])
    place = table.column_names.index("jet_label")
    wrong = table.set_column(place, "jet_label", pa.array(np.full(len(table), 188, "i4")))
    pq.write_table(wrong, tmp_path / "wrong.parquet", write_page_checksum=True)
    own = reader()
    with pytest.raises(UserError, match=r"wrong\.parquet: column jet_label holds 188"):
        rows_of(own, [(tmp_path / "wrong.parquet", "")])
