"""Cards with pile-up like Delphes' for CMS and ATLAS, from Pythia to the reader of the events."""

import math
import shutil
import subprocess
import sys
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from ntuplizer.sources.delphes import batches

CARDS = Path(__file__).parent / "cards"
EVENTS = 40
MEAN_PILEUP = 40


def simulate(card, library, output):
    command = [
        sys.executable, "-m", "generation", "simulate", "--process=ttbar", f"--events={EVENTS}",
        "--seed=4", f"--card={card}", f"--pileup={library}", f"--output={output}",
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return output


def contents(path):
    with uproot.open(path) as file:
        return {branch.name: branch.array() for branch in file["Delphes"].branches}


@pytest.fixture(scope="module", params=["one_calorimeter", "two_calorimeters"])
def card(request):
    return CARDS / f"{request.param}.tcl"


@pytest.fixture(scope="module")
def simulated(card, pileup_library, tmp_path_factory):
    """Return a file of top-quark pairs, simulated with each of the cards."""
    return simulate(card, pileup_library, tmp_path_factory.mktemp("events") / "ttbar.root")


@pytest.fixture(scope="module")
def events(simulated):
    return contents(simulated)


@pytest.fixture(scope="module")
def clean_events(card, pileup_library, tmp_path_factory):
    """Return the same events without pile-up."""
    folder = tmp_path_factory.mktemp("clean")
    shutil.copytree(CARDS, folder, dirs_exist_ok=True)
    tracker = folder / "tracker.tcl"
    text = tracker.read_text()
    assert f"set MeanPileUp {MEAN_PILEUP}" in text
    tracker.write_text(text.replace(f"set MeanPileUp {MEAN_PILEUP}", "set MeanPileUp 0"))
    return contents(simulate(folder / card.name, pileup_library, folder / "ttbar.root"))


def objects(events, name):
    fields = {leaf: events[f"{name}.{leaf}"] for leaf in ("PT", "Eta", "Phi")}
    return ak.zip(fields)


def distances(first, second):
    """Return for each event, and each of the first, ΔR to all of the second."""
    pairs = ak.cartesian({"a": first, "b": second}, nested=True)
    turn = np.abs(pairs.a.Phi - pairs.b.Phi)
    return np.hypot(pairs.a.Eta - pairs.b.Eta, np.minimum(turn, 2 * math.pi - turn))


def response(events, name):
    """Return pT over that of the GEN jet, for central GEN jets with a jet nearby."""
    truth, jets = objects(events, "GenJet"), objects(events, name)
    truth = truth[(truth.PT > 40) & (np.abs(truth.Eta) < 2)]
    distance = distances(truth, jets)
    nearest = ak.argmin(distance, axis=2, keepdims=True)
    near = ak.fill_none(ak.flatten(distance[nearest], axis=2) < 0.2, False)
    pt = ak.cartesian({"a": truth, "b": jets}, nested=True).b.PT[nearest]
    return np.asarray(ak.flatten(ak.flatten(pt, axis=2)[near] / truth.PT[near]))


def test_every_event_is_there_and_every_number_finite(events):
    for name, values in events.items():
        assert len(values) == EVENTS, name
        assert np.isfinite(ak.to_numpy(ak.flatten(values, axis=None)).astype(float)).all(), name
    vertices = ak.to_numpy(events["Vertex_size"])
    assert np.mean(vertices) == pytest.approx(MEAN_PILEUP + 1, abs=4 * math.sqrt(41 / EVENTS))
    assert np.all(events["Rho_size"] == 3)


def test_the_correction_takes_pile_up_off_jets(events, clean_events):
    clean = response(clean_events, "RawJet").mean()
    raw, corrected = response(events, "RawJet"), response(events, "Jet")
    assert min(len(raw), len(corrected)) > EVENTS
    assert raw.mean() > clean + 0.1
    # The energy scale of the detector itself is another matter: towers miss what the field bends.
    assert corrected.mean() == pytest.approx(clean, abs=0.06)
    counts = {name: ak.sum(events[f"{name}_size"]) for name in ("GenJet", "RawJet", "Jet")}
    assert counts["RawJet"] > 1.5 * counts["GenJet"]
    assert counts["Jet"] == pytest.approx(counts["GenJet"], rel=0.25)


def test_corrected_jets_are_nearer_to_the_truth(events):
    raw, corrected = response(events, "RawJet"), response(events, "Jet")
    assert abs(corrected.mean() - 1) < abs(raw.mean() - 1)


def test_what_is_taken_off_is_density_times_area(events):
    rho, edges = events["Rho.Rho"], events["Rho.Edges"]
    assert edges[0].to_list() == [[-5.0, -2.5], [-2.5, 2.5], [2.5, 5.0]]
    assert ak.min(rho) >= 0
    central = ak.mean(rho[:, 1])
    assert 5 < central < 80
    jets = objects(events, "Jet")
    area = np.hypot(events["Jet.Area.fP.fX"], events["Jet.Area.fP.fY"])
    hard = (jets.PT > 50) & (np.abs(jets.Eta) < 2)
    # Half a square unit for R = 0.4; the more a jet is collimated, the better.
    assert ak.mean(area[hard]) == pytest.approx(math.pi * 0.16, rel=0.15)
    # Each jet that was kept is one of those before, less its area times ρ.
    before = objects(events, "RawJet")
    distance = distances(jets, before)
    nearest = ak.argmin(distance, axis=2, keepdims=True)
    raw = ak.flatten(ak.cartesian({"a": jets, "b": before}, nested=True).b.PT[nearest], axis=2)
    here = hard & (ak.flatten(distance[nearest], axis=2) < 0.02)
    missing = (raw - jets.PT - rho[:, 1] * area)[here]
    assert ak.count(missing) > EVENTS
    # The area's vector and the jet's point almost the same way.
    assert np.median(np.abs(np.asarray(ak.flatten(missing)))) < 0.2


def test_objects_are_found_once_and_tagged(events):
    leptons = ak.concatenate([objects(events, name) for name in ("Electron", "Muon")], axis=1)
    assert 0.3 < ak.count(leptons.PT) / EVENTS < 1.3  # one W of two decays to e or μ
    electrons, jets = objects(events, "Electron"), objects(events, "Jet")
    assert ak.count(electrons.PT) > 4
    # The jet around an electron is made of it.
    assert not ak.any(distances(electrons, jets) < 0.1)
    bottoms = events["Jet.BTag"][(events["Jet.Flavor"] == 5) & (jets.PT > 30)]
    assert ak.mean(bottoms) == pytest.approx(0.7, abs=4 * math.sqrt(0.21 / ak.count(bottoms)))
    others = events["Jet.BTag"][(events["Jet.Flavor"] != 5) & (events["Jet.Flavor"] != 4)]
    assert ak.mean(others) < 0.1
    beta = events["Jet.Beta"][np.abs(jets.Eta) < 2]
    assert ak.all((beta == -999) | ((beta >= 0) & (beta <= 1)))
    assert ak.mean(beta[beta >= 0]) > 0.5


def test_the_record_is_thinned_to_what_matters(events):
    assert 20 < ak.mean(events["Particle_size"]) < 200
    tops = ak.sum(np.abs(events["Particle.PID"]) == 6, axis=1)
    assert ak.all(tops >= 2)


def test_the_ntuplizer_reads_the_file(simulated, events):
    leaves = {"Jet": ("PT", "Area.fE"), "Particle": ("PID", "PT"), "Vertex": ("Z",)}
    (batch,) = batches(simulated, leaves)
    assert batch["Jet"]["PT"].tolist() == ak.flatten(events["Jet.PT"]).to_list()
    assert batch["Jet"]["Area.fE"].tolist() == ak.flatten(events["Jet.Area.fE"]).to_list()
    assert np.array_equal(batch["Particle"].counts, ak.to_numpy(events["Particle_size"]))
