"""Jets and pile-up: subtraction by area, jet identification, tags by counting tracks."""

import math

import numpy as np
import pytest
from test_jets import module
from test_objects import collection, store_of

from generation.fastsim.candidates import merge
from generation.fastsim.composition import parts_of
from generation.fastsim.cones import pairs_within
from generation.fastsim.modules.fast_jet_finder import FastJetFinder
from generation.fastsim.modules.jet_pile_up_subtractor import JetPileUpSubtractor
from generation.fastsim.modules.pile_up_jet_id import PileUpJetID
from generation.fastsim.modules.track_counting_b_tagging import TrackCountingBTagging
from generation.fastsim.modules.track_counting_tau_tagging import TrackCountingTauTagging

# --- cones


def test_pairs_are_those_within_the_cone():
    rng = np.random.default_rng(7)
    counts = [30, 0, 12, 5], [40, 9, 0, 6]
    axes, others = (
        collection(n, 1.0, rng.uniform(-2, 2, sum(n)), rng.uniform(-3.1, 3.1, sum(n)))
        for n in counts
    )
    pairs = pairs_within(axes, others, 0.7)
    expected = []
    for i in range(len(axes)):
        for j in range(len(others)):
            turn = math.remainder(axes["phi"][i] - others["phi"][j], 2 * math.pi)
            distance = math.dist((axes["eta"][i], 0.0), (others["eta"][j], turn))
            if axes.event_of_row()[i] == others.event_of_row()[j] and distance <= 0.7:
                expected.append((i, j, pytest.approx(distance)))
    assert list(zip(pairs.first, pairs.second, pairs.distance, strict=True)) == expected
    assert len(expected) > 20


# --- subtraction


def test_pile_up_is_subtracted_by_area(tmp_path):
    jets = collection(
        [5, 0, 1], [100.0, 30.0, 26.0, 4.0, 50.0, 40.0], [0.0, 1.0, 1.0, 0.0, -3.0, 0.0],
        [0.0, 0.0, 0.0, 1.0, 0.0, 0.0],
        area_px=[0.8, 0.5, 0.8, 0.8, 0.5, 1.0], area_py=[0.0, 0.0, 0.0, 0.0, 0.2, 0.0],
        area_pz=[0.0, 0.6, 0.6, 0.0, 0.0, 0.0], area_e=[0.85, 0.8, 1.0, 0.8, 0.6, 1.0],
    )  # fmt: skip
    densities = collection(
        [3, 3, 3], [6.0, 10.0, 7.0] * 2 + [0.0, 30.0, 0.0], 0.0, 0.0,
        edge_eta_min=[-5, -2.5, 2.5] * 3, edge_eta_max=[-2.5, 2.5, 5] * 3,
    )  # fmt: skip
    store = store_of(jets=jets, rho=densities)
    body = "set JetInputArray In/jets; set RhoInputArray In/rho; set JetPTMin 20"
    JetPileUpSubtractor(module(tmp_path, f"JetPileUpSubtractor {body}")).run(store)
    found = store.arrays["M/jets"]
    # The third falls below the threshold, the fourth would be used up. The fifth is at negative η:
    # its ρ is that of the range which holds η with its sign. The last is of another event.
    assert found.counts.tolist() == [3, 0, 0]
    assert found["pt"] == pytest.approx([92.0, 25.0, math.hypot(50 - 3, -1.2)])
    assert found["px"][2] == pytest.approx(50 - 6 * 0.5)
    assert found["pz"].tolist() == pytest.approx([0.0, 30 * math.sinh(1) - 6, jets["pz"][4]])
    assert found["e"].tolist() == pytest.approx(
        [100 - 8.5, 30 * math.cosh(1) - 8, 50 * math.cosh(3) - 3.6]
    )
    assert jets["pt"][0] == pytest.approx(100.0)


def test_jets_without_area_or_density_stay(tmp_path):
    jets = collection([2], [100.0, 21.0], 4.0, 0.0)
    nowhere = collection([1], 10.0, 0.0, 0.0, edge_eta_min=0.0, edge_eta_max=2.5)
    body = "set JetInputArray In/jets; set RhoInputArray In/rho"
    for rho in (nowhere, nowhere.select(np.full(1, False))):
        store = store_of(jets=jets, rho=rho)
        JetPileUpSubtractor(module(tmp_path, f"JetPileUpSubtractor {body}")).run(store)
        assert store.arrays["M/jets"]["pt"].tolist() == pytest.approx([100.0, 21.0])


# --- identification

JET_ID = """PileUpJetID set JetInputArray In/jets; set TrackInputArray In/tracks
    set NeutralInputArray In/neutrals; set ParameterR 0.5; set VertexInputArray nowhere"""


def identified(tmp_path, extra=""):
    jets = collection([3, 1], [50.0, 25.0, 15.0, 60.0], [0.0, 2.0, -1.0, 4.2], 0.0)
    tracks = collection(
        [4, 0], [10.0, 5.0, 2.0, 8.0], [0.05, 0.0, 2.25, 3.0], [0.0, 0.25, 0.0, 0.0],
        charge=[1, -1, 1, 1], is_reco_pu=[0, 1, 1, 0],
    )  # fmt: skip
    neutrals = collection([3, 2], [4.0, 1.0, 3.0, 7.0, 9.0], [0.0, 0.0, 2.0, 4.2, 4.2],
                          [0.12, -0.49, 0.0, 0.3, 0.6], charge=0)  # fmt: skip
    store = store_of(jets=jets, tracks=tracks, neutrals=neutrals)
    PileUpJetID(module(tmp_path, f"{JET_ID}\n{extra}")).run(store)
    return store.arrays["M/jets"], store.arrays["M/eflowtowers"]


def test_jets_are_described_by_what_is_around_them(tmp_path):
    jets, neutrals = identified(tmp_path)
    assert jets.counts.tolist() == [3, 1]
    assert jets["n_charged"].tolist() == [2, 1, 0, 0]
    assert jets["n_neutrals"].tolist() == [2, 1, 0, 1]
    assert jets["beta"].tolist() == pytest.approx([10 / 15, 0.0, -999.0, -999.0])
    assert jets["beta_star"].tolist() == pytest.approx([5 / 15, 1.0, -999.0, -999.0])
    pt, distance = np.array([10, 5, 4, 1]), np.array([0.05, 0.25, 0.12, 0.49])
    width = np.sum((pt * distance) ** 2) / np.sum(pt**2)
    assert jets["mean_sq_delta_r"][0] == pytest.approx(width)
    assert jets["pt_d"].tolist() == pytest.approx(
        [math.sqrt(np.sum(pt**2)) / 20, math.sqrt(13) / 5, -999.0, 1.0]
    )
    assert jets["frac_pt"][0] == pytest.approx([10 / 20, 4 / 20, 5 / 20, 0.0, 1 / 20])
    # What lies on the axis is in no ring: the distance must be above zero.
    assert jets["frac_pt"][1] == pytest.approx([0.0, 0.0, 2 / 5, 0.0, 0.0])
    assert jets["frac_pt"][2].tolist() == [-999.0] * 5
    # The second has too much pile-up, the third nothing in it; forward, β does not matter.
    assert neutrals["pt"].tolist() == pytest.approx([4.0, 7.0])
    assert neutrals.counts.tolist() == [1, 1]


def test_cuts_decide_on_the_neutral_candidates_of_jets(tmp_path):
    assert len(identified(tmp_path, "set BetaMinBarrel 0.7")[1]) == 1
    assert len(identified(tmp_path, "set BetaMinEndcap -0.1")[1]) == 3
    assert len(identified(tmp_path, "set MeanSqDeltaRMaxForward 0.05")[1]) == 1
    assert len(identified(tmp_path, "set JetPTMinForNeutrals 55")[1]) == 1
    assert len(identified(tmp_path, "set NeutralPTMin 0.5")[1]) == 3


def test_jets_are_described_by_their_constituents(tmp_path):
    tracks = collection([2, 1], [30.0, 10.0, 40.0], [0.0, 0.2, 1.0], 0.0, charge=[1, -1, 1],
                        is_reco_pu=[0, 1, 0])  # fmt: skip
    neutrals = collection([1, 0], 10.0, -0.2, 0.0, charge=0)
    store = store_of(all=merge([tracks, neutrals]), tracks=tracks, neutrals=neutrals)
    finder = "FastJetFinder set InputArray In/all; set ParameterR 0.5; set JetPTMin 5"
    FastJetFinder(module(tmp_path, finder)).run(store)
    store.arrays["In/jets"] = store.arrays["M/jets"]
    PileUpJetID(module(tmp_path, f"{JET_ID}\nset UseConstituents 1")).run(store)
    jets = store.arrays["M/jets"]
    assert jets["n_charged"].tolist() == [2, 1]
    assert jets["n_neutrals"].tolist() == [1, 0]
    assert jets["beta"].tolist() == pytest.approx([0.75, 1.0])
    assert jets["mean_sq_delta_r"] == pytest.approx([2 * 0.04 * 100 / 1100, 0.0], abs=1e-9)
    assert store.arrays["M/eflowtowers"]["pt"].tolist() == pytest.approx([10.0])
    # They are the jets themselves, with all that they are made of.
    assert parts_of(jets).owner.tolist() == [0, 0, 0, 1]


# --- tags


TAU_TAG = """TrackCountingTauTagging set JetInputArray In/jets; set PartonInputArray In/partons
    set ParticleInputArray In/particles; set TrackInputArray In/tracks; set DeltaR 0.2
    add EfficiencyFormula 1 {code}; add EfficiencyFormula 2 {code}"""


def tagged_taus(tmp_path, efficiencies, daughters=(211, 111, -16)):
    """Return three jets of an event with a τ in the first of them: 1, 3 and no tracks."""
    pid = [15, *daughters]
    d1, d2 = [1] + [-1] * len(daughters), [len(daughters)] + [-1] * len(daughters)
    eta = np.where(np.abs(pid) == 16, 3.0, 0.1)
    particles = collection([len(pid)], 20.0, eta, 0.0, pid=pid, d1=d1, d2=d2, charge=-1)
    partons = particles.select(np.abs(particles["pid"]) == 15)
    jets = collection([3], 50.0, [0.0, 2.0, -2.0], 0.0)
    tracks = collection([6], [9.0, 0.9, 9.0, 9.0, 9.0, 9.0], [0.1, 0.1, 1.9, 2.0, 2.1, -1.7], 0.0,
                        charge=[-1, 1, 1, 1, -1, 1])  # fmt: skip
    store = store_of(jets=jets, partons=partons, particles=particles, tracks=tracks)
    body = "\n".join(f"add EfficiencyFormula {code} {value}" for code, value in efficiencies)
    head = TAU_TAG.partition("\n    add")[0]
    TrackCountingTauTagging(module(tmp_path, f"{head}\n{body}")).run(store)
    return jets


def test_taus_are_tagged_by_their_prongs(tmp_path):
    jets = tagged_taus(tmp_path, [(1, 1.0)])
    assert jets["tau_tag"].tolist() == [1, 0, 0]
    assert jets["charge"].tolist() == [-1, 1, 0]
    # Three prongs are two: the code of a jet without τ is negative, without tracks it is 0.
    assert tagged_taus(tmp_path, [(-2, 1.0)])["tau_tag"].tolist() == [0, 1, 0]
    assert tagged_taus(tmp_path, [(0, 1.0), (1, 0.0)])["tau_tag"].tolist() == [0, 1, 1]
    assert tagged_taus(tmp_path, [(2, 1.0), (-1, 1.0), (3, 1.0)])["tau_tag"].tolist() == [0, 0, 0]


@pytest.mark.parametrize("daughters", [(11, -12, -16), (15, 22), (-16,)])
def test_leptonic_decays_and_copies_are_no_hadronic_taus(tmp_path, daughters):
    jets = tagged_taus(tmp_path, [(1, 1.0)], daughters)
    assert not jets["tau_tag"].any()
    assert tagged_taus(tmp_path, [(-1, 1.0)], daughters)["tau_tag"].tolist() == [1, 0, 0]


def test_mistags_need_no_tau_in_the_event(tmp_path):
    jets = collection([10_000], 50.0, 0.0, 0.0)
    nobody = collection([0], 1.0, 0.0, 0.0, pid=15, d1=-1, d2=-1)
    store = store_of(jets=jets, partons=nobody, particles=nobody, tracks=nobody)
    head = TAU_TAG.partition("\n    add")[0]
    body = f"{head}\nset BitNumber 2\nadd EfficiencyFormula 0 {{pt/100}}"
    TrackCountingTauTagging(module(tmp_path, body)).run(store)
    assert set(jets["tau_tag"]) == {0, 4}
    assert np.mean(jets["tau_tag"] == 4) == pytest.approx(0.5, abs=0.02)


B_TAG = """TrackCountingBTagging set JetInputArray In/jets; set TrackInputArray In/tracks
    set TrackPTMin 90; set DeltaR 0.3; set TrackIPMax 2.0; set SigMin 6.5; set Ntracks 2"""


def tagged_bottoms(tmp_path, extra=""):
    jets = collection([1, 1], 50.0, 0.0, 0.0)
    tracks = collection(
        [7, 1],
        #  good, good; soft, far, too displaced, behind the jet, without displacement
        [5.0, 5.0, 0.5, 5.0, 5.0, 5.0, 5.0, 5.0], [0.1, -0.1, 0.0, 0.4, 0.0, 0.0, 0.0, 0.0], 0.0,
        d0=[0.7, -0.8, 0.7, 0.7, 2.1, 0.7, 0.0, 0.7], error_d0=[0.1, -0.1] + [0.1] * 6,
        xd=[0.7, 0.8, 0.7, 0.7, 2.1, -0.7, 0.0, 0.7], yd=0.0, zd=5.0, dz=0.2, error_dz=0.1,
    )  # fmt: skip
    store = store_of(jets=jets, tracks=tracks)
    TrackCountingBTagging(module(tmp_path, f"{B_TAG}\n{extra}")).run(store)
    return jets["b_tag"].tolist()


def test_displaced_tracks_tag_a_jet(tmp_path):
    # `TrackPTMin`, as Delphes' cards have it, is not what Delphes reads.
    assert tagged_bottoms(tmp_path) == [1, 0]
    assert tagged_bottoms(tmp_path, "set Ntracks 3") == [0, 0]
    assert tagged_bottoms(tmp_path, "set Ntracks 3; set TrackPtMin 0.4") == [1, 0]
    assert tagged_bottoms(tmp_path, "set Ntracks 3; set DeltaR 0.5; set BitNumber 1") == [2, 0]
    assert tagged_bottoms(tmp_path, "set Ntracks 3; set TrackIPMax 3") == [1, 0]
    # √(7² + 2²) = 7.28 and √(8² + 2²) = 8.25
    assert tagged_bottoms(tmp_path, "set SigMin 7.2") == [0, 0]
    assert tagged_bottoms(tmp_path, "set SigMin 7.2; set Use3D true") == [1, 0]
