"""Pile-up, efficiencies, track smearing and the modules that sort candidates."""

import math

import numpy as np
import pytest
from detector_events import make_record, minimum_bias, random_record, run_modules, write_card

from generation.fastsim.candidates import Candidates, merge
from provenance.errors import UserError

FLY = ("ParticlePropagator", "Fly", "set Radius 1.29\nset HalfLength 3.0\nset Bz 3.8")
VERTICES = """
  set ZVertexSpread 0.25
  set TVertexSpread 800E-12
  set VertexDistributionFormula {exp(-(t^2/160e-12^2/2))*exp(-(z^2/0.053^2/2))}
"""


def merge_pileup(folder, mean, record, library, seed=1, extra=""):
    card = write_card(
        folder, ("PileUpMerger", "Mix", f"set MeanPileUp {mean}\n{VERTICES}\n{extra}")
    )
    return run_modules(card, record, seed, library)


def test_vertices_follow_the_density_of_the_card(tmp_path):
    record = make_record([1] * 400, 211, 1.0, 0.0, 0.0)
    library = minimum_bias(np.random.default_rng(1), events=20, mean=2)
    vertices = merge_pileup(tmp_path, 50, record, library)["Mix/vertices"]
    n = len(vertices)
    assert n == pytest.approx(400 * 51, rel=0.01)
    assert vertices.counts.var() == pytest.approx(50, rel=0.3)
    assert vertices["z"].std() == pytest.approx(53.0, rel=0.02)
    assert vertices["t"].std() / 299.792458e-3 == pytest.approx(160.0, rel=0.02)
    assert np.abs(vertices["z"]).max() <= 250.0
    assert np.corrcoef(vertices["z"], vertices["t"])[0, 1] == pytest.approx(0.0, abs=0.03)
    assert vertices["is_pu"][vertices.offsets[:-1]].tolist() == [0] * 400


def test_the_hard_event_starts_at_its_vertex_and_the_record_shows_it(tmp_path):
    record = make_record(
        [3, 2], 211, 1.0, 0.0, 0.0, z=[5.0, 7.0, 5.0, 1.0, 1.0], t=[1.0, 2.0, 1.0, 0.0, 0.0]
    )
    library = minimum_bias(np.random.default_rng(1))
    arrays = merge_pileup(tmp_path, 3, record, library)
    vertices, everything = arrays["Mix/vertices"], arrays["Delphes/allParticles"]
    hard_z = vertices["z"][vertices.offsets[:-1]]
    assert everything["z"] == pytest.approx(np.repeat(hard_z, [3, 2]) + np.array([0, 2, 0, 0, 0]))
    merged = arrays["Mix/stableParticles"]
    hard = merged["is_pu"] == 0
    assert merged["z"][hard] == pytest.approx(everything["z"])


def test_pile_up_events_are_whole_and_turned_around_the_beam(tmp_path):
    library = minimum_bias(np.random.default_rng(2), events=30)
    record = make_record([1] * 20, 211, 1.0, 0.0, 0.0)
    arrays = merge_pileup(tmp_path, 4, record, library)
    particles, vertices = arrays["Mix/stableParticles"], arrays["Mix/vertices"]
    pu = particles["is_pu"] == 1
    assert set(np.round(particles["e"][pu], 5)) <= set(np.round(library.e.astype(float), 5))
    mass2 = (particles["e"] ** 2 - particles["pz"] ** 2 - particles["pt"] ** 2)[pu]
    assert np.abs(mass2).max() < 2.0
    sizes = np.diff(library.offsets)
    assert (particles.counts - 1 <= sizes.max() * (vertices.counts - 1)).all()
    charged = pu & (particles["charge"] != 0)
    total = particles.sum_by_event(np.where(charged, particles["pt"] ** 2, 0.0))
    from_vertices = vertices.sum_by_event(vertices["sum_pt2"] * vertices["is_pu"])
    assert from_vertices == pytest.approx(total, rel=1e-5)
    # The azimuth of one library event is uniform over many draws of it.
    one = minimum_bias(np.random.default_rng(3), events=1, mean=9)
    many = merge_pileup(tmp_path, 200, record, one)["Mix/stableParticles"]
    phi = many["phi"][(many["is_pu"] == 1) & np.isclose(many["e"], float(one.e[0]))]
    assert len(phi) > 3000
    assert abs(np.mean(np.exp(1j * phi))) < 0.06


@pytest.mark.parametrize(("distribution", "expected"), [(1, None), (2, 7)])
def test_other_distributions_of_pile_up(tmp_path, distribution, expected):
    record = make_record([1] * 300, 211, 1.0, 0.0, 0.0)
    library = minimum_bias(np.random.default_rng(1), events=5, mean=1)
    extra = f"set PileUpDistribution {distribution}"
    counts = merge_pileup(tmp_path, 7, record, library, extra=extra)["Mix/vertices"].counts - 1
    if expected is None:
        assert (counts.min(), counts.max()) == (0, 14)
        assert counts.mean() == pytest.approx(7, abs=0.8)
    else:
        assert set(counts) == {expected}


def test_pile_up_needs_a_library_unless_there_is_none(tmp_path):
    record = make_record([2], 211, 1.0, 0.0, 0.0)
    assert merge_pileup(tmp_path, 0, record, None)["Mix/vertices"].counts.tolist() == [1]
    with pytest.raises(UserError, match="minimum-bias library"):
        merge_pileup(tmp_path, 50, record, None)
    with pytest.raises(UserError, match="'MeanPileUp' of module 'Mix' is negative"):
        merge_pileup(tmp_path, -1, record, None)


def test_efficiency_depends_on_what_the_formula_says(tmp_path):
    n = 20_000
    pt = np.tile([0.5, 5.0], n // 2)
    record = make_record([n], 211, pt, 0.3, 0.0)
    body = "set InputArray Fly/chargedHadrons\nset EfficiencyFormula {(pt<1)*0.7 + (pt>=1)*0.95}"
    arrays = run_modules(write_card(tmp_path, FLY, ("Efficiency", "Eff", body)), record)
    kept = arrays["Eff/stableParticles"]["pt"]
    assert np.sum(kept < 1) / (n / 2) == pytest.approx(0.7, abs=0.015)
    assert np.sum(kept > 1) / (n / 2) == pytest.approx(0.95, abs=0.01)


def test_momentum_smearing_keeps_direction_and_mass(tmp_path):
    record = make_record([20_000], 2212, 20.0, 0.7, 0.4)
    body = "set InputArray Fly/chargedHadrons\nset ResolutionFormula {0.05}"
    arrays = run_modules(write_card(tmp_path, FLY, ("MomentumSmearing", "Smear", body)), record)
    tracks = arrays["Smear/stableParticles"]
    assert tracks["pt"].mean() == pytest.approx(20.0, rel=0.002)
    assert tracks["pt"].std() == pytest.approx(1.0, rel=0.02)
    assert tracks["eta"] == pytest.approx(np.full(20_000, 0.7))
    assert tracks["m"] == pytest.approx(np.full(20_000, 0.93827), abs=1e-5)
    energy = np.sqrt(tracks["px"] ** 2 + tracks["py"] ** 2 + tracks["pz"] ** 2 + 0.93827**2)
    assert tracks["e"] == pytest.approx(energy)
    assert set(tracks["track_resolution"]) == {0.05}


SMEARING = """
  set InputArray Fly/chargedHadrons
  set Bz 3.8
  set D0ResolutionFormula {0.02}
  set DZResolutionFormula {0.05}
  set PResolutionFormula { 0.0 }
  set CtgThetaResolutionFormula { 0.0 }
  set PhiResolutionFormula { 0.0 }
"""


def test_track_smearing_draws_impact_parameters_and_keeps_the_momentum(tmp_path):
    rng = np.random.default_rng(5)
    n = 20_000
    phi = rng.uniform(-math.pi, math.pi, n)
    record = make_record([n], 211, 5.0, 0.5, phi)
    arrays = run_modules(write_card(tmp_path, FLY, ("TrackSmearing", "Smear", SMEARING)), record)
    tracks = arrays["Smear/stableParticles"]
    assert tracks["d0"].std() == pytest.approx(0.02, rel=0.02)
    assert tracks["dz"].std() == pytest.approx(0.05, rel=0.02)
    assert tracks["d0"].mean() == pytest.approx(0.0, abs=0.001)
    assert set(tracks["error_d0"]) == {0.02}
    assert tracks["pt"] == pytest.approx(np.full(n, 5.0))
    assert tracks["eta"] == pytest.approx(np.full(n, 0.5))
    # The moved production point has the smeared d0 with respect to the momentum.
    d0 = (tracks["initial_x"] * tracks["py"] - tracks["initial_y"] * tracks["px"]) / tracks["pt"]
    assert d0 == pytest.approx(tracks["d0"], abs=1e-6)


def test_pile_up_tracks_can_be_left_alone_and_negative_widths_drop_tracks(tmp_path):
    library = minimum_bias(np.random.default_rng(1))
    record = random_record(np.random.default_rng(2), [50], eta_max=2.0)
    fly = (FLY[0], FLY[1], FLY[2] + "\nset InputArray Mix/stableParticles")
    mix = ("PileUpMerger", "Mix", f"set MeanPileUp 3\n{VERTICES}")
    card = write_card(
        tmp_path, mix, fly, ("TrackSmearing", "Smear", SMEARING + "set ApplyToPileUp false")
    )
    arrays = run_modules(card, record, 1, library)
    tracks, before = arrays["Smear/stableParticles"], arrays["Fly/chargedHadrons"]
    pu = tracks["is_pu"] == 1
    assert pu.any()
    assert np.array_equal(tracks["d0"][pu], before["d0"][pu])
    assert not np.any(tracks["error_d0"][pu])
    assert np.all(tracks["d0"][~pu] != before["d0"][~pu])

    negative = SMEARING.replace("{0.02}", "{0.02 - 0.03*(pt < 1)}")
    arrays = run_modules(
        write_card(tmp_path, mix, fly, ("TrackSmearing", "Smear", negative)), record, 1, library
    )
    assert arrays["Smear/stableParticles"]["pt"].min() >= 1.0


def test_resolution_histograms_are_refused(tmp_path):
    body = SMEARING.replace("set PResolutionFormula { 0.0 }", "")
    card = write_card(tmp_path, FLY, ("TrackSmearing", "Smear", body))
    with pytest.raises(UserError, match="PResolutionFormula"):
        run_modules(card, make_record([1], 211, 1.0, 0.0, 0.0))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("set PdgCode {22 130}", [211, -211]),
        ("set PdgCode {22 130}\nset Invert true", [22, 130]),
        ("set PTMin 2.5", [130, -211]),
        ("set RequireCharge true\nset Charge 1", [211]),
        ("set RequireStatus true\nset Status 2", []),
    ],
)
def test_particles_are_filtered_by_code(tmp_path, body, expected):
    record = make_record([4], [211, 22, 130, -211], [1.0, 2.0, 3.0, 4.0], 0.0, 0.0)
    arrays = run_modules(write_card(tmp_path, ("PdgCodeFilter", "Filter", body)), record)
    assert arrays["Filter/filteredParticles"]["pid"].tolist() == expected


def test_pile_up_marks_are_seen_by_later_readers_of_the_same_candidates(tmp_path):
    """Delphes marks the candidates of the input array in place."""
    library = minimum_bias(np.random.default_rng(1))
    record = random_record(np.random.default_rng(2), [40, 0, 60], eta_max=2.0)
    card = write_card(
        tmp_path,
        ("PileUpMerger", "Mix", f"set MeanPileUp 5\n{VERTICES}"),
        (FLY[0], FLY[1], FLY[2] + "\nset InputArray Mix/stableParticles"),
        ("Merger", "Both", "add InputArray Fly/electrons\nadd InputArray Fly/chargedHadrons"),
        (
            "TrackPileUpSubtractor",
            "Chs",
            "add InputArray Both/candidates kept\nset VertexInputArray Mix/vertices\n"
            "set ZVertexResolution {0.0001}",
        ),
        ("RecoPuFilter", "Clean", "set InputArray Fly/chargedHadrons"),
    )
    arrays = run_modules(card, record, 1, library)
    kept, clean = arrays["Chs/kept"], arrays["Clean/filteredParticles"]
    assert not np.any(kept["is_reco_pu"])
    vertices, hadrons = arrays["Mix/vertices"], arrays["Fly/chargedHadrons"]
    hard_z = np.repeat(vertices["z"][vertices.offsets[:-1]], hadrons.counts)
    far = (hadrons["is_pu"] == 1) & (np.abs(hadrons["initial_z"] - hard_z) > 0.1)
    assert far.any()
    assert clean.counts.tolist() == hadrons.sum_by_event(~far).tolist()
    marked = np.sum(arrays["Both/candidates"]["is_reco_pu"])
    assert np.sum(arrays["Fly/stableParticles"]["is_reco_pu"]) == marked > 0


def test_sums_of_the_merger(tmp_path):
    record = make_record([2, 0, 1], [211, 22, 22], [3.0, 4.0, 5.0], 0.0, [0.0, math.pi / 2, 1.0])
    card = write_card(
        tmp_path,
        ("PdgCodeFilter", "Photons", "set PdgCode {22}\nset Invert true"),
        ("PdgCodeFilter", "Rest", "set PdgCode {22}"),
        (
            "Merger",
            "All",
            "add InputArray Photons/filteredParticles\nadd InputArray Rest/filteredParticles",
        ),
    )
    arrays = run_modules(card, record)
    assert arrays["All/candidates"]["pid"].tolist() == [22, 211, 22]
    assert arrays["All/momentum"]["pt"] == pytest.approx([5.0, 0.0, 5.0])
    assert arrays["All/energy"]["pt"] == pytest.approx([7.0, 0.0, 5.0])
    assert arrays["All/energy"].counts.tolist() == [1, 1, 1]


def test_candidates_find_their_properties_in_their_ancestors():
    first = Candidates(np.array([0, 2, 3]), {"px": np.array([1.0, 2.0, 3.0]), "py": np.zeros(3)})
    second = Candidates(np.array([0, 1, 1]), {"px": np.array([7.0]), "py": np.array([1.0])})
    scaled = first.clone(np.array([1, 2]), px=np.array([20.0, 30.0]), py=np.zeros(2))
    both = merge([scaled.select(np.array([True, True])), second])
    assert both.counts.tolist() == [2, 1]
    assert both["px"].tolist() == [20.0, 7.0, 30.0]
    assert both["pt"] == pytest.approx([20.0, math.sqrt(50), 30.0])
    assert both.origin["px"].tolist() == [2.0, 7.0, 3.0]
    assert both["isolation_var"].tolist() == [-999.0] * 3
    both.mark("is_reco_pu", np.array([1, 0, 1], np.int32))
    assert scaled["is_reco_pu"].tolist() == [1, 1]
    assert second["is_reco_pu"].tolist() == [0]
    assert not np.any(first["is_reco_pu"])  # clones are others than what they were made from
