"""Secondary vertices: of tracks bent by hand from a known point, and in jets of real Delphes."""

import numpy as np
import pytest

from ntuplizer.batch import Collection
from ntuplizer.branches import CANDIDATE_LEAVES
from ntuplizer.jet_flavour import LEAVES as FLAVOUR_LEAVES
from ntuplizer.jet_flavour import cluster_with_ghosts, flavour_ghosts, hadron_flavour
from ntuplizer.particles import candidate_momenta, members_of
from ntuplizer.secondary_vertices import (
    LEAVES,
    PION_MASS,
    VertexCuts,
    find_secondary_vertices,
)
from ntuplizer.sources.delphes import batches

TTBAR = "delphes/ttbar_events.root"
# Radius of curvature in mm of 1 GeV at 3.8 T.
MM_PER_GEV = 1e3 / (0.299792458 * 3.8)
SIGMA_D0, SIGMA_DZ = 0.02, 0.04


def tracks_from(point, momenta, charges) -> dict[str, np.ndarray]:
    """Return the leaves of tracks that start at a point (mm) with momenta (n, 3).

    A positive charge turns clockwise. The centre of the circle lies to the right of it, and the
    point nearest to the beam on the line from the beam to the centre.
    """
    px, py, pz = np.asarray(momenta, float).T
    charges = np.asarray(charges)
    pt = np.hypot(px, py)
    radius = charges * pt * MM_PER_GEV
    centre_x, centre_y = point[0] + radius * py / pt, point[1] - radius * px / pt
    distance = np.hypot(centre_x, centre_y)
    sign = np.sign(radius)
    phi = np.arctan2(sign * centre_x, -sign * centre_y)
    turned = (phi - np.arctan2(py, px) + np.pi) % (2 * np.pi) - np.pi
    n = len(pt)
    return {
        "PT": pt,
        "Phi": phi,
        "CtgTheta": pz / pt,
        "D0": sign * (distance - np.abs(radius)),
        "DZ": point[2] - turned * radius * pz / pt,
        "ErrorD0": np.full(n, SIGMA_D0),
        "ErrorDZ": np.full(n, SIGMA_DZ),
        "ErrorPhi": np.zeros(n),
        "ErrorCtgTheta": np.zeros(n),
        "Charge": charges,
    }


def spray(rng, n, eta=0.3, phi=0.5, width=0.15):
    """Return momenta (n, 3) of 2 to 10 GeV around a direction, and charges."""
    pt = rng.uniform(2, 10, n)
    own_eta, own_phi = eta + rng.normal(0, width, n), phi + rng.normal(0, width, n)
    momenta = np.stack([pt * np.cos(own_phi), pt * np.sin(own_phi), pt * np.sinh(own_eta)], axis=1)
    return momenta, rng.choice([-1, 1], n)


def along(eta, phi, length, z=0.0):
    """Return the point at a transverse length from (0, 0, z)."""
    return length * np.array([np.cos(phi), np.sin(phi), np.sinh(eta)]) + [0, 0, z]


def join(*parts) -> dict[str, np.ndarray]:
    return {name: np.concatenate([part[name] for part in parts]) for name in LEAVES}


def find(jets, eta=0.3, phi=0.5, z=0.0, **cuts):
    """Find vertices in jets, each given by the leaves of its tracks."""
    counts = [len(jet["PT"]) for jet in jets]
    columns = join(*jets)
    offsets = np.concatenate(([0], np.cumsum(counts)))
    tracks = Collection(np.array([0, sum(counts)]), columns)
    n = len(jets)
    return find_secondary_vertices(
        np.full(n, eta), np.full(n, phi), np.full(n, z), offsets, np.arange(sum(counts)), tracks,
        VertexCuts(**cuts),
    )  # fmt: skip


def test_exact_tracks_meet_where_they_started():
    rng = np.random.default_rng(1)
    points = [along(0.3, 0.5, length, z=20.0) for length in rng.uniform(2, 20, 50)]
    decays = [spray(rng, 3) for _ in points]
    jets = [tracks_from(point, *decay) for point, decay in zip(points, decays, strict=True)]
    found = find(jets, z=20.0, mass_max=20.0)
    assert np.diff(found.offsets).min() >= 0
    first = found.offsets[:-1][np.diff(found.offsets) == 1]
    jet = np.flatnonzero(np.diff(found.offsets) == 1)
    assert len(jet) > 40
    position = np.stack([found.x, found.y, found.z], axis=1)[first]
    np.testing.assert_allclose(position, np.array(points)[jet], atol=2e-4)
    np.testing.assert_allclose(found.chi2[first], 0, atol=1e-6)
    assert np.all(found.n_tracks[first] == 3)
    # Momenta are those at the vertex, not those at the beam.
    total = np.array([decays[j][0].sum(axis=0) for j in jet])
    np.testing.assert_allclose(found.pt[first], np.hypot(total[:, 0], total[:, 1]), rtol=1e-5)
    np.testing.assert_allclose(found.phi[first], np.arctan2(total[:, 1], total[:, 0]), atol=1e-5)
    energy = [np.sqrt((decays[j][0] ** 2).sum(axis=1) + PION_MASS**2).sum() for j in jet]
    mass = np.sqrt(np.square(energy) - (total**2).sum(axis=1))
    np.testing.assert_allclose(found.mass[first], mass, rtol=1e-4)
    flight = np.linalg.norm(np.array(points)[jet] - [0, 0, 20.0], axis=1)
    np.testing.assert_allclose(found.flight[first], flight, atol=3e-4)


def smeared(rng, leaves):
    n = len(leaves["PT"])
    return leaves | {
        "D0": leaves["D0"] + rng.normal(0, SIGMA_D0, n),
        "DZ": leaves["DZ"] + rng.normal(0, SIGMA_DZ, n),
    }


def test_errors_and_chi2_are_those_of_the_measurements():
    rng = np.random.default_rng(2)
    lengths = rng.uniform(4, 10, 600)
    jets = [
        smeared(rng, tracks_from(along(0.3, 0.5, length), *spray(rng, 4))) for length in lengths
    ]
    # Wide limits, so that no tail is cut off.
    found = find(jets, mass_max=50.0, track_chi2_max=40.0, pair_chi2_max=40.0, chi2_max=20.0)
    first = found.offsets[:-1][np.diff(found.offsets) > 0]
    jet = np.flatnonzero(np.diff(found.offsets) > 0)
    whole = found.n_tracks[first] == 4
    first, jet = first[whole], jet[whole]
    assert len(first) > 500
    pull = (found.flight_xy[first] - lengths[jet]) / found.flight_xy_error[first]
    spread = (np.percentile(pull, 84) - np.percentile(pull, 16)) / 2
    assert abs(np.median(pull)) < 0.15
    assert 0.9 < spread < 1.1
    assert np.all(found.ndf[first] == 5)
    assert np.mean(found.chi2[first]) == pytest.approx(5, abs=0.4)


def test_tracks_of_the_primary_vertex_stay_there():
    rng = np.random.default_rng(3)
    jets, n_found = [], 0
    for _ in range(200):
        prompt = smeared(rng, tracks_from(np.array([0, 0, 5.0]), *spray(rng, 8)))
        displaced = smeared(rng, tracks_from(along(0.3, 0.5, 6.0, z=5.0), *spray(rng, 4)))
        jets.append(join(prompt, displaced))
    found = find(jets, z=5.0, mass_max=50.0)
    n_found = np.diff(found.offsets)
    assert np.mean(n_found == 1) > 0.95
    # Tracks 0 to 7 of each jet of 12 are prompt.
    assert np.mean(found.tracks % 12 < 8) < 0.02
    assert np.mean(found.n_tracks) > 3.5
    only_prompt = [{name: values[:8] for name, values in jet.items()} for jet in jets]
    assert find(only_prompt, z=5.0).offsets[-1] <= 1


def test_two_decays_on_the_same_side_are_two_vertices():
    rng = np.random.default_rng(4)
    jets = [
        join(
            tracks_from(along(0.3, 0.5, 3.0), *spray(rng, 3)),
            tracks_from(along(0.35, 0.45, 12.0), *spray(rng, 3)),
        )
        for _ in range(50)
    ]
    found = find(jets, mass_max=50.0)
    assert np.mean(np.diff(found.offsets) == 2) > 0.8
    lengths = np.sort(np.hypot(found.x, found.y))
    assert lengths[0] == pytest.approx(3.0, abs=0.05)
    assert lengths[-1] == pytest.approx(12.0, abs=0.05)


def two_body(mass, daughters, pt, rng):
    """Return the momenta (2, 3) of a decay in flight along (η, φ) = (0.3, 0.5)."""
    first, second = daughters
    momentum = np.sqrt((mass**2 - (first + second) ** 2) * (mass**2 - (first - second) ** 2)) / (
        2 * mass
    )
    axis = rng.normal(size=3)
    axis *= momentum / np.linalg.norm(axis)
    boost = pt * np.array([np.cos(0.5), np.sin(0.5), np.sinh(0.3)])
    energy = np.sqrt(boost @ boost + mass**2)
    beta = boost / energy
    gamma = energy / mass
    products = []
    for sign, own in ((1, first), (-1, second)):
        p = sign * axis
        e = np.sqrt(p @ p + own**2)
        products.append(p + beta * gamma * (gamma / (gamma + 1) * (beta @ p) + e))
    return np.array(products)


@pytest.mark.parametrize(
    ("mass", "daughters", "kept"),
    [
        (0.49761, (PION_MASS, PION_MASS), False),
        (1.11568, (0.93827, PION_MASS), False),
        (1.2, (PION_MASS, PION_MASS), True),
    ],
)
def test_strange_particles_are_no_vertices(mass, daughters, kept):
    rng = np.random.default_rng(5)
    jets = [
        tracks_from(along(0.3, 0.5, 8.0), two_body(mass, daughters, 12.0, rng), [1, -1])
        for _ in range(40)
    ]
    found = np.diff(find(jets).offsets)
    assert np.mean(found == kept) > 0.9


def test_vertices_lie_ahead_of_the_jet_and_inside_the_beam_pipe():
    rng = np.random.default_rng(6)
    decay = spray(rng, 3)
    assert find([tracks_from(along(0.3, 0.5, 8.0), *decay)], mass_max=50).offsets[-1] == 1
    assert find([tracks_from(-along(0.3, 0.5, 8.0), *decay)], mass_max=50).offsets[-1] == 0
    assert find([tracks_from(along(0.3, 0.5, 40.0), *decay)], mass_max=50).offsets[-1] == 0


def test_order_and_neutral_constituents_do_not_matter():
    rng = np.random.default_rng(7)
    jet = join(
        smeared(rng, tracks_from(np.zeros(3), *spray(rng, 6))),
        smeared(rng, tracks_from(along(0.3, 0.5, 6.0), *spray(rng, 4))),
    )
    neutral = {name: values[:3].copy() for name, values in jet.items()}
    neutral["Charge"] = np.zeros(3, int)
    neutral["ErrorD0"] = neutral["ErrorDZ"] = np.zeros(3)
    order = rng.permutation(13)
    shuffled = {name: values[order] for name, values in join(jet, neutral).items()}
    one, other = find([jet], mass_max=50), find([shuffled], mass_max=50)
    assert one.offsets[-1] >= 1
    np.testing.assert_allclose(one.flight, other.flight, rtol=1e-9)
    np.testing.assert_array_equal(np.sort(order[other.tracks]), np.sort(one.tracks))


def test_jets_without_tracks_have_no_vertices():
    empty = {name: np.zeros(0) for name in LEAVES}
    found = find([empty, empty])
    assert found.offsets.tolist() == [0, 0, 0]
    assert found.n_tracks.shape == found.significance.shape == (0,)


def test_vertices_are_in_bottom_jets_of_delphes_events(reference):
    branches = {
        "Particle": (*FLAVOUR_LEAVES, "X", "Y", "Z"),
        "ParticleFlowCandidate": tuple({*CANDIDATE_LEAVES, *LEAVES}),
        "Vertex": ("Z",),
    }
    (batch,) = batches(reference(TTBAR), branches)
    particles, candidates = batch["Particle"], batch["ParticleFlowCandidate"]
    ghosts = flavour_ghosts(particles)
    jets, jet_of = cluster_with_ghosts(candidate_momenta(candidates), ghosts.momenta, 0.4, 30.0)
    flavour = hadron_flavour(ghosts, jet_of, len(jets.event))
    members = members_of(jets, candidates)
    primary_z = batch["Vertex"].first("Z")[jets.event]
    found = find_secondary_vertices(
        jets.eta, jets.phi, primary_z, members.offsets, members.index, candidates
    )
    central = np.abs(jets.eta) < 2.4
    with_vertex = np.diff(found.offsets) > 0
    efficiency = {f: with_vertex[central & (flavour == f)].mean() for f in (0, 4, 5)}
    assert efficiency[5] > 0.45
    assert efficiency[0] < 0.02
    assert efficiency[0] < efficiency[4] < efficiency[5] / 2

    # Purity: where a b or c hadron decayed in truth, which is where its products start. Delphes
    # moves stable particles alone to the primary vertex.
    daughters = ghosts.index[ghosts.hadron > 0]
    products = particles.offsets[particles.event[daughters]] + particles["D1"][daughters]
    truth = np.stack([particles[axis][products] for axis in "XYZ"], axis=1)
    moved = np.where(particles["Status"][products] == 1, 0, 1)
    truth[:, 2] += moved * batch["Vertex"].first("Z")[particles.event[products]]
    jet = np.repeat(np.arange(len(jets.event)), np.diff(found.offsets))
    distance = np.full(len(jet), np.inf)
    for row, own in enumerate(jets.event[jet]):
        position = found.x[row], found.y[row], found.z[row]
        candidates_here = truth[particles.event[products] == own]
        distance[row] = np.linalg.norm(candidates_here - position, axis=1).min(initial=np.inf)
    assert len(jet) > 100
    assert np.median(distance) < 0.5
    assert np.mean(distance < 2.0) > 0.8
