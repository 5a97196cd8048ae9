"""Event objects, regression jets and flavour on real events."""

import awkward as ak
import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot
from event_files import write_events

from ntuplizer.cli import main
from ntuplizer.delphes import Collection, read_events
from ntuplizer.events import EventCounts, EventSelection, iterate_events
from ntuplizer.flavour import PARTON_REACH, jet_flavours
from ntuplizer.jets import Counts, JetSelection, ntuplize
from ntuplizer.regression import RegressionSelection, iterate_regression_jets
from ntuplizer.schema import EVENT_SCHEMA, FLAVOUR_FIELD, JET_SCHEMA, REGRESSION_SCHEMA

TTBAR = "delphes/ttbar_events.root"


def objects(path, branch, leaves) -> ak.Array:
    with uproot.open(path) as file:
        arrays = {leaf: file["Delphes"][f"{branch}.{leaf}"].array() for leaf in leaves}
    return ak.zip(arrays)


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
        usable = [jet for jet in jets[i].tolist() if jet["PT"] > 20]
        tagged = [jet for jet in usable if jet["BTag"] & 1]
        light = [jet for jet in usable if not jet["BTag"] & 1]
        if hard and len(tagged) >= 2 and len(light) >= 2:
            row = [
                hard[0]["PT"],
                hard[0]["Eta"],
                hard[0]["Phi"],
                met[i]["MET"][0],
                met[i]["Phi"][0],
            ]
            for jet in (*tagged[:2], *light[:2]):
                row += [jet["PT"], jet["Eta"], jet["Phi"], jet["Mass"]]
            expected.append(row)

    counts = EventCounts()
    (table,) = iterate_events(path, EventSelection(), counts)
    assert table.schema.equals(EVENT_SCHEMA)
    names = ["lepton_pt", "lepton_eta", "lepton_phi", "met_pt", "met_phi"]
    names += [
        f"{slot}_{q}" for slot in ("bjet1", "bjet2", "jet1", "jet2")
        for q in ("pt", "eta", "phi", "mass")
    ]  # fmt: skip
    got = np.column_stack([table[name].to_numpy() for name in names])
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    assert counts.events == 150
    assert counts.events_selected == len(expected) > 20
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
    assert 0 < n_selected("--overlap", "0.4") < n_default
    assert n_selected("--jet-pt-min", "5000") == 0


def test_flavour_is_delphes_own(reference):
    leaves = {
        "Particle": ("PID", "Status", "PT", "Eta", "Phi"),
        "JetPUPPI": ("Eta", "Phi", "Flavor"),
    }
    (batch,) = read_events(reference(TTBAR), leaves)
    jets = batch["JetPUPPI"]
    got = jet_flavours(batch["Particle"], jets.event, jets["Eta"], jets["Phi"], PARTON_REACH)
    np.testing.assert_array_equal(got, jets["Flavor"])
    assert set(got) == {0, 1, 2, 3, 4, 5, 21}


def test_flavour_is_an_extra_column(reference):
    path = reference("delphes/res2p_1.root")
    plain, _ = ntuplize(path, JetSelection())
    table, _ = ntuplize(path, JetSelection(flavour=True))
    assert table.schema.equals(JET_SCHEMA.append(FLAVOUR_FIELD))
    assert table.drop_columns([FLAVOUR_FIELD.name]).equals(plain)
    b_jets = np.isin(table["jet_label"].to_numpy(), [0, 4, 6])  # X_bb, X_bc, X_bq
    assert b_jets.any()
    assert (table["jet_flavour"].to_numpy()[b_jets] == 5).all()


def test_regression_jets(reference):
    path = reference(TTBAR)
    counts = Counts()
    (table,) = iterate_regression_jets(path, RegressionSelection(), counts)
    assert table.schema.equals(REGRESSION_SCHEMA)
    theirs = objects(path, "JetPUPPI", ("PT", "Eta"))
    assert counts.jets_clustered == ak.count(theirs.PT)
    assert counts.jets_in_acceptance == ak.sum(abs(theirs.Eta) <= 2.5)
    assert 0.9 < table.num_rows / counts.jets_in_acceptance <= 1

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


def test_wide_regression_jets_and_files_without_rho(reference):
    path = reference("delphes/qcd_3.root")
    selection = RegressionSelection(radius=0.8, pt_min=200.0)
    (table,) = iterate_regression_jets(path, selection, Counts())
    assert table.num_rows > 200
    assert set(table["event_rho"].to_pylist()) == {0.0}


@pytest.mark.parametrize("command", ["events", "regression"])
def test_empty_files(reference, tmp_path, command):
    leaves = EventSelection().branches | RegressionSelection().branches
    (batch,) = read_events(reference(TTBAR), leaves)
    none = np.zeros(len(batch["Electron"].offsets) - 1, bool)
    empty: dict[str, Collection] = {b: c.select(none) for b, c in batch.items()}
    file = write_events(tmp_path / "empty.root", empty)
    main([command, str(file), "--output", str(tmp_path / "out.parquet")])
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 0
