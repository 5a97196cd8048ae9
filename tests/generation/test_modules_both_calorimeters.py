"""Calorimeter: two depths with the same towers, and who gets their energy."""

import numpy as np
import pytest
from detector_events import make_record, random_record, run_modules, write_card

from generation.fastsim.composition import parts_of
from provenance.errors import UserError

# One tower for each unit of η and each quarter of φ.
BINS = """
  for {set i -4} {$i <= 4} {incr i} { add EtaPhiBins $i {-3.2 -1.6 0 1.6 3.2} }
  add EnergyFraction {11} {1.0 0.0}
  add EnergyFraction {22} {1.0 0.0}
  add EnergyFraction {13} {0.0 0.0}
  add EnergyFraction {310} {0.3 0.7}
"""
OUTPUTS = ("towers", "photons", "eflowTracks", "eflowPhotons", "eflowNeutralHadrons")
EXACT = "set SmearTowerCenter false"


def calorimeter(folder, body, record, tracks="Fly/stableParticles", smearing="", seed=1):
    """Run the calorimeter on particles that fly straight; tracks are those that are charged."""
    modules = [
        ("ParticlePropagator", "Fly", "set Bz 0.0"),
        ("MomentumSmearing", "Smear", f"set InputArray {tracks}\n{smearing}"),
        ("Efficiency", "Charged", "set InputArray Smear/stableParticles"),
        ("PdgCodeFilter", "Tracks", "set InputArray Charged/stableParticles\nset OutputArray out\n"
         "add PdgCode 22 130 310"),
        ("Calorimeter", "Cal", "set ParticleInputArray Fly/stableParticles\n"
         f"set TrackInputArray Tracks/out\n{BINS}\n{body}"),
    ]  # fmt: skip
    arrays = run_modules(write_card(folder, *modules), record, seed=seed)
    return {name: arrays[f"Cal/{name}"] for name in OUTPUTS}


def test_each_depth_gets_its_share_and_tracks_explain_theirs(tmp_path):
    # First tower: pion and photon. Second: K0S. Third: photon alone. Fourth: muon alone.
    record = make_record(
        [5, 0], [211, 22, 310, 22, -13], [20.0, 10.0, 10.0, 5.0, 30.0],
        [0.5, 0.6, 1.5, -0.5, -1.5], [0.5, 0.6, 0.5, 0.5, 0.5],
    )  # fmt: skip
    found = calorimeter(tmp_path, EXACT, record)
    pion, photon, kaon, other, muon = record.e
    towers = found["towers"]
    assert towers.counts.tolist() == [3, 0]
    assert towers["eta"].tolist() == pytest.approx([-0.5, 0.5, 1.5])
    assert towers["e_em"] == pytest.approx([other, photon, 0.3 * kaon])
    assert towers["e_had"] == pytest.approx([0.0, pion, 0.7 * kaon])
    assert towers["e"] == pytest.approx(towers["e_em"] + towers["e_had"])
    assert towers["pt"] == pytest.approx(towers["e"] / np.cosh(towers["eta"]))
    assert parts_of(towers).owner.tolist() == [0, 1, 1, 2]
    # Photons are towers that light alone has hit, with no track in them.
    assert found["photons"]["eta"].tolist() == pytest.approx([-0.5])
    assert found["eflowPhotons"]["e"] == pytest.approx([other, photon, 0.3 * kaon])
    assert set(found["eflowPhotons"]["pid"]) == {22}
    assert not found["eflowPhotons"]["e_had"].any()
    assert found["eflowNeutralHadrons"]["e"] == pytest.approx([0.7 * kaon])
    assert found["eflowNeutralHadrons"]["e_em"].tolist() == [0.0]
    # The muon leaves nothing and passes.
    assert sorted(found["eflowTracks"]["e"]) == pytest.approx(sorted([pion, muon]))
    assert found["eflowTracks"].counts.tolist() == [2, 0]


def test_thresholds_hold_for_each_depth(tmp_path):
    record = make_record([2], [310, 22], [10.0, 3.0], [0.5, -0.5], 0.5)
    energy = record.e[0]
    body = f"{EXACT}\nset ECalEnergyMin {0.31 * energy}\nset HCalEnergyMin {0.69 * energy}"
    found = calorimeter(tmp_path, body, record)
    assert found["towers"]["e_em"].tolist() == [0.0]
    assert found["towers"]["e_had"] == pytest.approx([0.7 * energy])
    assert [len(found[name]) for name in ("eflowPhotons", "eflowNeutralHadrons")] == [0, 1]


def test_what_is_no_excess_is_combined_with_the_tracks(tmp_path):
    one = make_record([1], 211, 40.0, 0.5, 0.5)
    record = make_record([1] * 2000, 211, 40.0, 0.5, 0.5)
    energy = one.e[0]
    body = f"{EXACT}\nset HCalResolutionFormula {{0.1*energy}}\nset HCalEnergySignificanceMin 3.0"
    smearing = "set ResolutionFormula 0.05"
    found = calorimeter(tmp_path, body, record, smearing=smearing)
    tracks, towers = found["eflowTracks"], found["towers"]
    assert tracks.counts.tolist() == [1] * 2000
    # 1/σ² weights: the tower's σ is 10 % of what it measures, the track's 5 % of its energy.
    assert np.mean(tracks["e"]) == pytest.approx(energy, rel=0.01)
    spread = np.std(tracks["e"]) / energy
    assert spread == pytest.approx(1 / np.sqrt(0.1**-2 + 0.05**-2), rel=0.1)
    assert np.std(towers["e"]) / energy == pytest.approx(0.1, rel=0.1)
    assert len(found["eflowNeutralHadrons"]) < 20
    # The direction and the mass of the track stay.
    assert tracks["eta"] == pytest.approx(0.5)
    assert tracks["m"] == pytest.approx(one.mass[0], abs=1e-4)


def test_tracks_that_shower_in_both_depths_are_lost(tmp_path):
    record = make_record([2], [211, 2212], 20.0, 0.5, 0.5)
    found = calorimeter(tmp_path, f"{EXACT}\nadd EnergyFraction 2212 {{0.2 0.8}}", record)
    assert np.abs(found["eflowTracks"]["pid"]).tolist() == [211]
    assert found["eflowPhotons"]["e"] == pytest.approx([0.2 * record.e[1]])


def test_towers_are_timed_by_their_hard_electromagnetic_deposits(tmp_path):
    record = make_record([3], [22, 22, 22], [20.0, 2.0, 2.0], [0.5, 0.5, -0.5], 0.5, t=[0, 500, 0])
    found = calorimeter(tmp_path, EXACT, record)
    # Straight to the cylinder of 1 m radius; softer than 4 GeV does not count.
    assert found["towers"]["t"] == pytest.approx([999999.9, 1000 * np.cosh(0.5)])
    assert found["towers"]["n_time_hits"].tolist() == [0, 1]


@pytest.mark.parametrize("counts", [[0], [0, 0], [30, 0, 50], [400]])
def test_events_of_any_size_are_finite(tmp_path, counts):
    body = """set ECalResolutionFormula {sqrt(energy^2*0.01^2 + energy*0.15^2)}
      set HCalResolutionFormula {sqrt(energy^2*0.05^2 + energy*1.50^2)}
      set ECalEnergyMin 0.5; set HCalEnergyMin 1.0
      set ECalEnergySignificanceMin 1.0; set HCalEnergySignificanceMin 1.0"""
    record = random_record(np.random.default_rng(len(counts)), counts)
    found = calorimeter(tmp_path, body, record, smearing="set ResolutionFormula 0.02")
    for name, candidates in found.items():
        assert candidates.n_events == len(counts), name
        for column in ("pt", "eta", "phi", "e", "e_em", "e_had", "x", "y", "z", "t"):
            assert np.isfinite(candidates[column]).all(), (name, column)
    assert np.all(found["towers"]["e"] >= 0.5)
    towers = found["towers"]
    assert np.all(
        (towers["edge_eta_min"] <= towers["eta"]) & (towers["eta"] <= towers["edge_eta_max"])
    )


def test_fractions_are_given_for_both_depths(tmp_path):
    with pytest.raises(UserError, match="'EnergyFraction' of module 'Cal'"):
        calorimeter(tmp_path, "add EnergyFraction 211 1.0", make_record([1], 22, 1.0, 0.0, 0.0))


def test_with_the_same_towers_it_is_an_ecal_before_an_hcal(tmp_path):
    # Without resolution there is nothing random left to tell them apart.
    record = random_record(np.random.default_rng(3), [300, 0, 150], jet=True)
    bins = BINS.partition("add EnergyFraction")[0]
    thresholds = "set {}EnergyMin 0.5; set {}EnergySignificanceMin 1.5"
    both = calorimeter(
        tmp_path,
        EXACT + "".join(f"\n{thresholds.format(depth, depth)}" for depth in ("ECal", "HCal")),
        record,
        smearing="set ResolutionFormula 1e-9",
    )
    fractions = {"ECal": "0 0 11 1 22 1 13 0 310 0.3", "HCal": "0 1 11 0 22 0 13 0 310 0.7"}
    tracks = "Tracks/out"
    modules = [
        ("ParticlePropagator", "Fly", "set Bz 0.0"),
        ("MomentumSmearing", "Smear", "set InputArray Fly/stableParticles\n"
         "set ResolutionFormula 1e-9"),
        ("PdgCodeFilter", "Tracks", "set InputArray Smear/stableParticles\nset OutputArray out\n"
         "add PdgCode 22 130 310"),
    ]  # fmt: skip
    for depth, listed in fractions.items():
        modules.append(
            ("SimpleCalorimeter", depth, f"set ParticleInputArray Fly/stableParticles\n"
             f"set TrackInputArray {tracks}\nset IsEcal {depth == 'ECal'}\n"
             f"{bins}\n{EXACT}\n{thresholds.format('', '')}\n"
             f"foreach {{code fraction}} {{{listed}}} {{ add EnergyFraction $code $fraction }}")
        )  # fmt: skip
        tracks = f"{depth}/eflowTracks"
    arrays = run_modules(write_card(tmp_path, *modules), record)
    apart = {
        "eflowPhotons": arrays["ECal/eflowTowers"],
        "eflowNeutralHadrons": arrays["HCal/eflowTowers"],
        "eflowTracks": arrays["HCal/eflowTracks"],
    }
    for name, expected in apart.items():
        assert both[name].counts.tolist() == expected.counts.tolist(), name
        assert len(expected) > 3, name
        for column in ("px", "py", "pz", "e", "e_em", "e_had"):
            ours, theirs = (
                np.sort_complex(both[name].event_of_row() + 1j * one[column])
                for one in (both[name], expected)
            )
            assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-6), (name, column)
