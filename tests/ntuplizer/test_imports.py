"""Public sets of jets: tiny files in their layouts, and what becomes of them."""

import json
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot

from ntuplizer.cli import main
from ntuplizer.imports.jetclass import LABELS as JETCLASS_LABELS
from provenance.errors import UserError
from training.checkpoint import make_task
from training.config import load_config
from training.data.shards import list_row_groups, open_dataset

PROBE = Path(__file__).parents[2] / "training" / "configs" / "probe-small.yaml"
RNG = np.random.default_rng(5)


def top_file(path: Path, jets: int = 7) -> np.ndarray:
    """Write a file as pandas does; return E, px, py, pz, zero-padded and not sorted."""
    momenta = np.zeros((jets, 200, 4), "f4")
    for jet in range(jets):
        pt, eta, phi = RNG.exponential(30, 12 + jet), RNG.normal(0.5, 0.2, 12 + jet), 0.3
        momenta[jet, : len(pt)] = np.stack(
            (pt * np.cosh(eta), pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)), axis=1
        )
    table = np.zeros(
        jets, [("index", "i8"), ("values_block_0", "f4", (804,)), ("values_block_1", "i8", (2,))]
    )
    table["values_block_0"][:, :800] = momenta.reshape(jets, 800)
    table["values_block_0"][:, 800:] = 999
    table["values_block_1"][:, 0] = 1
    table["values_block_1"][:, 1] = np.arange(jets) % 2
    with h5py.File(path, "w") as file:
        file.create_dataset("table/table", data=table, chunks=True, compression="gzip")
    return momenta


def run(kind: str, path: Path, *more: str):
    output = path.with_suffix(".parquet")
    main(["import", kind, str(path), "--output", str(output), *more])
    metadata = json.loads(pq.read_metadata(output).metadata[b"jetclass"])
    return pq.read_table(output), metadata


def check_jets(table):
    """Hold what must be true of any rows."""
    for row in table.to_pylist():
        px, py, pz, e = (np.array(row[f"part_{n}"]) for n in ("px", "py", "pz", "energy"))
        assert row["jet_nparticles"] == len(px)
        pt = np.hypot(px, py)
        assert (np.diff(pt) <= 1e-4).all()
        assert np.hypot(px.sum(), py.sum()) == pytest.approx(row["jet_pt"], rel=1e-2)
        mass2 = e.sum() ** 2 - px.sum() ** 2 - py.sum() ** 2 - pz.sum() ** 2
        assert 0 <= row["jet_sdmass"] <= np.sqrt(mass2) * 1.01 + 1e-2
        sign = 1 if row["jet_eta"] > 0 else -1
        eta = row["jet_eta"] + sign * np.array(row["part_deta"])
        np.testing.assert_allclose(np.sinh(eta) * pt, pz, rtol=1e-3, atol=1e-3)


def test_top(tmp_path):
    momenta = top_file(tmp_path / "val.h5")
    table, metadata = run("top", tmp_path / "val.h5")
    assert (metadata["labels"], metadata["product"]) == (["QCD", "top"], "top_jets")
    assert metadata["absent"] == ["identity", "displacement"]
    assert not {"part_charge", "part_d0val", "genpart_px"} & set(table.column_names)
    assert table["jet_label"].to_pylist() == [0, 1, 0, 1, 0, 1, 0]
    assert table["jet_nparticles"].to_pylist() == list(range(12, 19))
    pt = np.hypot(*momenta.sum(axis=1)[:, 1:3].T)
    np.testing.assert_allclose(table["jet_pt"].to_numpy(), pt, rtol=1e-5)
    check_jets(table)


def test_quark_gluon(tmp_path):
    codes = [211, -211, 22, 130, 2112, 11, -13, 321, -2212]
    jets = np.zeros((4, 11, 4))
    jets[:, :9, 0] = RNG.exponential(40, (4, 9)) + 1
    jets[:, :9, 1] = RNG.normal(-0.8, 0.1, (4, 9))
    jets[:, :9, 2] = 6.2 + RNG.normal(0, 0.1, (4, 9))  # φ to 2π
    jets[:, :9, 3] = codes
    np.savez(tmp_path / "QG.npz", X=jets, y=np.array([0.0, 1, 1, 0]))
    table, metadata = run("quark-gluon", tmp_path / "QG.npz")
    assert (metadata["labels"], metadata["absent"]) == (["gluon", "quark"], ["displacement"])
    assert table["jet_label"].to_pylist() == [0, 1, 1, 0]
    charge = dict(zip(codes, (1, -1, 0, 0, 0, -1, 1, 1, -1), strict=True))
    order = np.argsort(-jets[0, :9, 0])
    assert table["part_charge"][0].as_py() == [charge[codes[i]] for i in order]
    kinds = [table[f"part_is{n}"][0].as_py() for n in
             ("ChargedHadron", "NeutralHadron", "Photon", "Electron", "Muon")]  # fmt: skip
    assert np.array(kinds).sum(axis=0).tolist() == [1] * 9
    # The second number is the rapidity: with a proton's mass it is not the pseudorapidity.
    place = list(order).index(codes.index(-2212))
    pz, energy = table["part_pz"][0][place].as_py(), table["part_energy"][0][place].as_py()
    assert np.arctanh(pz / energy) == pytest.approx(jets[0, 8, 1], abs=1e-5)
    check_jets(table)


def test_jetnet(tmp_path):
    particles = np.zeros((3, 30, 4), "f4")
    particles[:, :20, :2] = RNG.normal(0, 0.1, (3, 20, 2))
    particles[:, :20, 2] = RNG.dirichlet(np.ones(20), 3)
    particles[:, :20, 3] = 1
    jets = np.array([[1000.0, 0.5, 90, 20], [900, -1, 80, 20], [1100, 0, 5, 20]], "f4")
    for name in ("t.hdf5", "mine.hdf5"):
        with h5py.File(tmp_path / name, "w") as file:
            file["particle_features"], file["jet_features"] = particles, jets
    table, metadata = run("jetnet", tmp_path / "t.hdf5")
    assert metadata["absent"] == ["identity", "displacement"]
    assert table["jet_label"].to_pylist() == [2, 2, 2]
    assert table["jet_pt"].to_pylist() == [1000, 900, 1100]
    part_pt = np.hypot(table["part_px"][0].as_py(), table["part_py"][0].as_py())
    np.testing.assert_allclose(part_pt, 1000 * np.sort(particles[0, :20, 2])[::-1], rtol=1e-4)
    with pytest.raises(UserError, match=r"mine\.hdf5: of which class .*--label"):
        run("jetnet", tmp_path / "mine.hdf5")
    assert run("jetnet", tmp_path / "mine.hdf5", "--label", "z")[0]["jet_label"][0].as_py() == 4


def test_jetclass(tmp_path):
    counts = np.array([5, 3])
    n = counts.sum()
    px, pz = RNG.exponential(50, n) + 1, RNG.normal(0, 20, n)
    floats = {"px": px, "py": 0.1 * px, "pz": pz, "energy": np.sqrt(1.01 * px**2 + pz**2)}
    for name in ("d0val", "d0err", "dzval", "dzerr", "deta", "dphi", "charge"):
        floats[name] = RNG.normal(size=n)
    arrays = {f"part_{k}": ak.unflatten(v.astype("f4"), counts) for k, v in floats.items()}
    for kind in ("ChargedHadron", "NeutralHadron", "Photon", "Electron", "Muon"):
        arrays[f"part_is{kind}"] = ak.unflatten(RNG.integers(0, 2, n) == 1, counts)
    total = {k: np.array([v[:5].sum(), v[5:].sum()]) for k, v in floats.items()}
    pt = np.hypot(total["px"], total["py"])
    jet = {"pt": pt, "eta": np.arcsinh(total["pz"] / pt), "phi": np.full(2, np.arctan(0.1))}
    jet |= {name: np.ones(2) for name in ("energy", "sdmass", "tau1", "tau2", "tau3", "tau4")}
    arrays |= {f"jet_{k}": v.astype("f4") for k, v in jet.items()}
    for i, name in enumerate(JETCLASS_LABELS):
        arrays[f"label_{name}"] = np.array([i == 8, i == 0])
    with uproot.recreate(tmp_path / "TTBar_000.root") as file:
        file.mktree("tree", {k: v.type if isinstance(v, ak.Array) else v.dtype for k, v in
                             arrays.items()}).extend(arrays)  # fmt: skip
    table, metadata = run("jetclass", tmp_path / "TTBar_000.root")
    assert metadata["absent"] == []
    assert [metadata["labels"][i] for i in table["jet_label"].to_pylist()] == ["Tbqq", "QCD"]
    order = np.argsort(-px[:5])
    np.testing.assert_allclose(
        table["part_d0val"][0].as_py(), floats["d0val"][:5][order], rtol=1e-6
    )
    check_jets(table)


def test_a_dataset_of_imported_files_is_read(tmp_path):
    files = {}
    for split, jets in (("train", 9), ("val", 5), ("test", 6)):
        top_file(tmp_path / f"{split}.h5", jets)
        run("top", tmp_path / f"{split}.h5")
        files[split] = str(tmp_path / f"{split}.parquet")
    (tmp_path / "top").mkdir()
    manifest = tmp_path / "top" / "manifest.json"

    def make(**changed):
        given = files | changed
        options = [x for split, path in given.items() for x in (f"--{split}", path)]
        main(["import-manifest", *options, "--output", str(manifest)])

    with pytest.raises(UserError, match=r"train\.parquet: has the same content as .*train"):
        make(test=files["train"])
    with h5py.File(tmp_path / "t.hdf5", "w") as file:
        file["particle_features"] = np.full((2, 30, 4), 0.1, "f4")
        file["jet_features"] = np.array([[900, 0.5, 80, 20]] * 2, "f4")
    run("jetnet", tmp_path / "t.hdf5")
    with pytest.raises(UserError, match=r"t\.parquet: is of another set"):
        make(val=str(tmp_path / "t.parquet"))
    assert not manifest.exists()
    make()
    config = load_config(PROBE, ["data.labels=[QCD, top]", "data.classes=null"])
    reader = make_task(config).reader
    dataset = open_dataset(manifest, config, reader)
    groups = list_row_groups(dataset.shards("train"), reader)
    rows = reader.read(groups)
    assert len(rows) == 9
    assert not rows.presence.any()
    counts = json.loads(manifest.read_text())["files"][0]["class_counts"]
    assert counts == {"QCD": 5, "top": 4}


def test_numbers_that_are_none_are_no_padding(tmp_path):
    jets = np.ones((3, 2, 4))
    jets[1, 1, 0] = np.nan
    np.savez(tmp_path / "QG.npz", X=jets, y=np.zeros(3))
    with pytest.raises(UserError, match=r"QG\.npz: jet 1 has a number or a label that cannot be"):
        run("quark-gluon", tmp_path / "QG.npz")
    top_file(tmp_path / "val.h5")
    with h5py.File(tmp_path / "val.h5", "r+") as file:
        rows = file["table/table"][:]
        rows["values_block_0"][2, 4] = np.nan
        file["table/table"][:] = rows
    with pytest.raises(UserError, match=r"val\.h5: jet 2 has a number or a label that cannot be"):
        run("top", tmp_path / "val.h5")


@pytest.mark.parametrize("kind", ["top", "quark-gluon", "jetclass", "jetnet"])
def test_files_of_another_layout_are_named(tmp_path, kind):
    path = tmp_path / "q.hdf5"
    with pytest.raises(UserError, match="no such file"):
        run(kind, path)
    path.write_bytes(b"something else")
    with pytest.raises(UserError, match=r"q\.hdf5: not "):
        run(kind, path)
    assert not path.with_suffix(".parquet").exists()
    with h5py.File(path, "w") as file:
        file["particle_features"] = np.zeros((2, 3))
        file["jet_features"] = np.zeros((2, 3))
    with pytest.raises(UserError, match=r"q\.hdf5: not of "):
        run(kind, path)
