"""TrackCovariance, ClusterCounting, TruthVertexFinder, TimeOfFlight: by hand and beside Delphes."""

import numpy as np
import pytest
from test_jets import module
from test_objects import collection, store_of

from generation.fastsim.branches import make_branch
from generation.fastsim.candidates import Candidates
from generation.fastsim.helix import (
    GEV_PER_TESLA_METRE,
    helices,
    length_in_cylinder,
    momentum_at_approach,
    point_of_approach,
)
from generation.fastsim.modules.cluster_counting import (
    ARGON,
    HELIUM_ISOBUTANE,
    ClusterCounting,
    cluster_density,
)
from generation.fastsim.modules.particle_propagator import propagate
from generation.fastsim.modules.time_of_flight import TimeOfFlight
from generation.fastsim.modules.time_smearing import TimeSmearing
from generation.fastsim.modules.track_covariance import TrackCovariance
from generation.fastsim.modules.truth_vertex_finder import TruthVertexFinder
from provenance.errors import UserError

# A tracker with all that a layer can be: a beam pipe, strips, stereo wires, discs.
TRACKER = """
  # kind name low high place thickness X0 n angle angle resolution resolution flag
  1 PIPE -100 100 0.01 0.0012 0.35276 0 0 0 0 0 0
  1 VTX -0.12 0.12 0.014 0.0003 0.0937 2 0 1.5708 3e-06 3e-06 1
  1 VTX -0.3 0.3 0.035 0.0003 0.0937 2 0 1.5708 3e-06 3e-06 1
  1 VTX -0.4 0.4 0.3 0.0004 0.0937 2 0 1.5708 7e-06 7e-06 1
  1 GAS -2 2 0.6 0.2 579 1 0.02 0 0.0001 0 1
  1 GAS -2 2 0.8 0.2 579 1 -0.02 0 0.0001 0 1
  1 GAS -2 2 1.0 0.2 579 1 0.03 0 0.0001 0 1
  1 GAS -2 2 1.2 0.2 579 1 -0.03 0 0.0001 0 1
  1 WRAP -2.3 2.3 2.0 0.0005 0.0937 2 0 1.5708 7e-06 9e-05 1
  2 DISC 0.04 0.3 -0.9 0.0003 0.0937 2 0 1.5708 7e-06 7e-06 1
  2 DISC 0.03 0.3 -0.4 0.0003 0.0937 2 0 1.5708 7e-06 7e-06 1
  2 DISC 0.03 0.3 0.4 0.0003 0.0937 2 0 1.5708 7e-06 7e-06 1
  2 DISC 0.04 0.3 0.9 0.0003 0.0937 2 0 1.5708 7e-06 7e-06 1
"""

# What Delphes after 3.5.0 makes of tracks in this tracker, in 2 T, with an ElectronScaleFactor of
# 1.25: PDG code, charge, momentum and mass, place in mm; errors of D0, Phi, C, DZ, CtgTheta.
BY_DELPHES = [
    ((-211, -1, 0.3730487, -0.213539, 0.1848713, 0.13957, 0, 0, 0),
     (0.027269, 0.0022189, 9.7605e-07, 0.029594, 0.0024138)),
    ((11, -1, -3.929857, -2.743316, -11.22809, 0.000511, -1.138833, -0.9953095, -3.318259),
     (0.006987, 0.00041852, 3.362e-07, 0.013199, 0.00098463)),
    ((-13, 1, -1.652841, -9.103149, -6.989536, 0.10566, -0.04299901, -1.238642, -0.7151151),
     (0.0031632, 0.00012824, 4.2483e-08, 0.0034562, 0.00015709)),
    ((-2212, -1, -1.435203, 7.97235, 0.6778668, 0.93827, -0.2894956, 1.716766, 0.07598674),
     (0.003186, 0.0001304, 4.294e-08, 0.0031543, 0.00012986)),
    ((211, 1, 0.4085222, 0.6127599, -0.06363416, 0.13957, 33.47582, 31.37649, 1.475098),
     (0.29604, 0.00096922, 1.8681e-07, 0.31291, 0.0010457)),
    ((-321, -1, 4.557702, -5.393576, 35.24214, 0.49368, 0, 0, 0),
     (0.0061139, 0.00035632, 1.2697e-06, 0.019123, 0.0015312)),
    ((-211, -1, 0.1662585, -0.219932, 1.700878, 0.13957, 0, 0, 0),
     (0.10434, 0.0086309, 2.1846e-05, 0.64845, 0.053588)),
    ((211, 1, -20.28586, 15.36694, 2.642452, 0.13957, 0, 0, 0),
     (0.0025159, 5.0675e-05, 2.0422e-08, 0.0024281, 4.7349e-05)),
    ((211, 1, -0.09276992, -0.09936403, -0.4815379, 0.13957, -0.6989465, -0.553638, -2.367687),
     (0.16402, 0.013557, 3.5501e-05, 0.60213, 0.049787)),
]  # fmt: skip
ERRORS = ("error_d0", "error_phi", "error_c", "error_dz", "error_ctg_theta")


def particles(pid, charge, px, py, pz, mass, x, y, z):
    """Return particles of one event."""
    px, py, pz, mass = (np.asarray(value, float) for value in (px, py, pz, mass))
    columns = {
        "pid": np.asarray(pid), "charge": np.asarray(charge), "px": px, "py": py, "pz": pz,
        "e": np.sqrt(px**2 + py**2 + pz**2 + mass**2),
        "x": np.asarray(x, float), "y": np.asarray(y, float), "z": np.asarray(z, float),
        "t": np.full(len(px), 7.0),
    }  # fmt: skip
    return Candidates(np.array([0, len(px)]), columns)


def many(n, pt, cotangent=0.0, mass=0.13957, pid=211, **place):
    """Return like particles in all directions around the beam."""
    phi = np.linspace(-3.1, 3.1, n)
    where = {name: np.full(n, place.get(name, 0.0)) for name in ("x", "y", "z")}
    pt = np.full(n, pt)
    return particles(
        np.full(n, pid), np.where(np.arange(n) % 2, 1, -1), pt * np.cos(phi), pt * np.sin(phi),
        pt * cotangent, np.full(n, mass), **where,
    )  # fmt: skip


def smeared(tmp_path, tracks, geometry, settings=""):
    store = store_of(tracks=tracks)
    body = f"TrackCovariance set InputArray In/tracks; set Bz 2.0; {settings}"
    TrackCovariance(module(tmp_path, f"{body}\nset DetectorGeometry {{{geometry}}}")).run(store)
    return store.arrays["M/tracks"]


# --- helices


def test_a_helix_has_the_parameters_that_the_propagator_finds():
    rng = np.random.default_rng(1)
    n = 300
    made = particles(
        np.full(n, 211), rng.choice([-1, 1], n), *rng.normal(0, 2, (3, n)), np.full(n, 0.14),
        *rng.normal(0, 20, (3, n)),
    )  # fmt: skip
    flown, _ = propagate(made, 2.0, 3.0, 2.0, 2.0, 3.0)
    helix = helices(made, made["charge"], 2.0)
    # The propagator's d0 has the other sign convention of the same distance.
    assert 1e3 * np.abs(helix[0]) == pytest.approx(np.abs(flown["d0"]), abs=1e-6)
    assert 1e3 * helix[3] == pytest.approx(flown["dz"], abs=1e-6)
    assert 1e3 * point_of_approach(helix)[:2] == pytest.approx(
        np.stack([flown["xd"], flown["yd"]]), abs=1e-6
    )
    momentum = momentum_at_approach(helix, 2.0)
    assert momentum == pytest.approx(np.stack([flown[f"p{axis}"] for axis in "xyz"]), abs=1e-9)


def test_the_length_within_a_chamber_follows_from_its_walls():
    def length(pt, cotangent):
        made = many(2, pt, cotangent)
        return length_in_cylinder(helices(made, made["charge"], 2.0), 0.35, 2.0, -2.1, 2.1)

    # Straight to the side, straight through an end, never as far as the chamber.
    assert length(1e4, 0.0) == pytest.approx(1.65, rel=1e-4)
    assert length(1e4, 4.0) == pytest.approx((2.1 / 4 - 0.35) * np.sqrt(17), rel=1e-4)
    assert length(1e4, 8.0) == pytest.approx(0.0)
    assert length(0.05, 0.0) == pytest.approx(0.0)
    # A circle of radius r back to the inner wall: the part of it beyond the wall.
    radius = 0.25 / (2.0 * GEV_PER_TESLA_METRE)
    turned = 2 * np.pi - 4 * np.arcsin(0.35 / (2 * radius))
    assert length(0.25, 0.0) == pytest.approx(radius * turned, rel=1e-6)


# --- covariances


def test_errors_are_those_of_delphes(tmp_path):
    tracks = particles(*np.transpose([track for track, _ in BY_DELPHES]))
    found = smeared(tmp_path, tracks, TRACKER, "set ElectronScaleFactor {1.25}")
    errors = np.stack([found[name] for name in ERRORS], axis=1)
    # Delphes itself is exact to some 10⁻³: its filter takes large numbers from each other.
    assert errors == pytest.approx(np.array([error for _, error in BY_DELPHES]), rel=5e-3)


def test_momenta_are_measured_as_well_as_gluckstern_says(tmp_path):
    # N + 1 layers without material over 1.2 m: σ(pT)/pT² = σ / (0.3 B L²) √(720 / (N + 4)).
    layers = [f"1 L -9 9 {0.8 + 1.2 * i / 60} 0 1 2 0 1.5708 5e-05 5e-05 1" for i in range(61)]
    for pt in (20.0, 200.0):
        found = smeared(tmp_path, many(50, pt), "\n".join(layers))
        expected = 5e-5 / (GEV_PER_TESLA_METRE * 2.0 * 1.2**2) * np.sqrt(720 / 64)
        assert found["error_pt"] / found["pt"] ** 2 == pytest.approx(expected, rel=0.02)


def test_scattering_in_the_beam_pipe_blurs_where_tracks_come_from(tmp_path):
    # Behind the pipe all is measured perfectly: σ(d0) is its radius times the angle.
    layers = [f"1 L -9 9 {r} 0 1 2 0 1.5708 1e-08 1e-08 1" for r in (0.02, 0.5, 1.0, 1.5)]
    pipe = "1 PIPE -9 9 0.015 0.001 0.1 0 0 0 0 0 0"
    found = smeared(tmp_path, many(10, 2.0, 1.0), "\n".join([pipe, *layers]))
    thickness, p = 0.01 * np.sqrt(2), 2.0 * np.sqrt(2)
    beta = p / np.hypot(p, 0.13957)
    angle = 0.0136 / (beta * p) * np.sqrt(thickness) * (1 + 0.038 * np.log(thickness / beta**2))
    # Along the flight in the transverse plane the angle is larger by 1 / sin θ.
    assert found["error_d0"] == pytest.approx(15.0 * angle * np.sqrt(2), rel=0.01)


def test_parameters_are_drawn_with_their_covariance(tmp_path):
    made = many(4000, 3.0, 0.7, x=0.4, y=-0.2, z=5.0)
    found = smeared(tmp_path, made, TRACKER)
    true = helices(made, made["charge"], 2.0)
    pulls = [
        (found["d0"] - 1e3 * true[0]) / found["error_d0"],
        (found["curvature"] - 1e-3 * true[2]) / found["error_c"],
        (found["dz"] - 1e3 * true[3]) / found["error_dz"],
        (found["ctg_theta"] - true[4]) / found["error_ctg_theta"],
        (found["track_phi"] - true[1]) / found["error_phi"],
    ]
    assert np.mean(pulls, axis=1) == pytest.approx(np.zeros(5), abs=0.07)
    assert np.std(pulls, axis=1) == pytest.approx(np.ones(5), rel=0.05)
    correlation = found["covariance_d0_phi"] / (found["error_d0"] * found["error_phi"])
    assert np.mean(pulls[0] * pulls[4]) == pytest.approx(np.mean(correlation), abs=0.05)
    assert np.mean(correlation) < -0.5
    branch = make_branch("Track", found)
    assert branch.columns["ErrorD0Phi"] == pytest.approx(found["covariance_d0_phi"])
    # The rebuilt track is one with these parameters, of the same mass and charge.
    assert found["m"] == pytest.approx(0.13957)
    assert found["charge"] == pytest.approx(made["charge"])
    assert found["initial_t"] == pytest.approx(7.0)
    assert found["pz"] / found["pt"] == pytest.approx(found["ctg_theta"])


def test_a_track_needs_coordinates(tmp_path):
    assert len(smeared(tmp_path, many(10, 1.0), TRACKER)) == 10
    # Along the beam it meets nothing, in the field it turns before it has met enough.
    assert len(smeared(tmp_path, many(10, 1.0, 40.0), TRACKER)) == 0
    assert len(smeared(tmp_path, many(10, 0.005), TRACKER)) == 0
    assert len(smeared(tmp_path, many(10, 1.0), TRACKER, "set NMinHits 40")) == 0
    # Of ten coordinates, layers with an efficiency of 0.7 measure seven on average.
    layers = "\n".join(f"1 L -9 9 0.{i} 0 1 1 0.{i} 0 1e-05 0 0.7" for i in range(10, 20))
    kept = len(smeared(tmp_path, many(4000, 5.0), layers)) / 4000
    assert kept == pytest.approx(0.8497, abs=0.025)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ("set Bz 2.0", "'DetectorGeometry' of module 'M' describes no layer"),
        ("set DetectorGeometry {1 A -9 9 1 0 1 1 0 0 1e-5 0 1}", "'Bz' of module 'M' is 0"),
    ],
)
def test_a_tracker_must_be_one(tmp_path, settings, complaint):
    with pytest.raises(UserError, match=complaint):
        TrackCovariance(module(tmp_path, f"TrackCovariance {settings}"))


# --- clusters, vertices, times


def test_clusters_follow_the_gas_and_the_path(tmp_path):
    # Published densities, per centimetre, at points of the tables.
    assert cluster_density(HELIUM_ISOBUTANE, np.array([3.0, 100.0])) == pytest.approx([1220, 1643])
    assert cluster_density(ARGON, np.array([0.4, 1e5])) == pytest.approx([0.0, 0.0])
    chamber = "set Rmin 0.35; set Rmax 2.0; set Zmin -2.1; set Zmax 2.1; set Bz 2.0"
    body = f"ClusterCounting set InputArray In/tracks; {chamber}"
    tracks = many(5000, 100 * 0.13957)
    store = store_of(tracks=tracks)
    ClusterCounting(module(tmp_path, body)).run(store)
    found = store.arrays["M/tracks"]
    mean = 1643 * length_in_cylinder(helices(tracks, tracks["charge"], 2.0), 0.35, 2.0, -2.1, 2.1)
    assert np.mean(found["n_clusters"]) == pytest.approx(mean[0], rel=1e-3)
    assert np.std(found["n_clusters"]) == pytest.approx(np.sqrt(mean[0]), rel=0.05)
    assert np.mean(found["dn_dx"]) == pytest.approx(1643, rel=1e-3)
    for wrong in ("set GasOption 4", "set Bz 0", "set Zmin 0; set Zmax 0"):
        with pytest.raises(UserError):
            ClusterCounting(module(tmp_path, f"{body}; {wrong}"))


def vertices_and_tracks(tmp_path):
    """Return a store with the vertices of two events, the second with one 30 mm away."""
    made = collection(
        [2, 4],
        [1.0, 2.0, 1.0, 3.0, 2.0, 4.0],
        0.0,
        0.0,
        charge=[1, 0, -1, 1, 1, -1],
        x=[0.0, 0.0, 0.0, 30.0, -30.0, 30.0],
        y=0.0,
        z=0.0,
        t=[0.0, 0.0, 0.0, 40.0, 40.0, 40.0],
    )
    store = store_of(particles=made)
    body = "TruthVertexFinder set InputArray In/particles"
    TruthVertexFinder(module(tmp_path, body)).run(store)
    return store, store.arrays["M/vertices"], made


def test_particles_of_one_distance_make_a_vertex(tmp_path):
    _, vertices, _ = vertices_and_tracks(tmp_path)
    assert vertices.offsets.tolist() == [0, 1, 3]
    assert vertices["x"].tolist() == [0.0, 0.0, 30.0]
    assert vertices["t"].tolist() == [0.0, 0.0, 40.0]
    assert vertices["cluster_index"].tolist() == [0, 0, 1]
    # Charged particles; Delphes compares distances, so that the one at -30 mm belongs there too.
    assert vertices["cluster_ndf"].tolist() == [1, 1, 3]
    assert vertices["gen_sum_pt2"] == pytest.approx([1.0, 1.0, 29.0])
    particles_of, owners = vertices.parts
    assert owners.tolist() == [0, 2, 2]
    assert particles_of["pt"] == pytest.approx([2.0, 2.0, 4.0])


@pytest.mark.parametrize(
    ("mode", "times"),
    [
        (0, [0.0, 0.0, 0.0, 40.0, 40.0, 40.0]),
        (1, [0.0] * 6),
        # All of a vertex but its first particle: momentum 6 along x, energy 10.
        (2, [0.0, 0.0, 0.0, 30.0, 30 / 0.6, 30 / 0.6]),
    ],
)
def test_the_time_of_a_vertex_is_known_or_guessed(tmp_path, mode, times):
    store, vertices, made = vertices_and_tracks(tmp_path)
    store.arrays["In/vertices"] = vertices
    energy = np.array([1.0, 2.0, 1.0, 3.0, 4.0, 6.0])
    place = {f"initial_{axis}": made[axis] for axis in "xyz"}
    momentum = {name: made[name] for name in ("px", "py", "pz")}
    store.arrays["In/tracks"] = made.clone(np.arange(6), e=energy, **momentum, **place)
    body = "TimeOfFlight set InputArray In/tracks; set VertexInputArray In/vertices"
    TimeOfFlight(module(tmp_path, f"{body}; set VertexTimeMode {mode}")).run(store)
    assert store.arrays["M/tracks"]["initial_t"] == pytest.approx(times)


def test_times_are_smeared_by_the_direction_of_flight(tmp_path):
    # The momentum is at η = 2, the place at η = 0.
    tracks = collection([5000], 1.0, 2.0, 0.0, x=1000.0, y=0.0, z=0.0, t=1000.0)
    store = store_of(tracks=tracks)
    body = "TimeSmearing set InputArray In/tracks; set OutputArray out"
    formula = "{(abs(eta) > 1 && pt < 0.5) * 30e-12}"
    TimeSmearing(module(tmp_path, f"{body}; set TimeResolution {formula}")).run(store)
    # As in Delphes, a formula is told no pT.
    assert np.std(store.arrays["M/out"]["t"]) == pytest.approx(8.99, rel=0.05)
