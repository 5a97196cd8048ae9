"""Filters, smearings and other small modules, each on candidates made by hand."""

import math

import numpy as np
import pytest
from detector_events import make_record, random_record, run_modules, write_card
from test_jets import module
from test_objects import collection, store_of

from generation.fastsim.candidates import merge
from generation.fastsim.modules.angular_smearing import AngularSmearing
from generation.fastsim.modules.beam_spot_filter import BeamSpotFilter
from generation.fastsim.modules.cloner import Cloner
from generation.fastsim.modules.dense_track_filter import DenseTrackFilter
from generation.fastsim.modules.energy_smearing import EnergySmearing
from generation.fastsim.modules.identification_map import IdentificationMap
from generation.fastsim.modules.impact_parameter_smearing import ImpactParameterSmearing
from generation.fastsim.modules.lepton_dressing import LeptonDressing
from generation.fastsim.modules.photon_conversions import PhotonConversions
from generation.fastsim.modules.status_pid_filter import StatusPidFilter
from generation.fastsim.modules.tagging_particles_skimmer import TaggingParticlesSkimmer
from generation.fastsim.modules.time_smearing import TimeSmearing
from generation.fastsim.modules.weighter import Weighter
from provenance.errors import UserError

# --- what of the record is kept


@pytest.mark.parametrize(
    ("pid", "status", "mother", "kept"),
    [
        (21, 3, 0, True),  # of the hard process of Pythia 6
        (21, 23, 0, True),  # and 8
        (21, 43, 0, False),
        (1, 71, 0, False),
        (-4, 71, 0, True),
        (12, 1, 0, True),
        (22, 1, 0, True),
        (22, 91, 0, False),
        (25, 62, 0, True),
        (43, 62, 0, False),
        (1000022, 1, 0, True),
        (2000001, 1, 0, False),
        (211, 1, 0, False),
        (211, 1, 15, True),
        (-211, 1, -24, True),
        (20213, 2, 15, False),  # Delphes looks for daughters of τ among light codes only
        (511, 2, 0, True),
        (-5122, 2, 0, True),
        (100553, 2, 0, True),
        (421, 2, 0, False),
        (5, 71, 0, True),
    ],
)
def test_the_record_keeps_what_matters(tmp_path, pid, status, mother, kept):
    # The second event has nothing: places of mothers count from the first particle of the event.
    particles = collection(
        [3, 0, 3], 20.0, 0.0, 0.0, pid=[21, mother, pid] * 2, status=[43, 43, status] * 2,
        m1=[-1, -1, 1] * 2,
    )  # fmt: skip
    store = store_of(all=particles)
    StatusPidFilter(module(tmp_path, "StatusPidFilter set InputArray In/all")).run(store)
    found = store.arrays["M/filteredParticles"]
    assert [code for code in found["pid"] if code != mother] == [pid] * (2 * kept)


def test_soft_particles_are_kept_only_for_their_origin(tmp_path):
    particles = collection(
        [7, 2], 0.4, 0.0, 0.0, pid=[11, 5, 511, 24, 211, 15, 211, 211, 11], status=1,
        m1=[-1, -1, -1, -1, 3, -1, 5, 9, -1], is_pu=[0, 0, 1, 0, 0, 0, 0, 0, 0],
    )  # fmt: skip
    store = store_of(all=particles)
    body = "StatusPidFilter set InputArray In/all; set PTMin 0.5"
    StatusPidFilter(module(tmp_path, body)).run(store)
    assert store.arrays["M/filteredParticles"]["pid"].tolist() == [5, 511, 211, 211]
    StatusPidFilter(module(tmp_path, f"{body}; set RequireNotPileup true")).run(store)
    assert store.arrays["M/filteredParticles"]["pid"].tolist() == [5, 211, 211]


def test_the_beam_spot_is_the_first_hard_particle(tmp_path):
    particles = collection([3, 0, 2, 2], 1.0, 0.0, 0.0, is_pu=[1, 0, 0, 0, 1, 1, 1], z=range(7))
    store = store_of(all=particles)
    BeamSpotFilter(module(tmp_path, "BeamSpotFilter set InputArray In/all")).run(store)
    found = store.arrays["M/filteredParticles"]
    # What comes before it is kept too, and all where there is none.
    assert found["z"].tolist() == [0, 1, 3, 5, 6]
    assert found.counts.tolist() == [2, 0, 1, 2]


def test_taus_are_replaced_by_what_is_visible_of_them(tmp_path):
    pid = [15, 211, 16, 111, 5, -15, -11, -16]
    pt = [60.0, 20.0, 30.0, 15.0, 40.0, 50.0, 5.0, 5.0]
    eta = [0.1, 0.2, 0.0, 0.3, 2.6, 0.0, 0.0, 0.0]
    particles = collection([8, 0, 1], [*pt, 17.0], [*eta, 1.0], 0.0, pid=[*pid, 21],
                           d1=[1, *[-1] * 4, 6, -1, -1, -1],
                           d2=[3, *[-1] * 4, 7, -1, -1, -1])  # fmt: skip
    partons = particles.select(np.isin(np.abs(particles["pid"]), (5, 15, 21)))
    store = store_of(partons=partons, all=particles)
    inputs = "set PartonInputArray In/partons; set ParticleInputArray In/all"
    TaggingParticlesSkimmer(module(tmp_path, f"TaggingParticlesSkimmer {inputs}")).run(store)
    found = store.arrays["M/taggingParticles"]
    # The other τ has an electron among its daughters, which counts as hadronic (see TauTagging).
    assert found["pid"].tolist() == [15, -15, 21]
    assert found.counts.tolist() == [2, 0, 1]
    for name in ("px", "py", "pz", "e"):
        expected = particles[name][[1, 6, 8]] + [particles[name][3], 0.0, 0.0]
        assert found[name] == pytest.approx(expected)
    TaggingParticlesSkimmer(
        module(tmp_path, f"TaggingParticlesSkimmer {inputs}; set EtaMax 3; set PTMin 55")
    ).run(store)
    assert store.arrays["M/taggingParticles"]["pid"].tolist() == [15]


@pytest.mark.parametrize(
    ("codes", "status", "weight"),
    [
        ([5, -5, 21], 3, 0.5),
        ([5, 5, -5], 3, 0.5),
        ([5], 3, 0.25),
        ([-5], 3, 1.5),
        ([5, -5, 6], 3, 1.5),
        ([5, -5], 23, 1.5),  # Pythia 8's hard process has other status codes
        ([], 3, 1.5),
    ],
)
def test_events_are_weighted_by_their_hard_process(tmp_path, codes, status, weight):
    particles = collection(
        [len(codes), 1], 1.0, 0.0, 0.0, pid=[*codes, 5], status=[status] * len(codes) + [3]
    )
    store = store_of(all=particles)
    body = "add Weight {-5 5} 0.5; add Weight 5 0.25; add Weight {5 6} 2.0; add Weight 0 1.5"
    Weighter(module(tmp_path, f"Weighter set InputArray In/all\n{body}")).run(store)
    assert store.arrays["M/weight"]["pt"].tolist() == [weight, 0.25]
    assert store.arrays["M/weight"]["e"].tolist() == [weight, 0.25]


@pytest.mark.parametrize("values", ["5", "{1 2 3 4 5} 1.0", "{} 1.0", "5 heavy", "b 1.0"])
def test_weights_that_are_none_are_named(tmp_path, values):
    with pytest.raises(UserError, match="'Weight'"):
        Weighter(module(tmp_path, f"Weighter add Weight {values}"))


# --- tracks

GRID = "for {set i -20} {$i <= 20} {incr i} { add EtaPhiBins [expr {$i * 0.1}] {-3.2 0 0.1 3.2} }"


def test_the_hardest_track_of_each_cell_survives_as_it_was_before(tmp_path):
    # Two tracks in one cell, two of one pT in another, one alone, one outside; another event.
    pt = [5.0, 9.0, 3.0, 3.0, 1.0, 8.0, 2.0]
    eta = [0.05, 0.06, 0.55, 0.56, -0.5, 2.5, 0.05]
    phi = [0.05, 0.06, 0.05, 0.06, 0.05, 0.05, 0.05]
    pid = [211, 11, 13, 211, -13, 211, -211]
    mothers = collection([6, 1], pt, eta, phi, pid=pid, charge=1, x=1.0)
    position = {"x": np.cos(phi), "y": np.sin(phi), "z": np.sinh(eta)}
    # The module before has turned the momenta: what it has done is undone.
    tracks = mothers.clone(np.arange(7), px=-mothers["px"], py=mothers["py"], pz=mothers["pz"],
                           e=mothers["e"], **position)  # fmt: skip
    store = store_of(tracks=merge([tracks, tracks.select(np.full(7, False))]))
    body = f"DenseTrackFilter set TrackInputArray In/tracks; set EtaPhiRes 0.0\n{GRID}"
    DenseTrackFilter(module(tmp_path, body)).run(store)
    found = store.arrays["M/tracks"]
    assert found.counts.tolist() == [3, 1]
    # Cell by cell; of two as hard the first.
    assert found["pid"].tolist() == [-13, 11, 13, -211]
    assert found["eta"] == pytest.approx([-0.5, 0.06, 0.55, 0.05])
    assert found["phi"] == pytest.approx([0.05, 0.06, 0.05, 0.05])
    assert found["x"].tolist() == [1.0] * 4
    assert store.arrays["M/electrons"]["pid"].tolist() == [11]
    assert store.arrays["M/muons"]["pid"].tolist() == [-13, 13]
    assert store.arrays["M/chargedHadrons"]["pid"].tolist() == [-211]


def test_dense_tracks_are_smeared_and_particles_without_mother_dropped(tmp_path):
    mothers = collection([1] * 5000, 5.0, 0.05, 0.05, charge=1)
    place = {"x": np.cos(0.05), "y": np.sin(0.05), "z": np.sinh(0.05)}
    tracks = mothers.clone(np.arange(5000), **{k: np.full(5000, v) for k, v in place.items()})
    body = f"DenseTrackFilter set TrackInputArray In/tracks; set EtaPhiRes 0.01\n{GRID}"
    store = store_of(tracks=tracks)
    DenseTrackFilter(module(tmp_path, body)).run(store)
    found = store.arrays["M/tracks"]
    for name in ("eta", "phi"):
        assert np.mean(found[name]) == pytest.approx(0.05, abs=5e-4)
        assert np.std(found[name]) == pytest.approx(0.01, rel=0.05)
    assert found["pt"] == pytest.approx(5.0)
    store = store_of(tracks=collection([2, 0], 5.0, 0.05, 0.05, pid=211, **place))
    DenseTrackFilter(module(tmp_path, body)).run(store)
    found = store.arrays["M/tracks"]
    assert found.counts.tolist() == [0, 0]
    assert found["pid"].dtype.kind == "i"


def test_a_grid_of_millions_of_cells_needs_no_memory_for_them(tmp_path):
    fine = """set PhiBins {}
      for {set i -3000} {$i <= 3000} {incr i} { add PhiBins [expr {$i * 0.001}] }
      for {set i -6000} {$i <= 6000} {incr i} { add EtaPhiBins [expr {$i * 0.001}] $PhiBins }"""
    mothers = collection([2], [5.0, 4.0], 0.0005, [0.0005, 0.0015])
    tracks = mothers.clone(np.arange(2), x=np.cos(mothers["phi"]), y=np.sin(mothers["phi"]),
                           z=np.sinh(mothers["eta"]))  # fmt: skip
    store = store_of(tracks=tracks)
    filter_ = DenseTrackFilter(
        module(tmp_path, f"DenseTrackFilter set TrackInputArray In/tracks\n{fine}")
    )
    assert filter_.grid.n_towers == 72_000_000
    assert len(filter_.grid.phi_edges) == 6001
    filter_.run(store)
    assert len(store.arrays["M/tracks"]) == 2


def test_impact_parameters_are_smeared(tmp_path):
    n = 20_000
    particles = collection([n], 10.0, 0.5, 0.3, pid=211)
    tracks = particles.clone(np.arange(n), xd=np.full(n, 0.2), zd=np.full(n, 1.0), yd=np.zeros(n))
    store = store_of(tracks=tracks)
    body = "ImpactParameterSmearing set InputArray In/tracks; set ResolutionFormula {0.01 + 0.4/pt}"
    ImpactParameterSmearing(module(tmp_path, body)).run(store)
    found = store.arrays["M/tracks"]
    for name, mean in (("xd", 0.2), ("yd", 0.0), ("zd", 1.0)):
        assert np.mean(found[name]) == pytest.approx(mean, abs=0.002)
        assert np.std(found[name]) == pytest.approx(0.05, rel=0.03)
    assert found["d0"] == pytest.approx(found["xd"] * math.sin(0.3) - found["yd"] * math.cos(0.3))
    # Delphes' error of d0 is a random number too, of either sign.
    assert np.mean(found["error_d0"]) == pytest.approx(0.0, abs=0.002)
    assert np.std(found["error_d0"]) == pytest.approx(0.05, rel=0.03)


def test_directions_are_smeared(tmp_path):
    candidates = collection([20_000, 1], [10.0] * 20_000 + [0.0], 0.5, 0.3)
    store = store_of(all=candidates)
    body = "AngularSmearing set InputArray In/all; set OutputArray out"
    widths = "set EtaResolutionFormula {0.1/pt}; set PhiResolutionFormula 0.02"
    AngularSmearing(module(tmp_path, f"{body}; {widths}")).run(store)
    found = store.arrays["M/out"]
    assert found.counts.tolist() == [20_000, 0]
    assert np.std(found["eta"]) == pytest.approx(0.01, rel=0.03)
    assert np.std(found["phi"]) == pytest.approx(0.02, rel=0.03)
    assert found["pt"] == pytest.approx(10.0)
    assert found["m"] == pytest.approx(0.0, abs=1e-5)


def test_energies_are_smeared(tmp_path):
    n = 20_000
    candidates = collection([n, 1], [10.0] * n + [0.01], 1.0, 0.3, x=300.0, y=400.0, z=0.0)
    energy = candidates["e"][0]
    store = store_of(all=candidates)
    body = "EnergySmearing set InputArray In/all; set OutputArray out; set ResolutionFormula"
    EnergySmearing(
        module(tmp_path, f"{body} {{0.1*energy*(pt > 499)*(eta < 0.5) + 9*(pt < 1)}}")
    ).run(store)
    found = store.arrays["M/out"].select(np.arange(len(store.arrays["M/out"])) < n)
    # The first time, the formula is of the position: 500 mm from the beam, at η = 0.
    assert np.std(found["e"]) == pytest.approx(0.1 * energy, rel=0.03)
    assert np.mean(found["e"]) == pytest.approx(energy, rel=0.01)
    assert found["eta"] == pytest.approx(1.0)
    assert found["m"] == pytest.approx(0.0, abs=1e-4)
    # The second time it is of the momentum.
    assert found["track_resolution"].tolist() == [0.0] * n
    EnergySmearing(module(tmp_path, f"{body} {{0.2*energy}}")).run(store)
    found = store.arrays["M/out"]
    assert found["track_resolution"][:n] == pytest.approx(0.2 * found["e"][:n] / energy)


def test_no_energy_is_left_below_zero(tmp_path):
    mass = {211: 0.13957}
    record = make_record([1] * 2000, 211, 0.1, 0.0, 0.0)
    path = write_card(
        tmp_path,
        ("EnergySmearing", "Smear", "set InputArray Delphes/stableParticles\n"
         "set ResolutionFormula {energy}"),
    )  # fmt: skip
    found = run_modules(path, record)["Smear/stableParticles"]
    # A Gaussian as wide as its mean is below zero in one case of six.
    assert len(found) / 2000 == pytest.approx(0.841, abs=0.03)
    assert found["e"].min() > 0
    above = found["e"] > mass[211]
    assert found["m"][above] == pytest.approx(mass[211], rel=1e-3)
    # Below its mass, a particle has no momentum left.
    assert not found["pt"][~above].any()
    assert np.isfinite(found["eta"]).all()


def test_times_are_smeared(tmp_path):
    candidates = collection([20_000], 10.0, 0.0, 0.0, x=1.0, y=2.0, z=3.0, t=300.0, initial_t=5.0)
    store = store_of(all=candidates)
    body = "TimeSmearing set InputArray In/all; set OutputArray out; set TimeResolution"
    TimeSmearing(module(tmp_path, f"{body} 30E-12")).run(store)
    found = store.arrays["M/out"]
    # 30 ps are 9 mm.
    assert np.std(found["t"]) == pytest.approx(8.99, rel=0.03)
    assert np.mean(found["t"]) == pytest.approx(300.0, abs=0.3)
    assert found["error_t"] == pytest.approx(8.99, rel=1e-3)
    assert (found["x"][0], found["z"][0], found["initial_t"][0]) == (1.0, 3.0, 5.0)
    # As in Delphes, a formula's η is that of the momentum, not the 1.1 of the position.
    TimeSmearing(module(tmp_path, f"{body} {{(abs(eta) < 1) * 30e-12}}")).run(store)
    assert np.std(store.arrays["M/out"]["t"]) == pytest.approx(8.99, rel=0.03)


def test_particles_are_mistaken_for_others(tmp_path):
    n = 10_000
    pid = np.repeat([211, -211, 321, 2212, 13, 11], n)
    particles = collection([len(pid)], 10.0, 3.0, 0.0, pid=pid, charge=np.sign(pid) * np.where(
        np.isin(pid, (13, 11)), -1, 1), x=1.0, y=0.0, z=10.0)  # fmt: skip
    body = """IdentificationMap set InputArray In/all; set OutputArray out
      add EfficiencyFormula {211} {211} {0.5}; add EfficiencyFormula {211} {-13} {0.25*(eta < 4)}
      add EfficiencyFormula {321} {-13} {1.0}; add EfficiencyFormula {321} {211} {1.0}
      add EfficiencyFormula {-13} {-13} {1.0}
      add EfficiencyFormula {0} {0} {pt/40}"""
    store = store_of(all=particles)
    IdentificationMap(module(tmp_path, body)).run(store)
    found = store.arrays["M/out"]
    was = found.origin["pid"]
    codes = {code: found["pid"][was == code] for code in (211, -211, 321, 2212, 13, 11)}
    # An antimuon has the code -13: the new code is multiplied by the charge.
    for code, sign in ((211, 1), (-211, -1)):
        assert np.mean(codes[code] == 211 * sign) == pytest.approx(2 / 3, abs=0.02)
        assert np.mean(codes[code] == -13 * sign) == pytest.approx(1 / 3, abs=0.02)
        assert len(codes[code]) == pytest.approx(0.75 * n, rel=0.03)
    assert set(codes[321]) == {-13}  # the first one listed decides
    assert set(codes[13]) == {13}  # found by its antiparticle
    assert len(codes[13]) == n
    for code in (2212, 11):  # neither is listed
        assert set(codes[code]) == {code}
        assert len(codes[code]) == pytest.approx(0.25 * n, rel=0.06)


def test_what_no_map_names_is_kept(tmp_path):
    store = store_of(all=collection([3, 0], 1.0, 0.0, 0.0, pid=[211, 11, 22]))
    body = "IdentificationMap set InputArray In/all; add EfficiencyFormula 211 211 0.0"
    IdentificationMap(module(tmp_path, body)).run(store)
    assert store.arrays["M/stableParticles"]["pid"].tolist() == [11, 22]
    with pytest.raises(UserError, match="'EfficiencyFormula'"):
        IdentificationMap(module(tmp_path, "IdentificationMap add EfficiencyFormula 211 0.5"))


# --- conversions

MATERIAL = """PhotonConversions set InputArray In/all; set Radius 2; set HalfLength 4
  set EtaMin -1; set EtaMax 1; set Step 0.01"""


def test_photons_convert_in_material(tmp_path):
    n = 20_000
    # Along x, from 1 m of the beam: 100 steps to the cylinder, all but the first half in material.
    photons = collection([n, 0, 1], 10.0, 0.0, 0.0, pid=22, x=1000.0, t=5.0, status=1, charge=0)
    store = store_of(all=photons)
    body = f"{MATERIAL}\nset ConversionMap {{(r > 1.5) * 2.0}}"
    PhotonConversions(module(tmp_path, body)).run(store)
    found = store.arrays["M/stableParticles"]
    pairs = found.select(np.abs(found["pid"]) == 11)
    # Delphes takes as many steps as fit between the origin and the end, here 200 of 5 mm, and lets
    # each of them count for 10 mm: half a metre of material counts double.
    probability = 1 - math.exp(-7 / 9 * 2.0 * 2 * 0.5)
    assert len(pairs) / 2 / n == pytest.approx(probability, abs=0.015)
    assert found.n_events == 3
    assert len(found) == n + 1 + len(pairs) / 2
    assert pairs["pid"][:4].tolist() == [11, -11, 11, -11]
    assert np.all(pairs["charge"] == -np.sign(pairs["pid"]))
    radius = pairs["position_r"]
    assert 1500 < radius.min() < 1510
    assert 1990 < radius.max() <= 2000.001
    assert pairs["t"] == pytest.approx(5.0 + 1000.0)
    # Both share the photon's momentum, as 1 - 4/3 x (1 - x) says: the variance is 13/140.
    share = pairs["e"][1::2] / 10.0
    for name, total in (("px", 10.0), ("e", 10.0)):
        assert pairs[name][::2] + pairs[name][1::2] == pytest.approx(total)
    assert np.mean(share) == pytest.approx(0.5, abs=0.01)
    assert np.var(share) == pytest.approx(13 / 140, rel=0.03)


def test_photons_out_of_reach_are_lost_and_others_pass(tmp_path):
    particles = collection(
        [6, 0], 10.0, [0.0, 1.5, 0.0, 0.0, 0.0, 0.9], 0.0, pid=[22, 22, 22, 22, 211, -22],
        x=[0.0, 0.0, 2500.0, 0.0, 9000.0, 0.0], z=[0.0, 0.0, 0.0, 4500.0, 0.0, 0.0],
    )  # fmt: skip
    store = store_of(all=particles)
    PhotonConversions(module(tmp_path, MATERIAL)).run(store)
    found = store.arrays["M/stableParticles"]
    assert found["pid"].tolist() == [22, 211, -22]
    assert found.counts.tolist() == [3, 0]


def test_pairs_fly_from_where_they_were_made(tmp_path):
    record = make_record([1] * 200, 22, 5.0, 0.1, 0.0)
    path = write_card(
        tmp_path,
        ("PhotonConversions", "Matter", "set EtaMin -1; set Radius 1.0\nset ConversionMap 5.0"),
        ("ParticlePropagator", "Fly", "set InputArray Matter/stableParticles\n"
         "set Radius 2.0; set Bz 3.8"),
    )  # fmt: skip
    electrons = run_modules(path, record)["Fly/electrons"]
    assert len(electrons) > 300
    assert np.hypot(electrons["initial_x"], electrons["initial_y"]).max() > 500
    assert np.mean(electrons["charge"]) == pytest.approx(0.0, abs=0.05)


# --- leptons and clones


def test_leptons_are_dressed_with_photons(tmp_path):
    leptons = collection([2, 1], [20.0, 30.0, 40.0], [0.0, 2.0, 0.0], 0.0, pid=11, charge=-1)
    photons = collection([4, 0], [5.0, 0.05, 3.0, 1.0], [0.05, 0.0, 0.2, -0.05], 0.0, pid=22)
    store = store_of(leptons=leptons, photons=photons)
    body = (
        "set DressingInputArray In/photons; set CandidateInputArray In/leptons; set DeltaRMax 0.1"
    )
    LeptonDressing(module(tmp_path, f"LeptonDressing {body}")).run(store)
    found = store.arrays["M/electrons"]
    for name in ("px", "py", "pz", "e"):
        added = photons[name][0] + photons[name][3]
        assert found[name] == pytest.approx(leptons[name] + [added, 0.0, 0.0])
    assert found["charge"].tolist() == [-1] * 3


def test_marks_on_clones_leave_the_originals_alone(tmp_path):
    jets = collection([2, 0], 50.0, 0.0, 0.0)
    store = store_of(jets=jets)
    Cloner(module(tmp_path, "Cloner set InputArray In/jets")).run(store)
    clones = store.arrays["M/jets"]
    clones.mark("b_tag", np.ones(2, np.int32))
    assert clones["pt"].tolist() == jets["pt"].tolist()
    assert clones["b_tag"].tolist() == [1, 1]
    assert jets["b_tag"].tolist() == [0, 0]
    assert clones.identity.tolist() == jets.identity.tolist()


# --- any event


@pytest.mark.parametrize("counts", [[0], [0, 0, 0], [1], [40, 0, 3]])
def test_modules_take_events_of_any_size(tmp_path, counts):
    record = random_record(np.random.default_rng(1), counts)
    cones = "set ParameterR 0.4; set JetPTMin 1"
    modules = [
        ("StatusPidFilter", "Record", "set OutputArray out"),
        ("BeamSpotFilter", "Spot", ""),
        ("Weighter", "Weight", "add Weight 5 2.0"),
        ("TaggingParticlesSkimmer", "Skim", "set PTMin 1"),
        ("PhotonConversions", "Matter", "set EtaMin -5; set ConversionMap {r + z}"),
        ("ParticlePropagator", "Fly", "set InputArray Matter/stableParticles; set Bz 3.8"),
        ("DenseTrackFilter", "Dense", f"set TrackInputArray Fly/chargedHadrons\n{GRID}"),
        ("EnergySmearing", "Energies", "set InputArray Fly/electrons\n"
         "set ResolutionFormula {0.1*energy}"),
        ("AngularSmearing", "Turn", "set InputArray Fly/chargedHadrons\n"
         "set EtaResolutionFormula 0.001"),
        ("ImpactParameterSmearing", "Shift", "set InputArray Turn/stableParticles\n"
         "set ResolutionFormula 0.01"),
        ("TimeSmearing", "Clock", "set InputArray Shift/tracks"),
        ("IdentificationMap", "Guess", "set InputArray Clock/tracks\n"
         "add EfficiencyFormula 0 0 0.9"),
        ("FastJetFinder", "Jets", f"set InputArray Fly/stableParticles; {cones}\n"
         "set AreaAlgorithm 5; set ComputeRho true; add RhoEtaRange -2 2"),
        ("JetPileUpSubtractor", "Less", "set JetInputArray Jets/jets; set RhoInputArray Jets/rho\n"
         "set JetPTMin 0.1"),
        ("PileUpJetID", "Known", "set JetInputArray Less/jets; set TrackInputArray Guess/"
         "stableParticles; set NeutralInputArray Fly/neutralParticles"),
        ("TrackCountingBTagging", "B", "set JetInputArray Known/jets; set TrackInputArray Guess/"
         "stableParticles; set Ntracks 1"),
        ("TrackCountingTauTagging", "Tau", "set JetInputArray Known/jets; set TrackInputArray "
         "Guess/stableParticles; add EfficiencyFormula 0 0.5"),
        ("LeptonDressing", "Dress", "set CandidateInputArray Fly/electrons\n"
         "set DressingInputArray Fly/neutralParticles"),
        ("Cloner", "Clone", "set InputArray Known/jets"),
        ("TruthVertexFinder", "True", ""),
        ("TrackCovariance", "Measured", "set InputArray Fly/chargedHadrons; set Bz 3.8\n"
         "set DetectorGeometry {1 A -9 9 0.1 0.001 0.1 2 0 1.57 1e-5 1e-5 1}"),
        ("ClusterCounting", "Gas", "set InputArray Measured/tracks; set Bz 3.8; set Rmin 0.3\n"
         "set Rmax 2; set Zmin -2; set Zmax 2"),
        ("TimeOfFlight", "Flown", "set InputArray Gas/tracks; set VertexTimeMode 2\n"
         "set VertexInputArray True/vertices"),
    ]  # fmt: skip
    arrays = run_modules(write_card(tmp_path, *modules), record)
    for name, candidates in arrays.items():
        assert candidates.n_events == len(counts), name
        for column in ("pt", "eta", "phi", "e", "t", "d0", "error_d0", "beta", "pt_d", "frac_pt"):
            assert np.isfinite(candidates[column]).all(), (name, column)
