"""DualReadoutCalorimeter: one energy in a tower, and who gets it."""

import numpy as np
import pytest
from detector_events import make_record, random_record, run_modules, write_card
from hypothesis import given, settings
from hypothesis import strategies as st

PROPAGATOR = ("ParticlePropagator", "Fly", "set Radius 1.29\nset HalfLength 3.0\nset Bz {field}")
# 36 towers of 10 degrees in rings of 0.25 up to |eta| = 3.
BINS = """
  set pi [expr {acos(-1)}]
  set PhiBins {}
  for {set i -18} {$i <= 18} {incr i} { add PhiBins [expr {$i * $pi / 18.0}] }
  for {set i -12} {$i <= 12} {incr i} { add EtaPhiBins [expr {$i * 0.25}] $PhiBins }
"""
FRACTIONS = """
  add EnergyFraction {0} {0.0 1.0}
  add EnergyFraction {11} {1.0 0.0}
  add EnergyFraction {22} {1.0 0.0}
  add EnergyFraction {12} {0.0 0.0}
  add EnergyFraction {13} {0.0 0.0}
"""
INPUTS = "set ParticleInputArray Fly/stableParticles\nset TrackInputArray Tracks/candidates"
IDEAL = "set SmearTowerCenter false\nset SmearLogNormal true"
K_LONG_MASS = 0.497611


def simulate(folder, body, record, field=0.0, seed=1):
    kind, name, propagator = PROPAGATOR
    card = write_card(
        folder,
        (kind, name, propagator.format(field=field)),
        ("Merger", "Tracks", "add InputArray Fly/chargedHadrons\nadd InputArray Fly/electrons\n"
         "add InputArray Fly/muons"),
        ("DualReadoutCalorimeter", "Cal", f"{INPUTS}\n{BINS}\n{FRACTIONS}\n{body}"),
    )  # fmt: skip
    return run_modules(card, record, seed)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), sizes=st.lists(st.integers(0, 80), min_size=1, max_size=3))
def test_without_smearing_no_energy_is_lost_or_made(tmp_path_factory, seed, sizes):
    record = random_record(np.random.default_rng(seed), sizes, eta_max=2.9)
    arrays = simulate(tmp_path_factory.mktemp("card"), IDEAL, record, field=3.8)
    hits, towers = arrays["Fly/stableParticles"], arrays["Cal/towers"]
    seen = ~np.isin(np.abs(hits["pid"]), (12, 13)) & (np.abs(hits["position_eta"]) < 3.0)
    true = hits.sum_by_event(np.where(seen, hits["e"], 0.0))
    assert towers.sum_by_event(towers["e"]) == pytest.approx(true)
    # Photons are massless, hadronic towers pions.
    expected = np.where(towers["pid"] == 22, 0.0, 0.13957)
    heavy = towers["e"] > 0.2
    assert towers["m"][heavy] == pytest.approx(expected[heavy], abs=1e-6)


def test_hadrons_spoil_the_resolution_of_their_tower(tmp_path):
    # A photon alone, and one with a neutral hadron in its tower.
    record = make_record([3] * 400, [22, 22, 130] * 400, [20.0, 15.0, 5.0] * 400,
                         [0.1, 1.1, 1.1] * 400, 0.05)  # fmt: skip
    body = "set SmearLogNormal false\nset ECalResolutionFormula {0.01 * energy}\n"
    body += "set HCalResolutionFormula {0.1 * energy}"
    towers = simulate(tmp_path, body, record)["Cal/towers"]
    for pid, width in ((22, 0.01), (211, 0.1)):
        energy = towers["e"][towers["pid"] == pid]
        assert len(energy) == 400
        assert energy.std() / energy.mean() == pytest.approx(width, rel=0.15)


def test_an_excess_is_a_photon_or_a_kaon(tmp_path):
    # An electron and a photon in one tower, a charged and a neutral hadron in another, a muon.
    record = make_record(
        [5], [11, 22, 211, 130, -13], [10.0, 30.0, 10.0, 30.0, 10.0],
        [0.1, 0.1, 1.1, 1.1, 2.1], 0.05,
    )  # fmt: skip
    # Without any resolution there is no significance, and no excess.
    sharp = "set ECalResolutionFormula {1e-6}\nset HCalResolutionFormula {1e-6}"
    arrays = simulate(tmp_path, f"{IDEAL}\n{sharp}", record)
    photon, kaon = arrays["Cal/eflowPhotons"], arrays["Cal/eflowNeutralHadrons"]
    assert photon["e"] == pytest.approx([30.0 * np.cosh(0.1)], rel=1e-5)
    assert (photon["pid"].tolist(), kaon["pid"].tolist()) == ([22], [130])
    expected = np.sqrt((30.0 * np.cosh(1.1)) ** 2 + 0.49761**2)
    assert kaon["e"] == pytest.approx([expected], rel=1e-4)
    assert kaon["m"] == pytest.approx([K_LONG_MASS])
    momentum = np.sqrt(kaon["px"] ** 2 + kaon["py"] ** 2 + kaon["pz"] ** 2)
    assert momentum == pytest.approx(np.sqrt(kaon["e"] ** 2 - K_LONG_MASS**2))
    tracks = arrays["Cal/eflowTracks"]
    assert sorted(tracks["pid"].tolist()) == [-13, 11, 211]
    assert tracks["pt"] == pytest.approx(10.0)


def test_without_an_excess_the_tracks_get_the_measured_energy(tmp_path):
    # Nothing is significant, and tracks without a momentum error have no weight.
    record = make_record([1], 211, 10.0, 0.1, 0.05)
    body = "set SmearLogNormal true\nset HCalMinSignificance 5\n"
    body += "set HCalResolutionFormula {0.1 * energy}"
    arrays = simulate(tmp_path, body, record)
    tower, track = arrays["Cal/towers"], arrays["Cal/eflowTracks"]
    assert len(arrays["Cal/eflowNeutralHadrons"]) == 0
    assert track["pt"] * np.cosh(0.1) == pytest.approx(tower["e"], rel=1e-3)
    assert abs(track["pt"][0] - 10.0) > 0.01
