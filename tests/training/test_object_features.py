"""Features of event objects against the published formulas; augmentations against physics."""

import math

import numpy as np
import pytest
import torch

from ntuplizer.slots import B_JET, EMPTY, LEPTON, LIGHT_JET, MISSING
from training.data.object_features import (
    ETA,
    FEATURES,
    MASS,
    PHI,
    PT,
    PUBLISHED_EMPTY,
    TYPE,
    TYPE_FEATURES,
    Smearing,
    object_features,
    present,
    reflect,
    rotate,
    slots_of,
    smear,
    stack_objects,
)

TYPES = (LEPTON, MISSING, B_JET, B_JET, LIGHT_JET, LIGHT_JET)


@pytest.fixture
def objects() -> np.ndarray:
    """Return events with some slots empty, float32 (200, 6, 5)."""
    rng = np.random.default_rng(1)
    values = np.zeros((200, 6, 5), np.float32)
    values[..., PT] = rng.exponential(60, (200, 6))
    values[..., ETA] = rng.normal(0, 1.2, (200, 6))
    values[..., PHI] = rng.uniform(-np.pi, np.pi, (200, 6))
    values[..., MASS] = rng.exponential(10, (200, 6))
    values[..., TYPE] = TYPES
    values[:, 1, [ETA, MASS]] = 0
    values[rng.random((200, 6)) < 0.1] = EMPTY
    return values


def momenta(objects: np.ndarray) -> np.ndarray:
    """Return (E, px, py, pz), float64."""
    pt, eta, phi, mass = (objects[..., i].astype(np.float64) for i in range(4))
    p = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)], axis=-1)
    return np.concatenate([np.sqrt((p**2).sum(-1, keepdims=True) + mass[..., None] ** 2), p], -1)


def masses_squared(objects: np.ndarray) -> np.ndarray:
    """Return (p_i + p_j)² of all pairs."""
    p = momenta(objects)
    total = p[:, :, None] + p[:, None]
    return total[..., 0] ** 2 - (total[..., 1:] ** 2).sum(-1)


@pytest.mark.parametrize("empty", [PUBLISHED_EMPTY, 0.0])
def test_features_are_the_published_formulas(objects, empty):
    got = object_features(objects, empty)
    assert got.shape == (200, 6, len(FEATURES)) == (200, 6, 9)
    assert got.dtype == np.float32
    for event in range(50):
        for slot in range(6):
            pt, eta, phi, mass, kind = (float(v) for v in objects[event, slot])
            if kind == 0:
                expected = [empty] * 9
            else:
                expected = [
                    math.copysign(math.log10(abs(pt) + 1), pt),
                    0 if kind == 4 else eta,
                    math.sin(phi),
                    math.cos(phi),
                    math.log10(mass + 1),
                    *(float(kind == code) for code in (1, 2, 3, 4)),
                ]
            np.testing.assert_allclose(got[event, slot], expected, rtol=2e-6, atol=1e-7)
    np.testing.assert_array_equal(present(objects), objects[..., TYPE] > 0)
    one_hot = got[..., TYPE_FEATURES][present(objects)]
    np.testing.assert_array_equal(one_hot.sum(-1), 1)


def test_tensors_give_what_arrays_give(objects):
    rng = np.random.default_rng(2)
    angle = rng.uniform(-7, 7, 200).astype(np.float32)
    normal = rng.normal(size=(200, 6, 3)).astype(np.float32)
    flips = rng.random((2, 200)) < 0.5

    def chain(convert):
        changed = rotate(convert(objects), convert(angle))
        changed = reflect(changed, convert(flips[0]), convert(flips[1]))
        return object_features(smear(changed, convert(normal), Smearing()), 0.0)

    got = chain(torch.from_numpy)
    assert got.dtype == torch.float32
    np.testing.assert_allclose(got.numpy(), chain(lambda values: values), rtol=1e-5, atol=1e-5)


def test_turning_and_mirroring_keep_masses(objects):
    rng = np.random.default_rng(3)
    angle = rng.uniform(-np.pi, np.pi, 200).astype(np.float32)
    flips = rng.random((2, 200)) < 0.5
    expected = masses_squared(objects)
    for changed in (rotate(objects, angle), reflect(objects, *flips)):
        assert not np.array_equal(changed, objects)
        assert changed.dtype == np.float32
        np.testing.assert_allclose(masses_squared(changed), expected, rtol=2e-4, atol=1)
        assert (np.abs(changed[..., PHI]) <= np.float32(np.pi)).all()
        np.testing.assert_array_equal(changed[~present(objects)], 0)
    turned = momenta(rotate(objects, angle))
    before = momenta(objects)
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    np.testing.assert_allclose(
        turned[..., 1], cos * before[..., 1] - sin * before[..., 2], rtol=1e-3, atol=1e-3
    )
    mirrored = momenta(reflect(objects, *flips))
    signs = np.where(flips, -1, 1)[..., None]
    np.testing.assert_allclose(mirrored[..., 3], signs[0] * before[..., 3], rtol=1e-5)
    np.testing.assert_allclose(mirrored[..., 2], signs[1] * before[..., 2], rtol=1e-5)
    np.testing.assert_array_equal(reflect(reflect(objects, *flips), *flips), objects)


def test_smearing_has_the_widths_asked_for():
    n = 40_000
    objects = np.zeros((n, 6, 5), np.float32)
    objects[..., PT], objects[..., MASS], objects[..., TYPE] = 50, 10, TYPES
    objects[:, 1, MASS] = 0
    objects[: n // 2, 5] = 0
    normal = np.random.default_rng(4).normal(size=(n, 6, 3)).astype(np.float32)
    smearing = Smearing(pt=(0.02, 0.1, 0.15, 0.2), angle=(0.001, 0.02, 0.03, 0.2))
    changed = smear(objects, normal, smearing)
    np.testing.assert_array_equal(changed[: n // 2, 5], 0)
    filled = changed[n // 2 :]
    widths = np.log(filled[..., PT] / 50).std(0)
    np.testing.assert_allclose(widths, [0.02, 0.2, 0.1, 0.1, 0.15, 0.15], rtol=0.03)
    np.testing.assert_allclose(
        filled[..., PHI].std(0), [0.001, 0.2, 0.02, 0.02, 0.03, 0.03], rtol=0.03
    )
    np.testing.assert_allclose(
        filled[..., ETA].std(0), [0.001, 0, 0.02, 0.02, 0.03, 0.03], rtol=0.03
    )
    # Masses scale with the momentum.
    np.testing.assert_allclose(filled[:, 2:, MASS] * 5, filled[:, 2:, PT], rtol=1e-5)
    nothing = smear(objects, np.zeros_like(normal), smearing)
    np.testing.assert_allclose(nothing, objects, atol=1e-6)


def test_columns_of_any_number_of_slots_are_stacked():
    names = ["lepton", "met", "bjet1", "jet1"]
    columns = {"process": np.array(["a", "b"]), "batch": np.array([1, 2]), "event": np.zeros(2)}
    for i, slot in enumerate(names):
        for j, q in enumerate(("pt", "eta", "phi", "mass", "type")):
            columns[f"{slot}_{q}"] = np.array([10 * i + j, 100 + 10 * i + j])
    assert slots_of(columns) == names
    objects = stack_objects(columns)
    assert objects.shape == (2, 4, 5)
    assert objects.dtype == np.float32
    assert objects[1, 2].tolist() == [120, 121, 122, 123, 124]
