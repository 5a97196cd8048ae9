"""Jets of PFNano for energy corrections: sums and kinematics against what the file says itself."""

import awkward as ak
import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot

from ntuplizer.cli import main
from ntuplizer.energy_inputs import ASSOCIATIONS
from ntuplizer.products import get_product
from ntuplizer.schema import arrow_schema
from provenance.errors import UserError

PFNANO = "cms/pfnano.root"


@pytest.fixture
def made(reference, tmp_path):
    path = reference(PFNANO)
    output = tmp_path / "jets.parquet"
    options = ["--option", "pt_min=0", "--option", "eta_max=10"]
    main(["pfnano", str(path), "--product", "energy", *options, "--output", str(output)])
    with uproot.open(path) as file:
        return pq.read_table(output), file["Events"].arrays(
            filter_name=["Jet_*", "SV_*", "GenJet_*", "fixedGridRhoFastjetAll"]
        )


def test_rows_are_the_jets_of_the_file_before_corrections(made):
    rows, events = made
    product = get_product("energy")
    assert rows.schema.equals(arrow_schema(product.columns(product.Options())))
    raw = ak.to_numpy(ak.flatten(events.Jet_pt * (1 - events.Jet_rawFactor)))
    np.testing.assert_allclose(rows["jet_pt"], raw, rtol=1e-6)
    np.testing.assert_allclose(rows["jet_area"], ak.to_numpy(ak.flatten(events.Jet_area)))
    assert rows["jet"].to_pylist()[:9] == [*range(8), 0]
    assert len(np.unique(rows["event"])) == 10


def test_constituents_add_up_to_the_jet(made):
    rows, _ = made
    inside = np.abs(rows["jet_eta"].to_numpy()) < 4.5
    px, py = (
        np.array([sum(values) for values in rows[f"charged_{q}"].to_pylist()])
        + np.array([sum(values) for values in rows[f"neutral_{q}"].to_pylist()])
        for q in ("px", "py")
    )
    ratio = np.hypot(px, py) / rows["jet_pt"].to_numpy()
    np.testing.assert_allclose(ratio[inside], 1, atol=5e-3)


def test_vertices_and_gen_jets_are_near_their_jets(made):
    rows, events = made
    sv_pt = np.concatenate([np.asarray(values) for values in rows["sv_pt"].to_pylist()])
    assert len(sv_pt) > 0
    assert np.isin(sv_pt.astype(np.float32), ak.to_numpy(ak.flatten(events.SV_pt))).all()
    for deta, dphi in zip(rows["sv_deta"].to_pylist(), rows["sv_dphi"].to_pylist(), strict=True):
        assert np.all(np.hypot(deta, dphi) < 0.401)
    pt, pt_gen = (rows[name].to_numpy() for name in ("jet_pt", "genjet_pt"))
    hard = pt > 100
    assert hard.sum() > 10
    assert np.median(pt[hard] / pt_gen[hard]) == pytest.approx(0.95, abs=0.05)
    assert (rows["genjet_ptnu"].to_numpy()[hard] >= 0.9 * pt_gen[hard]).all()
    association = np.concatenate([np.asarray(a) for a in rows["charged_association"].to_pylist()])
    assert set(association) <= set(range(1, len(ASSOCIATIONS)))
    # Most tracks of jets after charged-hadron subtraction are of the first vertex.
    assert np.mean(association == 5) > 0.4


def test_options_of_other_products_are_refused(reference, tmp_path):
    with pytest.raises(UserError, match="option depth of PFNano's jets"):
        main(["pfnano", str(reference(PFNANO)), "--product", "energy", "--option", "depth=1",
              "--output", str(tmp_path / "jets.parquet")])  # fmt: skip
    assert not list(tmp_path.iterdir())


def test_all_jets_of_an_event_come_into_one_shard(reference, tmp_path):
    source = tmp_path / "rows.parquet"
    main(["pfnano", str(reference(PFNANO)), "--product", "energy", "--output", str(source)])
    # The second file is the first one again.
    main(["divide", str(source), str(source), "--dataset", "cms", "--splits", "train", "val",
          "test", "--seed", "1", "--output", str(tmp_path / "cms")])  # fmt: skip
    shards = [pq.read_table(path) for path in sorted((tmp_path / "cms").glob("*.parquet"))]
    assert sum(shard.num_rows for shard in shards) == pq.read_metadata(source).num_rows
    events = [set(shard["event"].to_pylist()) for shard in shards]
    assert all(events)
    assert sum(map(len, events)) == len(set.union(*events)) == 10
