"""Columns to features, against the formulas written out with numpy."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from training.data.shards import list_row_groups
from training.jets.config import JetDataConfig, Selection
from training.jets.features import FEATURES, PARTICLE_CODES, VECTORS
from training.jets.reader import JetReader
from training.models.arrangement import ragged_sizes

READER = JetReader(JetDataConfig())


@pytest.fixture
def read(reference):
    path = reference("published/JetClassII_example.parquet")
    return READER.read(list_row_groups([(path, "example")], READER))


def test_features_and_vectors(read, reference):
    table = pq.read_table(reference("published/JetClassII_example.parquet"))
    batch = READER.collate(read, np.arange(len(read)))
    for row in range(100):
        column = {name: np.array(table[name][row].as_py()) for name in table.column_names}
        pt = np.hypot(column["part_px"], column["part_py"])
        energy, jet_pt = column["part_energy"], column["jet_pt"]
        expected = [
            np.clip((np.log(pt * 500 / jet_pt) - 1.7) * 0.7, -5, 5),
            np.clip((np.log(energy * 500 / jet_pt) - 2.0) * 0.7, -5, 5),
            np.clip((np.log(pt / jet_pt) + 4.7) * 0.7, -5, 5),
            np.clip((np.log(energy / column["jet_energy"]) + 4.7) * 0.7, -5, 5),
            np.clip((np.hypot(column["part_deta"], column["part_dphi"]) - 0.2) * 4, -5, 5),
            *(column[name] for name in PARTICLE_CODES),
            np.tanh(column["part_d0val"]),
            np.clip(column["part_d0err"], 0, 1),
            np.tanh(column["part_dzval"]),
            np.clip(column["part_dzerr"], 0, 1),
            column["part_deta"],
            column["part_dphi"],
        ]
        length = len(pt)
        assert batch["mask"][row].sum() == length
        np.testing.assert_allclose(
            batch["features"][row, :length], np.stack(expected, axis=1), atol=2e-5
        )
        momenta = [column[f"part_{name}"] / jet_pt * 500 for name in ("px", "py", "pz", "energy")]
        np.testing.assert_allclose(
            batch["vectors"][row, :length], np.stack(momenta, axis=1), rtol=1e-5
        )
        assert not batch["features"][row, length:].any()
    assert batch["sizes"] == ragged_sizes(batch["mask"].sum(1))
    assert batch["features"].shape[2:] == (len(FEATURES),) == (17,)
    assert batch["vectors"].shape[2:] == (len(VECTORS),)


def test_long_jets_keep_their_hardest_constituents(read):
    batch = JetReader(JetDataConfig(max_constituents=10)).collate(read, np.arange(20))
    full = READER.collate(read, np.arange(20))
    assert batch["mask"].shape == (20, 10)
    assert batch["sizes"] == ragged_sizes(batch["mask"].sum(1))
    assert (batch["features"] == full["features"][:, :10]).all()


def test_selection_is_an_open_interval(read):
    limits = Selection(jet_pt=(float(read.pt[0]), 2500), jet_sdmass=(20, 500))
    chosen = JetReader(JetDataConfig(selection=limits)).select(read.scalars)
    assert not chosen[0]
    inside = (read.pt > read.pt[0]) & (read.pt < 2500) & (read.sdmass > 20) & (read.sdmass < 500)
    assert (chosen == inside).all()
    assert 0 < chosen.sum() < len(read)
