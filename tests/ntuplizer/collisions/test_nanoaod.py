"""NanoAOD: cut-flow and objects on real collisions and simulation, against a plain loop."""

import json
import math
from collections import Counter
from functools import cache

import numpy as np
import pyarrow as pa
import pytest
import uproot

from ntuplizer.collisions.certified import ALL_RUNS, read_certified
from ntuplizer.collisions.era import load_era
from ntuplizer.collisions.files import RemoteFile
from ntuplizer.collisions.nanoaod import EVENT_BRANCHES, batches, jets_named_in
from ntuplizer.collisions.unique import SeenEvents, run_and_section, unique_rows
from ntuplizer.object_slots import fill_slots
from ntuplizer.products import get_product
from ntuplizer.products.events import EventOptions
from ntuplizer.rows.events import event_objects
from ntuplizer.slots import SlotOptions
from provenance.errors import UserError

COLLISIONS, SIMULATION = "cms/nano_dimuon.root", "cms/nano_dy.root"
CERTIFIED = {"315267": [[1, 40], [200, 210]], "1": [[2, 3]]}
# The samples hold what fired some trigger: with these paths nearly everything, with those of the
# era a few events.
PATHS = ("Physics", "L2Mu23NoVtx_2Cha", "Mu17_TrkIsoVVL_Mu8_TrkIsoVVL_DZ_Mass3p8", "Mu8", "Mu17",
         "Mu7p5_Track2_Jpsi", "Dimuon25_Jpsi", "DoubleMu4_3_Jpsi")  # fmt: skip
IN_FILES = EventOptions(**EVENT_BRANCHES)
STEPS = ("read", "certified", "triggered", "filtered", "leptons", "b_jets", "light_jets")


COLUMNS = {
    "run", "luminosityBlock", "event", "nGenPart", "MET_pt", "MET_phi",
    *(f"Electron_{q}" for q in ("pt", "eta", "phi", "cutBased")),
    *(f"Muon_{q}" for q in ("pt", "eta", "phi", "looseId", "pfRelIso04_all")),
    *(f"Jet_{q}" for q in ("pt", "eta", "phi", "mass", "jetId", "puId", "btagDeepFlavB")),
    *(f"HLT_{path}" for path in (*PATHS, "IsoMu24", "IsoTkMu24", "IsoMu27")),
    *(f"HLT_Ele{path}_WPTight_Gsf" for path in (27, 32, 35)),
}  # fmt: skip


@cache
def event_dictionaries(path) -> list[dict]:
    """Read a file without awkward or offsets: one dictionary of numbers and lists per event."""
    with uproot.open(path) as file:
        tree = file["Events"]
        names = [name for name in tree.keys(recursive=False)
                 if name in COLUMNS or name.startswith("Flag_")]  # fmt: skip
        columns = {name: tree[name].array(library="np").tolist() for name in names}
        n_events = tree.num_entries
    return [{name: values[i] for name, values in columns.items()} for i in range(n_events)]


def oracle(events, era, certified, working_point, overlap, jets_min) -> tuple[Counter, list]:
    """Apply everything to one event after the other: steps and the six objects of each survivor."""
    nothing = (0.0, 0.0, 0.0, 0.0)
    steps, rows = Counter(dict.fromkeys(STEPS, 0)), []
    for event in events:
        steps["read"] += 1
        ranges = certified.get(str(event["run"]), [])
        good = any(low <= event["luminosityBlock"] <= high for low, high in ranges)
        if "nGenPart" not in event and not good:
            continue
        steps["certified"] += 1
        if not any(event.get(f"HLT_{path}", False) for path in era.triggers):
            continue
        steps["triggered"] += 1
        wanted = [*era.filters, *(f for f in era.filters_where_present if f"Flag_{f}" in event)]
        if not all(event[f"Flag_{name}"] for name in wanted):
            continue
        steps["filtered"] += 1

        leptons = []
        for i, pt in enumerate(event["Electron_pt"]):
            eta = event["Electron_eta"][i]
            if pt > 10 and abs(eta) < 2.5 and event["Electron_cutBased"][i] >= 2:
                leptons.append((pt, eta, event["Electron_phi"][i], 0.000511))
        for i, pt in enumerate(event["Muon_pt"]):
            eta, isolation = event["Muon_eta"][i], event["Muon_pfRelIso04_all"][i]
            if pt > 10 and abs(eta) < 2.4 and event["Muon_looseId"][i] and isolation < 0.25:
                leptons.append((pt, eta, event["Muon_phi"][i], 0.10566))
        if not leptons:
            continue
        steps["leptons"] += 1

        tagged, light = [], []
        for i, pt in enumerate(event["Jet_pt"]):
            eta, phi = event["Jet_eta"][i], event["Jet_phi"][i]
            if pt <= 20 or abs(eta) >= 2.4 or not event["Jet_jetId"][i] & 2:
                continue
            if pt < 50 and not event["Jet_puId"][i] & era.jets.pileup_identification.bit:
                continue
            distances = []
            for lepton in leptons:
                delta = abs(phi - lepton[2])
                delta = min(delta, 2 * math.pi - delta)
                distances.append(math.sqrt((eta - lepton[1]) ** 2 + delta**2))
            if min(distances) < overlap:
                continue
            score = event["Jet_btagDeepFlavB"][i]
            kind = tagged if score > getattr(era.b_tag, working_point) else light
            kind.append((pt, eta, phi, event["Jet_mass"][i]))
        for kind in (leptons, tagged, light):
            kind.sort(key=lambda o: -o[0])
        if len(tagged) < jets_min:
            continue
        steps["b_jets"] += 1
        if len(light) < jets_min:
            continue
        steps["light_jets"] += 1
        missing = (event["MET_pt"], 0.0, event["MET_phi"], 0.0)
        key = (event["run"], event["luminosityBlock"], event["event"])
        four = [*(tagged + [nothing] * 2)[:2], *(light + [nothing] * 2)[:2]]
        rows.append((key, [leptons[0], missing, *four]))
    return steps, rows


@pytest.fixture
def certified(tmp_path):
    path = tmp_path / "certified.json"
    path.write_text(json.dumps(CERTIFIED))
    return read_certified(path)


@pytest.mark.parametrize("name", [COLLISIONS, SIMULATION])
@pytest.mark.parametrize("triggers", [None, PATHS])
@pytest.mark.parametrize(
    ("era_name", "working_point"), [("2018", "loose"), ("2016preVFP", "medium")]
)
@pytest.mark.parametrize(("overlap", "jets_min"), [(0.0, 2), (0.4, 1), (0.4, 0)])
def test_cut_flow_is_that_of_a_loop(
    reference, certified, name, triggers, era_name, working_point, overlap, jets_min
):
    path = reference(name)
    era = load_era(era_name)
    if triggers is not None:
        era = era.model_copy(update={"triggers": triggers})
    events = event_dictionaries(path)
    expected, rows = oracle(events, era, CERTIFIED, working_point, overlap, jets_min)
    options = SlotOptions(overlap=overlap, b_jets_min=jets_min, light_jets_min=jets_min)

    steps: Counter[str] = Counter()
    keys, values = [], []
    for batch in batches([RemoteFile(str(path))], era, certified, working_point, None, steps):
        filled = fill_slots(*event_objects(batch, IN_FILES), options)
        steps.update(filled.steps)
        run, section = run_and_section(batch.identity["batch"][filled.events])
        keys += zip(
            run.tolist(), section.tolist(), batch.identity["event"][filled.events], strict=True
        )
        values.append(filled.values)
    assert {step: steps[step] for step in STEPS} == dict(expected)
    assert keys == [key for key, _ in rows]
    if rows:
        got = np.concatenate(values)
        np.testing.assert_array_equal(got, np.array([objects for _, objects in rows]))


def test_the_comparison_reaches_the_end(reference):
    """The loop above compares nothing unless events survive all steps."""
    era = load_era("2018").model_copy(update={"triggers": PATHS})
    for name, survivors in ((COLLISIONS, (1, 3, 8)), (SIMULATION, (0, 7, 21))):
        events = event_dictionaries(reference(name))
        found = [
            oracle(events, era, CERTIFIED, "loose", overlap, jets_min)[0]["light_jets"]
            for overlap, jets_min in ((0.0, 2), (0.0, 1), (0.4, 0))
        ]
        assert tuple(found) == survivors


def test_without_isolation_most_muons_lie_in_jets(reference):
    """What the sample is known for: five events before cleaning, muons in jets."""
    path = reference(COLLISIONS)
    with uproot.open(path) as file:
        paths = tuple(file["Events"].keys(filter_name="HLT_*"))
    era = load_era("2018")
    everything = {
        "triggers": tuple(path.removeprefix("HLT_") for path in paths),
        "filters": (),
        "muons": era.muons.model_copy(update={"isolation_max": 1e9}),
    }
    (batch,) = collisions(path, era.model_copy(update=everything))
    leptons, missing, jets, tagged = event_objects(batch, IN_FILES)
    assert len(fill_slots(leptons, missing, jets, tagged, SlotOptions(overlap=0)).events) == 5
    assert len(fill_slots(leptons, missing, jets, tagged, SlotOptions()).events) == 1

    muons = np.flatnonzero((leptons.pt > 10) & (leptons.mass > 0.1))
    near = 0
    for muon in muons:
        own = (jets.event == leptons.event[muon]) & (jets.pt > 20)
        delta_phi = np.remainder(jets.phi[own] - leptons.phi[muon] + np.pi, 2 * np.pi) - np.pi
        near += np.any(np.hypot(jets.eta[own] - leptons.eta[muon], delta_phi) < 0.4)
    assert (near, len(muons)) == (40, 43)


def collisions(path, era, certified=ALL_RUNS, steps=None):
    steps = Counter() if steps is None else steps
    return list(batches([RemoteFile(str(path))], era, certified, "loose", None, steps))


def test_uncertified_collisions_are_left_out_but_not_simulation(reference, tmp_path):
    path = tmp_path / "certified.json"
    path.write_text(json.dumps({"315267": [[1, 204], [206, 300]]}))
    era = load_era("2018").model_copy(update={"triggers": PATHS})
    assert collisions(reference(COLLISIONS), era, read_certified(path)) == []
    steps: Counter[str] = Counter()
    assert len(collisions(reference(SIMULATION), era, read_certified(path), steps)) == 1
    assert steps["certified"] == steps["read"] == 40


def test_collisions_need_their_certified_runs(reference):
    era = load_era("2018").model_copy(update={"triggers": PATHS})
    with pytest.raises(UserError, match="holds collisions: the certified runs of era 2018"):
        collisions(reference(COLLISIONS), era, None)
    assert collisions(reference(SIMULATION), era, None)


def test_identity_tells_collisions_and_processes_apart(reference):
    era = load_era("2018").model_copy(update={"triggers": PATHS})
    (data,) = collisions(reference(COLLISIONS), era)
    (simulated,) = collisions(reference(SIMULATION), era)
    assert set(data.identity["process"]) == {"2018"}
    assert set(simulated.identity["process"]) == {"nano_dy"}
    run, section = run_and_section(data.identity["batch"])
    assert (set(run), set(section)) == ({315267}, {205})


def test_an_event_of_two_data_sets_is_kept_once(reference):
    """The second file is the first one again: nothing of it stays, whatever the steps."""
    era = load_era("2018").model_copy(update={"triggers": PATHS})
    file = RemoteFile(str(reference(COLLISIONS)))

    def tables():
        for batch in batches([file, file], era, ALL_RUNS, "loose", None, Counter()):
            filled = fill_slots(
                *event_objects(batch, IN_FILES), SlotOptions(b_jets_min=0, light_jets_min=0)
            )
            identity = {name: column[filled.events] for name, column in batch.identity.items()}
            yield pa.table(identity | filled.columns(SlotOptions()))

    names = get_product("events").identity
    first, second = unique_rows(tables(), SeenEvents(), names)
    assert (first.num_rows, second.num_rows) == (8, 0)
    assert len(set(first["event"].to_pylist())) == 8


@pytest.mark.parametrize(
    ("update", "words"),
    [
        ({"triggers": ("NotInAnyMenu",)}, "none of the triggers"),
        ({"triggers": PATHS, "filters": ("notAFilter",)}, "no branch Flag_notAFilter"),
    ],
)
def test_what_a_file_lacks_is_named(reference, update, words):
    with pytest.raises(UserError, match=words):
        collisions(reference(COLLISIONS), load_era("2018").model_copy(update=update))


def test_other_files_are_refused(reference):
    with pytest.raises(UserError, match="so it is not NanoAOD"):
        collisions(reference("delphes/qcd_3.root"), load_era("2018"))


def test_titles_tell_the_kind_of_jets():
    old = "slimmedJets, i.e. ak4 PFJets CHS with JECs applied, after basic selection (pt > 15)"
    new = "slimmedJetsPuppi, i.e. ak4 PFJets Puppi with JECs applied, after basic selection"
    assert [jets_named_in(title) for title in (old, new, "jets", "CHS or Puppi")] == [
        "chs", "puppi", None, None
    ]  # fmt: skip
