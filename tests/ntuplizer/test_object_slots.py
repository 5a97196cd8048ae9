"""Slots of objects: on real events against a plain loop, and on events made for one case each."""

import numpy as np
import pytest
import uproot
from pydantic import ValidationError

from ntuplizer.object_slots import Objects, fill_slots, merge
from ntuplizer.slots import B_JET, EMPTY, LEPTON, LIGHT_JET, MISSING, SlotOptions

TTBAR = "delphes/ttbar_events.root"
MASSES = {"Electron": 0.000511, "Muon": 0.10566}


def objects(events: list[list[tuple[float, ...]]]) -> Objects:
    """Make objects of (pT, η, φ, mass), a list per event."""
    flat = np.array([o for event in events for o in event], float).reshape(-1, 4)
    offsets = np.concatenate(([0], np.cumsum([len(event) for event in events])))
    return Objects(offsets.astype(np.int64), *flat.T)


def delphes(tree, branch: str, leaves: tuple[str, ...], mass: float = 0.0) -> list[list[tuple]]:
    arrays = [tree[f"{branch}.{leaf}"].array().tolist() for leaf in leaves]
    events = [list(zip(*event, strict=True)) for event in zip(*arrays, strict=True)]
    return [[(*o, mass) if len(o) == 3 else o for o in event] for event in events]


@pytest.fixture
def ttbar(reference):
    """Return leptons, jets (with b-tag) and missing momentum of real events as plain lists."""
    with uproot.open(reference(TTBAR)) as file:
        tree = file["Delphes"]
        kinds = [delphes(tree, b, ("PT", "Eta", "Phi"), m) for b, m in MASSES.items()]
        jets = delphes(tree, "JetPUPPI", ("PT", "Eta", "Phi", "Mass", "BTag"))
        met = delphes(tree, "PuppiMissingET", ("MET", "Phi"))
    return kinds, jets, [[(pt, 0.0, phi, 0.0) for pt, phi in event] for event in met]


def loop(kinds, jets, met, options: SlotOptions) -> list[list[tuple]]:
    """Select events one after the other; each is a list of (pT, η, φ, mass, type)."""
    kept = []
    for electrons, muons, event_jets, event_met in zip(*kinds, jets, met, strict=True):
        leptons = [o for o in electrons + muons if o[0] > options.lepton_pt_min]
        leptons.sort(key=lambda o: -o[0])

        def clean(jet, leptons=leptons):
            for lepton in leptons:
                phi = abs(jet[2] - lepton[2])
                phi = min(phi, 2 * np.pi - phi)
                if np.sqrt((jet[1] - lepton[1]) ** 2 + phi**2) < options.overlap:
                    return False
            return jet[0] > options.jet_pt_min

        usable = sorted((jet for jet in event_jets if clean(jet)), key=lambda o: -o[0])
        tagged = [jet[:4] for jet in usable if jet[4] & 1]
        light = [jet[:4] for jet in usable if not jet[4] & 1]
        found = {"leptons": leptons, "b_jets": tagged, "light_jets": light}
        if any(len(found[kind]) < options.required(kind) for kind in found):
            continue
        if options.leptons_max is not None and len(leptons) > options.leptons_max:
            continue
        row = []
        for kind, code in (("leptons", LEPTON), ("met", MISSING), ("b_jets", B_JET),
                           ("light_jets", LIGHT_JET)):  # fmt: skip
            if kind == "met":
                row.append((*event_met[0], code))
                continue
            chosen = [(*o, code) for o in found[kind]][: getattr(options, kind)]
            missing = getattr(options, kind) - len(chosen)
            row += chosen + [(0.0, 0.0, 0.0, 0.0, EMPTY)] * missing
        kept.append(row)
    return kept


@pytest.mark.parametrize(
    ("values", "at_least"),
    [
        ({}, 15),
        ({"overlap": 0}, 20),
        ({"leptons_min": 0, "b_jets_min": 1, "light_jets_min": 0}, 80),
        ({"b_jets": 3, "light_jets": 5, "b_jets_min": 2, "light_jets_min": 2}, 15),
        ({"leptons": 0, "leptons_max": 0}, 10),
        ({"lepton_pt_min": 40, "jet_pt_min": 50, "light_jets_min": 1}, 2),
    ],
)
def test_slots_are_those_of_a_loop_over_events(ttbar, values, at_least):
    compare_with_loop(*ttbar, SlotOptions(**values), at_least)


@pytest.mark.parametrize(
    "values", [{"leptons": 2}, {"leptons": 2, "leptons_min": 1, "leptons_max": 2, "b_jets": 4}]
)
def test_two_leptons(ttbar, values):
    """Two events in one, since each has one isolated lepton at most."""
    kinds, jets, met = ttbar

    def pairs(events: list[list]) -> list[list]:
        return [a + b for a, b in zip(events[::2], events[1::2], strict=True)]

    inputs = [pairs(kind) for kind in kinds], pairs(jets), met[::2]
    compare_with_loop(*inputs, SlotOptions(b_jets_min=1, **values), 15)


def compare_with_loop(kinds, jets, met, options: SlotOptions, at_least: int) -> None:
    expected = np.array(loop(kinds, jets, met, options))
    flat_jets = objects([[jet[:4] for jet in event] for event in jets])
    tagged = np.array([jet[4] & 1 for event in jets for jet in event], bool)
    filled = fill_slots(
        merge(*(objects(kind) for kind in kinds)), objects(met), flat_jets, tagged, options
    )
    assert len(expected) >= at_least
    np.testing.assert_array_equal(filled.values, expected[:, :, :4])
    np.testing.assert_array_equal(filled.types, expected[:, :, 4])
    assert list(filled.steps.values())[-1] == len(expected) == len(filled.events)


def test_cleaning_takes_the_lepton_out_of_the_jets(ttbar):
    """Delphes makes a jet of the lepton: without cleaning it fills slots (30 % of light ones)."""
    kinds, jets, met = ttbar
    flat_jets = objects([[jet[:4] for jet in event] for event in jets])
    tagged = np.array([jet[4] & 1 for event in jets for jet in event], bool)
    inputs = (merge(*(objects(kind) for kind in kinds)), objects(met), flat_jets, tagged)

    def share_near_lepton(overlap: float) -> float:
        values = fill_slots(*inputs, SlotOptions(overlap=overlap)).values
        delta_phi = (values[:, 4:, 2] - values[:, :1, 2] + np.pi) % (2 * np.pi) - np.pi
        return (np.hypot(values[:, 4:, 1] - values[:, :1, 1], delta_phi) < 0.4).mean()

    assert share_near_lepton(0) > 0.2
    assert share_near_lepton(0.4) == 0


def test_names_and_columns_of_slots():
    assert list(SlotOptions().slots) == ["lepton", "met", "bjet1", "bjet2", "jet1", "jet2"]
    two = SlotOptions(leptons=2, light_jets=1)
    assert list(two.slots) == ["lepton1", "lepton2", "met", "bjet1", "bjet2", "jet1"]
    none = SlotOptions(leptons=0, leptons_max=0, b_jets=0, light_jets=0)
    filled = fill_slots(
        objects([[], [(30, 0, 0, 0)], []]), objects([[(7, 0, 1, 0)], [(8, 0, 1, 0)], []]),
        objects([[], [], []]), np.zeros(0, bool), none,
    )  # fmt: skip
    # The second event has a lepton, the third no missing momentum.
    assert filled.events.tolist() == [0]
    assert {name: column.tolist() for name, column in filled.columns(none).items()} == {
        "met_pt": [7], "met_eta": [0], "met_phi": [1], "met_mass": [0], "met_type": [MISSING]
    }  # fmt: skip


def test_equal_momenta_keep_their_order_and_azimuth_wraps():
    leptons = objects([[(50, 0, 3.1, 0)]])
    jets = objects([[(40, 0, -3.1, 1), (30, 1, 0, 2), (30, 2, 0, 3), (30, 2.2, 1, 4)]])
    options = SlotOptions(b_jets=0, light_jets=2)
    filled = fill_slots(leptons, objects([[(1, 0, 0, 0)]]), jets, np.zeros(4, bool), options)
    assert filled.values[0, 2:, 3].tolist() == [2, 3]


@pytest.mark.parametrize(
    "values",
    [{"overlap": -1}, {"leptons": -1}, {"leptons_max": 0}, {"jet_pt": 5}, {"jet_pt_min": np.nan}],
)
def test_impossible_options_are_refused(values):
    with pytest.raises(ValidationError):
        SlotOptions(**values)
