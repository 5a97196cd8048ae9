"""The trees' features against other formulas, and what trees can and cannot tell with them."""

import numpy as np
import pytest
import vector
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from ntuplizer.slots import B_JET, LEPTON, LIGHT_JET, MISSING
from training.baselines.event_trees import (
    FEATURE_SETS,
    W_MASS,
    TreeScore,
    auc_with_error,
    kinematic_features,
    mass_features,
    neutrino,
    summarise,
    tree_score,
)


@pytest.fixture(autouse=True)
def one_thread():
    """Threads of so small a training mostly wait for each other on a busy machine."""
    with threadpool_limits(1):
        yield


TYPES = (LEPTON, MISSING, B_JET, B_JET, LIGHT_JET, LIGHT_JET)


def random_objects(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    objects = np.zeros((n, 6, 5), np.float32)
    objects[..., 0] = 20 + rng.exponential(50, (n, 6))
    objects[..., 1] = rng.normal(0, 1.2, (n, 6))
    objects[..., 2] = rng.uniform(-np.pi, np.pi, (n, 6))
    objects[:, 2:, 3] = rng.exponential(10, (n, 4))
    objects[..., 4] = TYPES
    objects[:, 1, [1, 3]] = 0
    return objects


def decay(mass: np.ndarray, boost: np.ndarray, rng) -> tuple[np.ndarray, np.ndarray]:
    """Decay particles of momentum `boost` (n, 3) into two massless ones: (n, 4) each."""
    n = len(mass)
    cosine, phi = rng.uniform(-1, 1, n), rng.uniform(0, 2 * np.pi, n)
    sine = np.sqrt(1 - cosine**2)
    axis = np.stack([sine * np.cos(phi), sine * np.sin(phi), cosine], 1)
    energy = np.sqrt(mass**2 + (boost**2).sum(1))
    products = []
    for sign in (1, -1):
        p = sign * axis * mass[:, None] / 2
        gamma, beta = energy / mass, boost / energy[:, None]
        along = (beta * p).sum(1)
        factor = gamma * along * gamma / (gamma + 1) + gamma * mass / 2
        moved = p + beta * factor[:, None]
        products.append(np.column_stack([np.sqrt((moved**2).sum(1)), moved]))
    return products[0], products[1]


def as_object(momentum: np.ndarray, kind: int) -> np.ndarray:
    pt = np.hypot(momentum[:, 1], momentum[:, 2])
    eta, phi = np.arcsinh(momentum[:, 3] / pt), np.arctan2(momentum[:, 2], momentum[:, 1])
    return np.stack([pt, eta, phi, np.zeros(len(pt)), np.full(len(pt), kind)], 1)


def test_neutrinos_of_w_bosons_are_found():
    rng = np.random.default_rng(1)
    boost = rng.normal(0, [60, 60, 200], (5000, 3))
    lepton, nu = decay(np.full(5000, W_MASS), boost, rng)
    missing = nu * [1, 1, 1, 0]
    found = neutrino(lepton, missing)
    total = lepton + found
    mass = np.sqrt(total[:, 0] ** 2 - (total[:, 1:] ** 2).sum(1))
    np.testing.assert_allclose(mass, W_MASS, rtol=1e-5)
    np.testing.assert_allclose(found[:, 1:3], nu[:, 1:3])
    # The truth is one of two solutions, and the smaller one more often.
    right = np.isclose(found[:, 3], nu[:, 3], rtol=1e-3, atol=0.1)
    assert 0.6 < right.mean() < 0.9
    assert (np.abs(found[~right, 3]) < np.abs(nu[~right, 3])).all()


def test_without_a_real_solution_the_mass_is_above_that_of_the_w():
    """A transverse mass above m_W leaves none; the real part gives the transverse mass then."""
    lepton = np.array([[50.0, 50.0, 0.0, 0.0]])
    missing = np.array([[100.0, -100.0, 0.0, 0.0]])
    total = lepton + neutrino(lepton, missing)
    mass = np.sqrt(total[:, 0] ** 2 - (total[:, 1:] ** 2).sum(1))
    assert mass[0] == pytest.approx(np.sqrt(4 * 50 * 100), rel=1e-6)


def test_masses_are_those_of_another_library():
    objects = random_objects(300, 2)
    pt, eta, phi, mass, _ = np.moveaxis(objects.astype(float), 2, 0)
    lepton, missing, b1, b2, j1, j2 = (
        vector.array({"pt": pt[:, i], "eta": eta[:, i], "phi": phi[:, i], "mass": mass[:, i]})
        for i in range(6)
    )
    e, px, py, pz = neutrino(
        np.stack([lepton.E, lepton.px, lepton.py, lepton.pz], 1),
        np.stack([missing.E, missing.px, missing.py, missing.pz], 1),
    ).T
    nu = vector.array({"E": e, "px": px, "py": py, "pz": pz})
    got = mass_features(objects)
    expected = {
        "m_jj": j1 + j2, "m_bb": b1 + b2, "m_lnu": lepton + nu, "m_b1jj": b1 + j1 + j2,
        "m_b2jj": b2 + j1 + j2, "m_b1lnu": b1 + lepton + nu, "m_b2lnu": b2 + lepton + nu,
        "m_b1l": b1 + lepton, "m_b2l": b2 + lepton, "m_bbjj": b1 + b2 + j1 + j2,
        "m_bblnu": b1 + b2 + lepton + nu, "m_jjlnu": j1 + j2 + lepton + nu,
        "m_bbjjlnu": b1 + b2 + j1 + j2 + lepton + nu,
    }  # fmt: skip
    assert set(got) == {*expected, "mt_lnu"}
    for name, total in expected.items():
        np.testing.assert_allclose(got[name], total.mass, rtol=1e-4, atol=1e-2)
    assert (got["mt_lnu"] <= got["m_lnu"] * (1 + 1e-6)).all()


def test_missing_objects_leave_their_masses_open():
    objects = random_objects(3, 3)
    objects[0, 5] = 0
    objects[1, 0] = 0
    got = mass_features(objects)
    assert np.isnan([got[name][0] for name in ("m_jj", "m_b1jj", "m_bbjj", "m_bbjjlnu")]).all()
    assert np.isnan([got[name][1] for name in ("m_lnu", "m_bblnu", "m_b1l", "mt_lnu")]).all()
    assert np.isfinite([got[name][0] for name in ("m_bb", "m_lnu", "m_bblnu")]).all()
    assert np.isfinite([values[2] for values in got.values()]).all()
    kinematic = kinematic_features(objects)
    assert np.isnan(kinematic["pt_5"][0])
    assert kinematic["pt_5"][2] == objects[2, 5, 0]
    assert len(kinematic) == 24


@pytest.mark.parametrize("digits", [9, 1])
def test_auc_is_that_of_scikit_learn(digits):
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 2, 3000)
    scores = np.round(rng.normal(labels * 0.8, 1), digits)  # one digit makes many ties
    auc, error = auc_with_error(labels, scores, rng)
    assert auc == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    # Hanley and McNeil, Radiology 143 (1982) 29.
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    n1, n0 = labels.sum(), (1 - labels).sum()
    variance = auc * (1 - auc) + (n1 - 1) * (q1 - auc**2) + (n0 - 1) * (q2 - auc**2)
    assert error == pytest.approx(np.sqrt(variance / (n1 * n0)), rel=0.15)


def resonances(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Make events where two light jets come from 80 GeV (1), or from anything (0)."""
    rng = np.random.default_rng(seed)
    objects, labels = random_objects(n, seed), np.arange(n) % 2
    mass = np.where(labels == 1, 80.0, rng.uniform(40, 120, n))
    first, second = decay(mass, rng.normal(0, [60, 60, 150], (n, 3)), rng)
    pair = np.stack([as_object(p, LIGHT_JET) for p in (first, second)], 1)
    objects[:, 4:] = np.take_along_axis(pair, np.argsort(-pair[:, :, 0], 1)[..., None], 1)
    return objects, labels


def test_trees_find_a_resonance_in_masses_sooner_than_in_momenta():
    train, test = resonances(4000, 5), resonances(6000, 6)
    scores = {name: tree_score(name, train, test, 600, 1) for name in FEATURE_SETS}
    assert scores["masses"].auc > 0.9
    assert scores["objects and masses"].auc > 0.9
    assert scores["objects"].auc < scores["masses"].auc - 0.1
    assert 0 < scores["objects"].auc_error < 0.01
    assert tree_score("masses", train, test, 600, 1) == scores["masses"]
    other = tree_score("masses", train, test, 600, 2)
    assert other.auc != scores["masses"].auc


def test_labels_without_meaning_are_not_learnt():
    train, test = resonances(2000, 7), resonances(4000, 8)
    shuffled = np.random.default_rng(9).permutation(train[1])
    score = tree_score("masses", (train[0], shuffled), test, 500, 1)
    assert abs(score.auc - 0.5) < 0.06


def test_more_events_than_there_are_cannot_be_drawn():
    train = resonances(100, 10)
    with pytest.raises(ValueError, match="larger sample"):
        tree_score("masses", train, train, 51, 1)


def test_seeds_are_summarised_by_features_and_size():
    scores = [TreeScore("masses", 100, seed, auc, 0.1) for seed, auc in enumerate((0.6, 0.7, 0.8))]
    scores.append(TreeScore("objects", 100, 1, 0.5, 0.1))
    mean, error = summarise(scores)["masses", 100]
    assert mean == pytest.approx(0.7)
    assert error == pytest.approx(0.1 / np.sqrt(3))
    assert len(summarise(scores)) == 1
