"""SimpleCalorimeter: what goes in comes out, and who gets it."""

import itertools
import math

import numpy as np
import pytest
from detector_events import make_record, random_record, run_modules, write_card
from hypothesis import given, settings
from hypothesis import strategies as st

from generation.fastsim.candidates import Candidates
from generation.fastsim.card import read_card
from generation.fastsim.module import EventStore
from generation.fastsim.modules.simple_calorimeter import SimpleCalorimeter
from generation.fastsim.tower_grid import TowerGrid, read_grid
from provenance.errors import UserError

PROPAGATOR = (
    "ParticlePropagator",
    "Fly",
    "set Radius 1.29\nset HalfLength 3.0\nset Bz {field}",
)
# 36 towers of 10 degrees in rings of 0.25 up to |eta| = 3.
BINS = """
  set pi [expr {acos(-1)}]
  set PhiBins {}
  for {set i -18} {$i <= 18} {incr i} { add PhiBins [expr {$i * $pi / 18.0}] }
  for {set i -12} {$i <= 12} {incr i} { add EtaPhiBins [expr {$i * 0.25}] $PhiBins }
"""
FRACTIONS = "add EnergyFraction {12} {0.0}\nadd EnergyFraction {13} {0.0}"
INPUTS = "set ParticleInputArray Fly/stableParticles\nset TrackInputArray Fly/chargedHadrons"


def calorimeter(folder, settings_, record, field=0.0, inputs=INPUTS, fractions=FRACTIONS, seed=1):
    kind, name, body = PROPAGATOR
    body = body.format(field=field)
    card = write_card(
        folder,
        (kind, name, body),
        ("SimpleCalorimeter", "Cal", f"{inputs}\n{BINS}\n{fractions}\n{settings_}"),
    )
    return run_modules(card, record, seed)


IDEAL = "set ResolutionFormula {0}\nset SmearTowerCenter false"


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), sizes=st.lists(st.integers(0, 80), min_size=1, max_size=4))
def test_without_smearing_no_energy_is_lost_or_made(tmp_path_factory, seed, sizes):
    record = random_record(np.random.default_rng(seed), sizes, eta_max=2.9)
    arrays = calorimeter(tmp_path_factory.mktemp("card"), IDEAL, record, field=3.8)
    hits = arrays["Fly/stableParticles"]
    seen = ~np.isin(np.abs(hits["pid"]), (12, 13)) & (np.abs(hits["position_eta"]) < 3.0)
    true = hits.sum_by_event(np.where(seen, hits["e"], 0.0))
    towers = arrays["Cal/towers"]
    assert towers.sum_by_event(towers["e"]) == pytest.approx(true)
    # Each tower's energy is shared between the tracks and a neutral rest.
    neutral, tracks = arrays["Cal/eflowTowers"], arrays["Cal/eflowTracks"]
    together = neutral.sum_by_event(neutral["e"]) + tracks.sum_by_event(tracks["e"])
    assert together == pytest.approx(true, rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), steps=st.integers(1, 35))
def test_turning_the_event_by_whole_towers_turns_the_towers(tmp_path_factory, seed, steps):
    rng = np.random.default_rng(seed)
    n, angle = 60, steps * math.pi / 18
    pt, eta = rng.exponential(3, n) + 0.5, rng.uniform(-2.5, 2.5, n)
    # Away from the edges, where rounding decides.
    phi = (rng.integers(-18, 18, n) + rng.uniform(0.01, 0.99, n)) * math.pi / 18
    turned = (phi + angle + math.pi) % (2 * math.pi) - math.pi
    pid = rng.choice([211, 22, 130], n)
    results = []
    for angles in (phi, turned):
        arrays = calorimeter(
            tmp_path_factory.mktemp("card"), IDEAL, make_record([n], pid, pt, eta, angles)
        )
        towers = arrays["Cal/towers"]
        results.append(sorted(zip(towers["eta"].round(6), towers["e"].round(6), strict=True)))
    assert results[0] == results[1]


def test_energy_is_drawn_with_the_given_mean_and_width(tmp_path):
    record = make_record([1] * 20_000, 22, 50.0, 0.1, 0.05)
    arrays = calorimeter(tmp_path, "set ResolutionFormula {sqrt(energy) * 1.5}", record)
    energy = arrays["Cal/towers"]["e"]
    true = 50.0 * math.cosh(0.1)
    assert len(energy) == 20_000
    assert energy.mean() == pytest.approx(true, rel=0.005)
    assert energy.std() == pytest.approx(1.5 * math.sqrt(true), rel=0.03)
    # The distribution is log-normal, not Gaussian: its logarithm is symmetric.
    logarithm = np.log(energy)
    skewness = np.mean(((logarithm - logarithm.mean()) / logarithm.std()) ** 3)
    assert abs(skewness) < 0.1


def test_centres_are_uniform_within_the_edges(tmp_path):
    record = make_record([1] * 4000, 22, 50.0, 0.1, 0.05)
    arrays = calorimeter(tmp_path, "set ResolutionFormula {0}", record)
    towers = arrays["Cal/towers"]
    assert set(towers["edge_eta_min"]) == {0.0}
    assert towers["edge_eta_max"] == pytest.approx(0.25)
    assert towers["eta"].min() > 0.0
    assert towers["eta"].max() < 0.25
    assert towers["eta"].mean() == pytest.approx(0.125, abs=0.005)
    assert towers["eta"].std() == pytest.approx(0.25 / math.sqrt(12), rel=0.03)
    assert towers["phi"].mean() == pytest.approx(math.pi / 36, abs=0.003)


def test_towers_below_threshold_vanish_and_take_their_tracks_along(tmp_path):
    record = make_record([2], [211, 22], [4.0, 8.0], [0.1, 1.1], [2.05, 0.4])
    arrays = calorimeter(tmp_path, "set ResolutionFormula {0.001}\nset EnergyMin 6.0\n", record)
    assert arrays["Cal/towers"]["e"] == pytest.approx([8.0 * math.cosh(1.1)], rel=0.01)
    tracks = arrays["Cal/eflowTracks"]
    # The track has no resolution of its own: the tower's zero is the best estimate.
    assert tracks["pt"].tolist() == [0.0]
    assert tracks["phi"].tolist() == [0.0]
    assert tracks["e"] == pytest.approx([0.13957])


@pytest.mark.parametrize(
    ("photon", "expected"),
    [
        (0.0, "combined"),
        (30.0, "excess"),
    ],
)
def test_an_excess_becomes_neutral_and_less_is_combined_with_the_tracks(tmp_path, photon, expected):
    """Hand calculation with sigma_cal = 2 GeV and a track of 10 % at 20 GeV: 2 GeV, too."""
    # Smear the track for its resolution, with a formula that moves nothing measurable.
    pt = [20.0 / math.cosh(0.1), photon / math.cosh(0.1)]
    record = make_record([2], [211, 22], pt, 0.1, 0.05)
    kind, name, body = PROPAGATOR
    card = write_card(
        tmp_path,
        (kind, name, body.format(field=0.0)),
        (
            "MomentumSmearing",
            "Smear",
            "set InputArray Fly/chargedHadrons\nset ResolutionFormula {0.1}",
        ),
        (
            "SimpleCalorimeter",
            "Cal",
            "set ParticleInputArray Fly/stableParticles\n"
            f"set TrackInputArray Smear/stableParticles\n{BINS}\n{FRACTIONS}\n"
            "set ResolutionFormula {2.0}\nset EnergySignificanceMin 2.0",
        ),
    )
    arrays = run_modules(card, record)
    measured, track = arrays["Cal/towers"]["e"][0], arrays["Smear/stableParticles"]["e"][0]
    flow = arrays["Cal/eflowTracks"]
    track_sigma = 0.1 * track
    if expected == "excess":
        assert arrays["Cal/eflowTowers"]["e"] == pytest.approx([measured - track])
        assert flow["e"] == pytest.approx([track])
    else:
        assert len(arrays["Cal/eflowTowers"]) == 0
        weights = np.array([1 / track_sigma**2, 1 / 2.0**2])
        best = np.dot(weights, [track, measured]) / weights.sum()
        smeared = arrays["Smear/stableParticles"]["pt"][0]
        assert flow["pt"] == pytest.approx([smeared * best / track])


def test_tracks_that_leave_nothing_pass_unchanged(tmp_path):
    record = make_record([2], [-13, 211], [10.0, 3.0], [0.5, 0.5], [0.2, 0.2])
    inputs = "set ParticleInputArray Fly/stableParticles\nset TrackInputArray Both/candidates"
    kind, name, body = PROPAGATOR
    card = write_card(
        tmp_path,
        (kind, name, body.format(field=3.8)),
        ("Merger", "Both", "add InputArray Fly/muons\nadd InputArray Fly/chargedHadrons"),
        ("SimpleCalorimeter", "Cal", f"{inputs}\n{BINS}\n{FRACTIONS}\n{IDEAL}"),
    )
    tracks = run_modules(card, record)["Cal/eflowTracks"]
    assert sorted(tracks["pid"]) == [-13, 211]
    assert sorted(tracks["pt"]) == pytest.approx([3.0, 10.0])


def test_energy_fractions_split_particles_between_calorimeters(tmp_path):
    record = make_record([3], [310, 22, 4242], 10.0, [0.1, 1.1, 2.1], 0.05, charge=np.zeros(3))
    fractions = "add EnergyFraction {0} {0.25}\nadd EnergyFraction {310} {0.3}\n"
    fractions += "add EnergyFraction {22} {1.0}\nadd EnergyFraction {1000022} {0.0}"
    towers = calorimeter(tmp_path, IDEAL, record, fractions=fractions)["Cal/towers"]
    energy = np.sqrt((10 * np.cosh([0.1, 1.1, 2.1])) ** 2 + np.array([0.49761, 0, 0]) ** 2)
    assert towers["e"] == pytest.approx(energy * [0.3, 1.0, 0.25])


def test_pile_up_and_hard_energy_are_told_apart(tmp_path):
    record = make_record([2], [22, 22], [10.0, 30.0], 0.1, 0.05)
    arrays = calorimeter(tmp_path, IDEAL, record)
    tower = arrays["Cal/eflowTowers"]
    assert tower["hard_energy_fraction"].tolist() == [1.0]
    assert tower["is_pu"].tolist() == [0]


def test_charged_pile_up_counts_in_a_neutral_tower(tmp_path):
    # A hard photon of 20 GeV and charged pile-up of 30 GeV whose track was not found.
    photon, pion = 20.0, 30.0
    columns = {
        "px": [photon, pion], "py": [2.0, 3.0], "pz": [0.0, 0.0], "e": [photon, pion],
        "x": [1290.0, 1290.0], "y": [100.0, 100.0], "z": [100.0, 100.0],
        "pid": [22, 211], "charge": [0, 1], "is_pu": [0, 1],
    }  # fmt: skip
    hits = Candidates(np.array([0, 2]), {name: np.array(own) for name, own in columns.items()})
    path = write_card(tmp_path, ("SimpleCalorimeter", "Cal", f"{INPUTS}\n{BINS}\n{IDEAL}"))
    store = EventStore(
        {"Fly/stableParticles": hits, "Fly/chargedHadrons": hits.select(np.zeros(2, bool))},
        np.random.default_rng(1), None,
    )  # fmt: skip
    SimpleCalorimeter(read_card(path).sequence()[0]).run(store)
    tower = store.arrays["Cal/eflowTowers"]
    assert tower["hard_energy_fraction"] == pytest.approx([photon / (photon + pion)])
    assert tower["is_pu"].tolist() == [1]


def test_insensitive_towers_see_nothing_and_swallow_showers(tmp_path):
    # A photon, and a hadron and a muon that fly along, in each of two towers.
    record = make_record(
        [6], [22, 211, -13] * 2, 10.0, [0.1] * 3 + [0.6] * 3, [0.05] * 6
    )  # fmt: skip
    kind, name, body = PROPAGATOR
    inputs = "set ParticleInputArray Fly/stableParticles\nset TrackInputArray Both/candidates"

    def seen(edges):
        card = write_card(
            tmp_path,
            (kind, name, body.format(field=0.0)),
            ("Merger", "Both", "add InputArray Fly/muons\nadd InputArray Fly/chargedHadrons"),
            ("SimpleCalorimeter", "Cal", f"{inputs}\n{BINS}\n{FRACTIONS}\n{IDEAL}\n{edges}"),
        )
        arrays = run_modules(card, record)
        tracks = arrays["Cal/eflowTracks"]
        return len(arrays["Cal/towers"]), sorted(
            zip(tracks["eta"].round(1), tracks["pid"], strict=True)
        )

    everything = [(0.1, -13), (0.1, 211), (0.6, -13), (0.6, 211)]
    assert seen("") == (2, everything)
    # The tower of the first three has the upper edges 0.25 and 10 degrees.
    blind = "add InsensitiveEtaPhiBins [list 0.24 0.18]"
    assert seen(blind) == (1, [entry for entry in everything if entry != (0.1, 211)])


def test_towers_stand_on_the_surface_of_the_cylinder(tmp_path):
    record = make_record([2], 22, 20.0, [0.3, 2.1], 0.05)
    towers = calorimeter(tmp_path, IDEAL, record)["Cal/towers"]
    r = np.hypot(towers["x"], towers["y"])
    assert r[0] == pytest.approx(1290.0)
    assert towers["z"][1] == pytest.approx(3000.0)
    assert np.arcsinh(towers["z"] / r) == pytest.approx(towers["eta"])
    assert towers["path_length"] == pytest.approx(np.hypot(r, towers["z"]))


edges = st.lists(st.floats(-5, 5, width=32), min_size=2, max_size=12, unique=True)


@settings(max_examples=100, deadline=None)
@given(
    eta_edges=edges,
    phi_edges=st.lists(st.floats(-3, 3, width=32), min_size=2, max_size=9, unique=True),
    data=st.data(),
)
def test_towers_are_found_as_by_a_search_through_the_edges(eta_edges, phi_edges, data):
    grid = TowerGrid({eta: set(phi_edges) for eta in eta_edges})
    eta = np.array(data.draw(st.lists(st.floats(-5.5, 5.5), min_size=1, max_size=30)))
    phi = np.array(
        data.draw(st.lists(st.floats(-3.14, 3.14), min_size=len(eta), max_size=len(eta)))
    )
    x, y, z = np.cos(phi), np.sin(phi), np.sinh(eta)
    eta, phi = np.arcsinh(z / np.sqrt(x * x + y * y)), np.arctan2(y, x)
    ring, step = np.searchsorted(sorted(eta_edges), eta), np.searchsorted(sorted(phi_edges), phi)
    inside = (ring > 0) & (ring < len(eta_edges)) & (step > 0) & (step < len(phi_edges))
    expected = np.where(inside, (ring - 1) * (len(phi_edges) - 1) + step - 1, -1)
    assert grid.find(x, y, z, np.full(len(x), True)).tolist() == expected.tolist()


@settings(max_examples=50, deadline=None)
@given(
    rings=st.dictionaries(
        st.floats(-5, 5, width=16),
        st.frozensets(st.floats(-3, 3, width=16), max_size=4),
        min_size=2,
        max_size=8,
    ),
    data=st.data(),
)
def test_every_ring_has_the_phi_edges_of_its_upper_eta_edge(rings, data):
    grid = TowerGrid(rings)
    eta_edges = sorted(rings)
    expected = [
        (low, high, left, right)
        for low, high in itertools.pairwise(eta_edges)
        for left, right in itertools.pairwise(sorted(rings[high]))
    ]
    assert grid.n_towers == len(expected)
    columns = (grid.eta_low, grid.eta_high, grid.phi_low, grid.phi_high)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == expected
    eta, phi = (np.array([data.draw(st.floats(-limit, limit))]) for limit in (5.5, 3.1))
    point = np.cos(phi), np.sin(phi), np.sinh(eta)
    eta, phi = np.arcsinh(point[2] / np.hypot(*point[:2])), np.arctan2(point[1], point[0])
    holds = [low < eta[0] <= high and left < phi[0] <= right for low, high, left, right in expected]
    found = grid.find(*point, np.full(1, True))[0]
    assert found == (holds.index(True) if any(holds) else -1)


@pytest.mark.parametrize("bins", ["add EtaPhiBins {0 1 2} {-3 0 3}", "add EtaPhiBins 0 8\n" * 2])
def test_lists_of_eta_share_their_phi_edges_and_a_number_is_one_edge(tmp_path, bins):
    card = write_card(tmp_path, ("SimpleCalorimeter", "Cal", f"{bins}\nadd EtaPhiBins 3 8"))
    grid = read_grid(read_card(card).modules["Cal"])
    # As in the public LHCb card, `PhiBins 360` is no list of 360 towers: Delphes then sees nothing.
    expected = [(0, 1, -3, 0), (0, 1, 0, 3), (1, 2, -3, 0), (1, 2, 0, 3)] if "{" in bins else []
    columns = (grid.eta_low, grid.eta_high, grid.phi_low, grid.phi_high)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == expected


def test_a_calorimeter_without_towers_sees_nothing(tmp_path):
    kind, name, body = PROPAGATOR
    bins = "set PhiBins 360\nforeach eta {-3 0 3} {add EtaPhiBins $eta $PhiBins}"
    card = write_card(
        tmp_path,
        (kind, name, body.format(field=0.0)),
        ("SimpleCalorimeter", "Cal", f"{INPUTS}\n{bins}\n{FRACTIONS}"),
    )
    arrays = run_modules(card, random_record(np.random.default_rng(1), [20, 0]))
    for output in ("towers", "eflowTracks", "eflowTowers"):
        assert arrays[f"Cal/{output}"].counts.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ("add EtaPhiBins {0 1} {0 one}", "EtaPhiBins"),
        ("add EtaPhiBins 0.0 {0 1} 1.0", "EtaPhiBins"),
        ("add EtaPhiBins 0.0 {0 1}", "EtaPhiBins"),
        (f"{BINS}\nadd EnergyFraction 11", "EnergyFraction"),
        (f"{BINS}\nset EnergyMin much", "EnergyMin"),
        (f"{BINS}\nset ResolutionFormula {{sqrt(}}", "ResolutionFormula"),
        (f"{BINS}\nset EnergieMin 1.0", "EnergieMin"),
    ],
)
def test_a_wrong_parameter_is_named_with_its_place(tmp_path, body, word):
    card = write_card(tmp_path, ("SimpleCalorimeter", "Cal", body))
    with pytest.raises(UserError, match=f"card.tcl:[0-9]+: '{word}' of module 'Cal'"):
        run_modules(card, make_record([1], 22, 1.0, 0.0, 0.0))
