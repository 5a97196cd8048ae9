"""Event objects as a network's inputs: nine features each, and changes that keep the physics.

Features are those of hepfoundation (arXiv:2312.06909). All functions take NumPy arrays or PyTorch
tensors, on any device, and return the same kind; what is random is drawn by the caller, in the
type of the objects.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ntuplizer.slots import B_JET, EMPTY, LEPTON, LIGHT_JET, MISSING

if TYPE_CHECKING:
    import torch

    Array = TypeVar("Array", np.ndarray, torch.Tensor)

# Last axis of objects, in order.
QUANTITIES = ("pt", "eta", "phi", "mass", "type")
PT, ETA, PHI, MASS, TYPE = range(5)
# Types of what fills a slot, in the order of the features that tell them.
FILLED = (LEPTON, B_JET, LIGHT_JET, MISSING)

FEATURES = (
    "sign(pT) log10(|pT| / GeV + 1)",
    "η, 0 for missing momentum",
    "sin φ",
    "cos φ",
    "log10(m / GeV + 1)",
    "is lepton",
    "is b-jet",
    "is light jet",
    "is missing momentum",
)
# Which of the features tell the type.
TYPE_FEATURES = slice(5, 9)
# What an empty slot has in all features as published; with a mask it has 0.
PUBLISHED_EMPTY = -99.0


def slots_of(columns: Iterable[str]) -> list[str]:
    """Return the names of the slots that event-object columns have, in their order."""
    return [name.removesuffix("_type") for name in columns if name.endswith("_type")]


def stack_objects(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the objects of event-object columns, float32 (n_events, n_slots, 5)."""
    slots = [[columns[f"{slot}_{q}"] for q in QUANTITIES] for slot in slots_of(columns)]
    return np.moveaxis(np.asarray(slots, np.float32), 2, 0)


def present(objects: "Array") -> "Array":
    """Return which slots are filled, bool (..., n_slots)."""
    return objects[..., TYPE] != EMPTY


def object_features(objects: "Array", empty: float) -> "Array":
    """Return the features of objects.

    Parameters
    ----------
    objects
        (..., 5): pT, η, φ, mass and type, GeV and radian.
    empty
        All features of an empty slot: `PUBLISHED_EMPTY`, or 0 for a network that gets `present`
        as a mask.

    Returns
    -------
    array or tensor
        (..., 9): `FEATURES`.
    """
    library = _library(objects)
    kind, phi = objects[..., TYPE], objects[..., PHI]
    columns = [
        _signed_log(objects[..., PT]),
        objects[..., ETA] * (kind != MISSING),
        library.sin(phi),
        library.cos(phi),
        _signed_log(objects[..., MASS]),
    ]
    for code in FILLED:
        columns.append(library.where(kind == code, 1.0, 0 * kind))
    filled = present(objects)[..., None]
    return library.where(filled, library.stack(columns, axis=-1), empty)


def _signed_log(values: "Array") -> "Array":
    library = _library(values)
    return library.sign(values) * library.log10(library.abs(values) + 1)


def rotate(objects: "Array", angle: "Array") -> "Array":
    """Turn events around the beam.

    Parameters
    ----------
    objects
        (n_events, n_slots, 5).
    angle
        (n_events,), radian.
    """
    return _replaced(objects, phi=_wrapped(objects[..., PHI] + angle[:, None]))


def reflect(objects: "Array", flip_eta: "Array", flip_phi: "Array") -> "Array":
    """Mirror events along the beam and in the transverse plane.

    Parameters
    ----------
    objects
        (n_events, n_slots, 5).
    flip_eta, flip_phi
        bool (n_events,): whose η, and whose φ, change sign.
    """
    library = _library(objects)
    eta, phi = objects[..., ETA], objects[..., PHI]
    return _replaced(
        objects,
        eta=library.where(flip_eta[:, None], -eta, eta),
        phi=library.where(flip_phi[:, None], -phi, phi),
    )


@dataclass(frozen=True)
class Smearing:
    """How far objects are smeared, of the order of the detector's resolution.

    Attributes
    ----------
    pt
        Relative width of pT of leptons, b-jets, light jets and missing momentum; masses go along.
    angle
        Width of η and φ, radian.
    """

    pt: tuple[float, float, float, float] = (0.02, 0.12, 0.12, 0.20)
    angle: tuple[float, float, float, float] = (0.001, 0.02, 0.02, 0.20)


def smear(objects: "Array", normal: "Array", smearing: Smearing) -> "Array":
    """Measure objects once more.

    Parameters
    ----------
    objects
        (n_events, n_slots, 5).
    normal
        (n_events, n_slots, 3): standard normal numbers, for ln pT, η and φ.
    smearing
        The widths.
    """
    library = _library(objects)
    kind = objects[..., TYPE]
    angle = _by_type(kind, smearing.angle)
    factor = library.exp(normal[..., 0] * _by_type(kind, smearing.pt))
    return _replaced(
        objects,
        pt=objects[..., PT] * factor,
        eta=objects[..., ETA] + normal[..., 1] * angle * (kind != MISSING),
        phi=_wrapped(objects[..., PHI] + normal[..., 2] * angle),
        mass=objects[..., MASS] * factor,
    )


def _by_type(kind: "Array", values: Iterable[float]) -> "Array":
    """Return the value of each object's type, 0 for empty slots."""
    library = _library(kind)
    chosen = 0 * kind
    for code, value in zip(FILLED, values, strict=True):
        chosen = library.where(kind == code, value, chosen)
    return chosen


def _replaced(objects: "Array", **changed: "Array") -> "Array":
    """Return objects with other values for some quantities; empty slots stay as they are."""
    library = _library(objects)
    filled = present(objects)
    columns = [
        library.where(filled, changed[quantity], objects[..., i])
        if quantity in changed
        else objects[..., i]
        for i, quantity in enumerate(QUANTITIES)
    ]
    return library.stack(columns, axis=-1)


def _wrapped(phi: "Array") -> "Array":
    """Return azimuths in [−π, π)."""
    return (phi + np.pi) % (2 * np.pi) - np.pi


def _library(values: "Array") -> ModuleType:
    if isinstance(values, np.ndarray):
        return np
    import torch

    return torch
