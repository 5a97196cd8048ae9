"""Angles and masses with the conventions of ROOT's vectors at their singular points."""

import numpy as np
from numpy.typing import NDArray

# m/s, exact.
SPEED_OF_LIGHT = 2.99792458e8

# What Delphes writes for a momentum along the beam.
ETA_ALONG_BEAM = 999.9


def pseudorapidity(
    x: NDArray[np.float64], y: NDArray[np.float64], z: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the pseudorapidity of vectors; 0 for null ones, ±999.9 along the beam."""
    transverse = magnitude(x, y)
    along = np.where(z == 0.0, 0.0, np.copysign(ETA_ALONG_BEAM, z))
    safe = np.where(transverse > 0.0, transverse, 1.0)
    return np.where(transverse > 0.0, np.arcsinh(z / safe), along)


def magnitude(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the length of vectors in the plane; faster than `hypot`, which heeds overflow."""
    return np.sqrt(x * x + y * y)


def azimuth(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the azimuthal angle of vectors in (-π, π]; 0 for null ones."""
    # The zero that is added has a sign to lose: scaled to nothing, a momentum is (-0, 0).
    return np.arctan2(y, x + 0.0)


def invariant_mass(
    px: NDArray[np.float64],
    py: NDArray[np.float64],
    pz: NDArray[np.float64],
    e: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the invariant mass; -sqrt(-m²) for space-like vectors, as ROOT does."""
    m2 = e * e - (px * px + py * py + pz * pz)
    return np.copysign(np.sqrt(np.abs(m2)), m2)
