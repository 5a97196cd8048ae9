"""ParticlePropagator against the equations of motion."""

import math

import numpy as np
import pytest
from detector_events import make_record, run_modules, write_card
from hypothesis import given, settings
from hypothesis import strategies as st

from generation.fastsim.candidates import Candidates
from generation.fastsim.modules.particle_propagator import CHARGED, NEUTRAL, OUTSIDE, propagate

RADIUS, HALF_LENGTH, FIELD = 1.29, 3.0, 3.8  # m, m, T
LIGHT = 299.792458  # mm/ns; also 1e3 times the c of pT [GeV] = 0.3 B [T] R [m]

momenta = {
    "pt": st.floats(0.05, 500.0),
    # A particle without any pz circles for ever.
    "eta": st.floats(-4.0, 4.0).filter(lambda eta: abs(eta) > 0.01),
    "phi": st.floats(-math.pi, math.pi),
    "charge": st.sampled_from([-1, 1]),
}
# Within a few mm of the beam, as decay products of hadrons are.
vertices = {
    "x": st.floats(-3.0, 3.0),
    "y": st.floats(-3.0, 3.0),
    "z": st.floats(-200.0, 200.0),
}


def particle(pt, eta, phi, charge, x=0.0, y=0.0, z=0.0, t=0.0, mass=0.13957):
    px, py, pz = pt * math.cos(phi), pt * math.sin(phi), pt * math.sinh(eta)
    columns = {
        "px": px, "py": py, "pz": pz, "e": math.sqrt(px**2 + py**2 + pz**2 + mass**2),
        "x": x, "y": y, "z": z, "t": t,
    }  # fmt: skip
    columns = {name: np.array([value], float) for name, value in columns.items()}
    return Candidates(np.array([0, 1]), columns | {"charge": np.array([charge], np.int32)})


def fly(*arguments, field=FIELD, **keywords):
    start = particle(*arguments, **keywords)
    end, fate = propagate(start, RADIUS, HALF_LENGTH, field, RADIUS, HALF_LENGTH)
    return {name: end[name][0] for name in COLUMNS} if len(end) else None, fate


COLUMNS = (
    "x", "y", "z", "t", "px", "py", "pz", "e", "pt", "d0", "dz", "p", "ctg_theta", "track_phi",
    "xd", "yd", "zd", "path_length", "initial_x", "initial_y", "initial_z", "initial_t",
)  # fmt: skip


def helix(pt, phi, charge, x, y):
    """Return radius and centre of the circle in mm."""
    radius = pt / (charge * FIELD * LIGHT) * 1e6
    return radius, x + radius * math.sin(phi), y - radius * math.cos(phi)


@settings(max_examples=300, deadline=None)
@given(**momenta, **vertices)
def test_charged_particles_stay_on_their_circle_and_end_on_the_surface(
    pt, eta, phi, charge, x, y, z
):
    end, fate = fly(pt, eta, phi, charge, x, y, z)
    assert fate.tolist() == [CHARGED]
    radius, x_c, y_c = helix(pt, phi, charge, x, y)
    assert math.hypot(end["x"] - x_c, end["y"] - y_c) == pytest.approx(abs(radius), rel=1e-9)
    # The point of closest approach is on the circle too, and no point of it is closer.
    assert math.hypot(end["xd"] - x_c, end["yd"] - y_c) == pytest.approx(abs(radius), rel=1e-9)
    on_side = math.isclose(math.hypot(end["x"], end["y"]), 1e3 * RADIUS, rel_tol=1e-6)
    on_cap = math.isclose(abs(end["z"]), 1e3 * HALF_LENGTH, rel_tol=1e-9)
    assert on_side or on_cap
    assert math.hypot(end["x"], end["y"]) <= 1e3 * RADIUS * (1 + 1e-6)
    assert abs(end["z"]) <= 1e3 * HALF_LENGTH * (1 + 1e-9)


@settings(max_examples=300, deadline=None)
@given(**momenta, **vertices)
def test_track_parameters_are_those_of_the_closest_point(pt, eta, phi, charge, x, y, z):
    end, _ = fly(pt, eta, phi, charge, x, y, z)
    radius, x_c, y_c = helix(pt, phi, charge, x, y)
    closest = abs(math.hypot(x_c, y_c) - abs(radius))
    assert abs(end["d0"]) == pytest.approx(closest, abs=1e-6)
    direction = math.atan2(end["py"], end["px"])
    assert direction == pytest.approx(end["track_phi"])
    # d0 is (x py - y px) / pT at that point.
    signed = end["xd"] * math.sin(direction) - end["yd"] * math.cos(direction)
    assert end["d0"] == pytest.approx(signed, abs=1e-6)
    turned = (direction - phi + math.pi) % (2 * math.pi) - math.pi
    assert end["zd"] == pytest.approx(z - turned * radius * math.sinh(eta), rel=1e-6, abs=1e-6)
    assert end["dz"] == end["zd"]
    assert end["p"] == pytest.approx(pt * math.cosh(eta))
    assert end["ctg_theta"] == pytest.approx(math.sinh(eta))


@settings(max_examples=200, deadline=None)
@given(**momenta, **vertices)
def test_time_and_path_belong_to_the_speed_of_the_particle(pt, eta, phi, charge, x, y, z):
    end, _ = fly(pt, eta, phi, charge, x, y, z, t=7.0)
    beta = end["p"] / end["e"]
    assert end["t"] - 7.0 == pytest.approx(end["path_length"] / beta, rel=1e-9)
    assert (end["initial_x"], end["initial_y"], end["initial_z"]) == (x, y, z)
    assert end["initial_t"] == 7.0


@settings(max_examples=200, deadline=None)
@given(**(momenta | {"charge": st.sampled_from([-1, 0, 1])}), **vertices, angle=st.floats(-3, 3))
def test_turning_the_event_turns_everything(pt, eta, phi, charge, x, y, z, angle):
    cos, sin = math.cos(angle), math.sin(angle)
    plain, _ = fly(pt, eta, phi, charge, x, y, z)
    turned, _ = fly(pt, eta, phi + angle, charge, cos * x - sin * y, sin * x + cos * y, z)
    for name in ("z", "t", "d0", "dz", "p", "ctg_theta", "path_length", "zd"):
        assert turned[name] == pytest.approx(plain[name], rel=1e-6, abs=1e-5)
    for a, b in (("x", "y"), ("px", "py"), ("xd", "yd")):
        assert turned[a] == pytest.approx(cos * plain[a] - sin * plain[b], rel=1e-5, abs=1e-4)
        assert turned[b] == pytest.approx(sin * plain[a] + cos * plain[b], rel=1e-5, abs=1e-4)


@settings(max_examples=200, deadline=None)
@given(pt=momenta["pt"], eta=momenta["eta"], phi=momenta["phi"], **vertices)
def test_neutral_particles_fly_straight(pt, eta, phi, x, y, z):
    end, fate = fly(pt, eta, phi, 0, x, y, z)
    assert fate.tolist() == [NEUTRAL]
    flown = np.array([end["x"] - x, end["y"] - y, end["z"] - z])
    momentum = np.array([end["px"], end["py"], end["pz"]])
    assert np.linalg.norm(flown) == pytest.approx(end["path_length"])
    assert np.dot(flown, momentum) >= 0.0
    across = np.linalg.norm(np.cross(flown, momentum))
    assert across <= 1e-6 * np.linalg.norm(flown) * np.linalg.norm(momentum)
    side = math.isclose(math.hypot(end["x"], end["y"]), 1e3 * RADIUS, rel_tol=1e-9)
    assert side or math.isclose(abs(end["z"]), 1e3 * HALF_LENGTH, rel_tol=1e-9)


@given(pt=st.floats(1.0, 100.0), eta=momenta["eta"], phi=momenta["phi"])
@settings(max_examples=100, deadline=None)
def test_opposite_charges_are_mirror_images(pt, eta, phi):
    plus, _ = fly(pt, eta, phi, 1)
    minus, _ = fly(pt, eta, -phi, -1)
    assert plus["x"] == pytest.approx(minus["x"], abs=1e-6)
    assert plus["y"] == pytest.approx(-minus["y"], abs=1e-6)


def test_without_a_field_charged_particles_fly_straight():
    end, fate = fly(5.0, 1.0, 0.3, 1, field=0.0)
    assert fate.tolist() == [NEUTRAL]
    assert math.atan2(end["y"], end["x"]) == pytest.approx(0.3)


@pytest.mark.parametrize(
    "arguments",
    [
        {"x": 1300.0},
        {"z": 3001.0},
        {"pt": 1e-5},
        {"pt": 0.0},
        {"pt": 0.2, "eta": 0.0},  # circles for ever
    ],
)
def test_particles_that_cannot_arrive_are_dropped(arguments):
    end, _ = fly(**({"pt": 5.0, "eta": 0.5, "phi": 0.3, "charge": 1} | arguments))
    assert end is None


def test_between_the_two_cylinders_particles_stay_where_they_are():
    start = particle(5.0, 0.5, 0.3, 1, x=1400.0)
    end, fate = propagate(start, RADIUS, HALF_LENGTH, FIELD, 2.0, 5.0)
    assert fate.tolist() == [OUTSIDE]
    assert end["x"][0] == pytest.approx(1400.0)
    assert end["path_length"][0] == 0.0


def test_outputs_are_sorted_by_kind(tmp_path):
    card = write_card(
        tmp_path,
        ("ParticlePropagator", "Fly", "set Radius 1.29\nset HalfLength 3.0\nset Bz 3.8"),
    )
    record = make_record([6, 3], [211, 11, -13, 22, 130, 12, 2212, 22, -11], 5.0, 0.5, 0.3)
    arrays = run_modules(card, record)
    assert arrays["Fly/stableParticles"].counts.tolist() == [6, 3]
    assert arrays["Fly/chargedHadrons"]["pid"].tolist() == [211, 2212]
    assert arrays["Fly/electrons"]["pid"].tolist() == [11, -11]
    assert arrays["Fly/muons"]["pid"].tolist() == [-13]
    assert arrays["Fly/neutralParticles"]["pid"].tolist() == [22, 130, 12, 22]
    assert arrays["Fly/electrons"].counts.tolist() == [1, 1]


def test_a_second_propagation_starts_where_the_particle_was_made(tmp_path):
    record = make_record([2, 1], [211, -13, 22], 5.0, 0.5, [0.0, 1.0, 2.0], x=1.0)
    cylinder = "set Bz 3.8; set Radius {}; set HalfLength 3.0; set RadiusMax 2.0"
    path = write_card(
        tmp_path,
        ("ParticlePropagator", "Outer", cylinder.format(1.5)),
        ("MomentumSmearing", "Worse", "set InputArray Outer/stableParticles\n"
         "set ResolutionFormula 0.5"),
        ("ParticlePropagator", "Inner", f"set InputArray Worse/stableParticles; {cylinder}"
         .format(0.5)),
        ("ParticlePropagator", "Directly", cylinder.format(0.5)),
    )  # fmt: skip
    arrays = run_modules(path, record)
    twice, once = arrays["Inner/stableParticles"], arrays["Directly/stableParticles"]
    for name in ("x", "y", "z", "t", "px", "pz", "pid", "initial_x", "d0"):
        assert np.array_equal(twice[name], once[name]), name
    for kind in ("chargedHadrons", "muons", "neutralParticles"):
        assert len(arrays[f"Inner/{kind}"]) == 1
    assert np.hypot(twice["x"], twice["y"]) == pytest.approx(500.0)
