"""Event objects and jets for energy regression on real events."""

import math

import awkward as ak
import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot
from event_files import energy_rows, write_events

from ntuplizer.batch import Collection
from ntuplizer.cli import main
from ntuplizer.geometry import delta_r
from ntuplizer.ntuplize import ntuplize
from ntuplizer.products import get_product
from ntuplizer.sources.delphes import batches
from provenance.errors import UserError

TTBAR = "delphes/ttbar_events.root"


def objects(path, branch, leaves) -> ak.Array:
    with uproot.open(path) as file:
        arrays = {leaf: file["Delphes"][f"{branch}.{leaf}"].array() for leaf in leaves}
    return ak.zip(arrays)


def distance(first: dict, second: dict) -> float:
    eta, phi = first["Eta"] - second["Eta"], first["Phi"] - second["Phi"]
    return math.hypot(eta, math.remainder(phi, math.tau))


def test_events_are_those_of_the_selection(reference):
    """The same selection in another style: one event after the other, with awkward."""
    path = reference(TTBAR)
    kinematics = ("PT", "Eta", "Phi")
    leptons = ak.concatenate(
        [objects(path, branch, kinematics) for branch in ("Electron", "Muon")], axis=1
    )
    jets = objects(path, "JetPUPPI", (*kinematics, "Mass", "BTag"))
    met = objects(path, "PuppiMissingET", ("MET", "Phi"))
    expected = []
    for i in range(len(jets)):
        hard = sorted(
            (lep for lep in leptons[i].tolist() if lep["PT"] > 10), key=lambda o: -o["PT"]
        )
        usable = [
            jet for jet in jets[i].tolist()
            if jet["PT"] > 20 and hard and distance(jet, hard[0]) >= 0.4
        ]  # fmt: skip
        tagged = [jet for jet in usable if jet["BTag"] & 1]
        light = [jet for jet in usable if not jet["BTag"] & 1]
        if hard and len(tagged) >= 2 and len(light) >= 2:
            row = [
                i,
                hard[0]["PT"],
                hard[0]["Eta"],
                hard[0]["Phi"],
                met[i]["MET"][0],
                met[i]["Phi"][0],
            ]
            for jet in (*tagged[:2], *light[:2]):
                row += [jet["PT"], jet["Eta"], jet["Phi"], jet["Mass"]]
            expected.append(row)

    table, counts = ntuplize(path, "events")
    names = ["event", "lepton_pt", "lepton_eta", "lepton_phi", "met_pt", "met_phi"]
    names += [
        f"{slot}_{q}" for slot in ("bjet1", "bjet2", "jet1", "jet2")
        for q in ("pt", "eta", "phi", "mass")
    ]  # fmt: skip
    got = np.column_stack([table[name].to_numpy() for name in names])
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    assert counts.events == 150
    assert counts.rows == len(expected) > 20
    assert set(table["process"].to_pylist()) == {"ttbar_events"}
    assert set(table["batch"].to_pylist()) == {-1}
    types = [table[f"{slot}_type"][0].as_py() for slot in
             ("lepton", "met", "bjet1", "bjet2", "jet1", "jet2")]  # fmt: skip
    assert types == [1, 4, 2, 2, 3, 3]
    assert set(np.round(table["lepton_mass"].to_numpy(), 6)) <= {
        np.float32(0.000511),
        np.float32(0.10566),
    }


def test_thresholds_and_overlap(reference, tmp_path):
    def n_selected(*options: str) -> int:
        output = tmp_path / "events.parquet"
        main(["events", str(reference(TTBAR)), "--output", str(output), *options])
        return pq.read_table(output).num_rows

    n_default = n_selected()
    assert n_selected("--jet-pt-min", "40") < n_default
    assert n_selected("--lepton-pt-min", "40") < n_default
    assert n_selected("--overlap", "0") > n_default > n_selected("--overlap", "1") > 0
    assert n_selected("--jet-pt-min", "5000") == 0


def test_no_jet_is_the_lepton(reference):
    """Delphes makes a jet of an isolated lepton too; without the cut they fill light-jet slots."""
    near = {}
    for overlap in (0, 0.4):
        table, _ = ntuplize(reference(TTBAR), "events", {"overlap": overlap})
        lepton = table["lepton_eta"].to_numpy(), table["lepton_phi"].to_numpy()
        near[overlap] = np.mean(
            [
                delta_r(table[f"{slot}_eta"].to_numpy(), table[f"{slot}_phi"].to_numpy(), *lepton)
                < 0.4
                for slot in ("jet1", "jet2")
            ]
        )
    assert near[0] > 0.1
    assert near[0.4] == 0


def test_jets_to_learn_energies_from(reference):
    path = reference(TTBAR)
    table, counts = energy_rows(path)
    theirs = objects(path, "JetPUPPI", ("PT", "Eta"))
    assert counts.steps["jets_clustered"] == ak.count(theirs.PT)
    assert counts.steps["jets_in_acceptance"] == ak.sum(abs(theirs.Eta) <= 2.5)
    assert 0.9 < table.num_rows / counts.steps["jets_in_acceptance"] <= 1
    # `event` and `jet` are the places of event and jet in Delphes' own branch.
    place = table["event"].to_numpy(), table["jet"].to_numpy()
    own = theirs.PT[place[0]][np.arange(len(place[0])), place[1]]
    np.testing.assert_allclose(table["jet_pt"].to_numpy(), own, rtol=3e-7)

    response = table["jet_pt"].to_numpy() / table["genjet_pt"].to_numpy()
    hard = table["genjet_pt"].to_numpy() > 50
    assert 0.85 < np.median(response[hard]) < 1.05
    assert 20 < np.mean(table["event_nvertices"].to_numpy()) < 80
    rho = table["event_rho"].to_numpy()
    central = np.abs(table["jet_eta"].to_numpy()) < 1.5
    with uproot.open(path) as file:
        regions = file["Delphes"]["Rho.Rho"].array()
    assert set(rho[central]) <= set(np.asarray(regions[:, 2]))

    def total(component: str) -> np.ndarray:
        parts = [ak.from_arrow(table[f"{kind}_{component}"]) for kind in ("charged", "neutral")]
        return np.asarray(ak.sum(parts[0], axis=1) + ak.sum(parts[1], axis=1))

    np.testing.assert_allclose(
        np.hypot(total("px"), total("py")), table["jet_pt"].to_numpy(), rtol=1e-4
    )
    assert np.all(ak.flatten(ak.from_arrow(table["charged_charge"])) != 0)


def test_jets_know_their_area_flavour_and_secondary_vertices(reference):
    table, _ = energy_rows(reference(TTBAR))
    column = {name: ak.to_numpy(ak.from_arrow(table[name])) for name in table.column_names
              if name.startswith(("jet_", "genjet_", "event_"))}  # fmt: skip
    assert np.median(column["jet_area"]) == pytest.approx(np.pi * 0.4**2, rel=0.1)
    assert column["event_rho"].min() > 0
    assert np.all((column["jet_ptd"] > 0) & (column["jet_ptd"] <= 1 + 1e-6))
    bottom = column["jet_hadronflavour"] == 5
    assert 0.1 < bottom.mean() < 0.6
    assert np.mean(np.abs(column["jet_partonflavour"][bottom]) == 5) > 0.9
    # Neutrinos come from b and c hadrons, and from the W of other jets' neighbours hardly ever.
    added = column["genjet_ptnu"] / column["genjet_pt"] - 1
    assert added[bottom].mean() > 5 * max(
        added[~bottom & (column["jet_hadronflavour"] == 0)].mean(), 0
    )

    vertices = ak.num(ak.from_arrow(table["sv_pt"]))
    hard = column["jet_pt"] > 30
    assert np.mean(vertices[hard & bottom] > 0) > 0.4
    assert np.mean(vertices[hard & (column["jet_hadronflavour"] == 0)] > 0) < 0.03
    assert ak.min(ak.from_arrow(table["sv_flightxysig"])) > 3
    assert ak.max(np.hypot(*(ak.from_arrow(table[f"sv_{d}"]) for d in ("deta", "dphi")))) < 0.41
    association = ak.flatten(ak.from_arrow(table["charged_association"]))
    assert set(association) <= {1, 2, 3, 4, 5}
    hcal = ak.flatten(ak.from_arrow(table["neutral_hcalfrac"]))
    photon = ak.flatten(ak.from_arrow(table["neutral_isPhoton"]))
    assert ak.all(hcal[photon] == 0)
    assert ak.all(hcal[~photon] == 1)


def test_jets_up_to_the_edge_of_the_calorimeter(reference):
    central, _ = energy_rows(reference(TTBAR))
    table, _ = energy_rows(reference(TTBAR), {"jet_eta_max": 5})
    eta = np.abs(table["jet_eta"].to_numpy())
    assert eta.max() > 3
    inner = table.filter(eta <= 2.5)
    assert 0 < table.num_rows - inner.num_rows < central.num_rows
    # A jet beyond the edge can be the better match of a GEN-jet, which is then no longer free.
    assert inner.num_rows >= central.num_rows - 2


def test_wide_jets(reference):
    table, _ = energy_rows(reference(TTBAR), {"jet_radius": 0.8, "jet_pt_min": 100})
    assert table.num_rows > 100
    area = np.median(table["jet_area"].to_numpy())
    assert area == pytest.approx(np.pi * 0.8**2, rel=0.1)


def test_impact_parameters_are_those_to_the_hard_interaction(reference):
    """Delphes writes vertices by falling Σ pT², where a soft collision is not the first."""

    def softest_first(vertices: Collection) -> Collection:
        order = np.lexsort((-np.arange(len(vertices["Z"])), vertices.event))
        columns = {leaf: values[order] for leaf, values in vertices.columns.items()}
        return Collection(vertices.offsets, columns)

    table, _ = energy_rows(reference(TTBAR))
    assert energy_rows(reference(TTBAR), alter=softest_first)[0].equals(table)


def test_events_without_rho_or_reconstructed_vertices_are_refused(reference):
    with pytest.raises(UserError, match=r"qcd_3\.root: holds no energy density rho .*energy\.tcl"):
        ntuplize(reference("delphes/qcd_3.root"), "energy")
    with pytest.raises(UserError, match=r"ttbar_events\.root: holds no reconstructed vertices"):
        ntuplize(reference(TTBAR), "energy")


@pytest.mark.parametrize("name", ["events", "energy"])
def test_empty_files(reference, tmp_path, name):
    product = get_product(name)
    leaves = product.branches(product.Options())
    (batch,) = batches(reference(TTBAR), leaves)
    none = batch.select(np.zeros(batch.n_events, bool))
    file = write_events(tmp_path / "empty.root", none.collections)
    main([name, str(file), "--output", str(tmp_path / "out.parquet")])
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.num_rows == 0
    assert table.schema.equals(product.schema(product.Options()))
