"""Helices in a solenoid's field, by the five parameters of Delphes' `TrackCovariance`.

Units are metres, GeV and tesla. With the charge Q, the transverse momentum pT and the field B, a
helix has

- D, the signed distance of closest approach to the beam line (where x = -D sin φ₀, y = D cos φ₀);
- φ₀, the direction of the momentum there;
- C = -0.2998 Q B / (2 pT), half of the signed curvature;
- z₀, and the cotangent of the polar angle.

The phase, 2 C times the path in the transverse plane, is the angle by which the momentum turns.
"""

import numpy as np
from numpy.typing import NDArray

from generation.fastsim.candidates import Candidates
from generation.fastsim.kinematics import SPEED_OF_LIGHT, azimuth

# GeV of transverse momentum for each tesla and metre of radius.
GEV_PER_TESLA_METRE = SPEED_OF_LIGHT * 1e-9
# A place this close to the beam line, in metres, lies on it.
ON_BEAM_LINE = 1e-10

Parameters = NDArray[np.float64]


def helices(particles: Candidates, charge: NDArray, field: float) -> Parameters:
    """Return the helices on which particles fly.

    Parameters
    ----------
    particles
        Charged particles where they were made, in mm and GeV.
    charge
        (n,) their charges.
    field
        Along z, T.

    Returns
    -------
    numpy.ndarray
        (5, n): D, φ₀, C, z₀ in metres, and the cotangent of the polar angle.
    """
    x, y, z = (1e-3 * particles[name] for name in ("x", "y", "z"))
    x, y = (np.where(np.abs(place) < ON_BEAM_LINE, 0.0, place) for place in (x, y))
    px, py, pt = particles["px"], particles["py"], particles["pt"]
    cotangent = particles["pz"] / pt
    bend = -charge * field * GEV_PER_TESLA_METRE
    r2, cross = x * x + y * y, x * py - y * px
    at_approach = np.sqrt(pt * pt - 2.0 * bend * cross + bend * bend * r2)
    phi = np.arctan2(py - bend * x, px + bend * y)
    turned = np.remainder(azimuth(px, py) - phi + np.pi, 2.0 * np.pi) - np.pi
    return np.stack(
        [
            (bend * r2 - 2.0 * cross) / (at_approach + pt),
            phi,
            bend / (2.0 * pt),
            z - pt * cotangent * turned / bend,
            cotangent,
        ]
    )


def point_of_approach(helix: Parameters) -> NDArray[np.float64]:
    """Return where helices come closest to the beam line, (3, n) in metres."""
    distance, phi, _, z, _ = helix
    return np.stack([-distance * np.sin(phi), distance * np.cos(phi), z])


def momentum_at_approach(helix: Parameters, field: float) -> NDArray[np.float64]:
    """Return the momenta where helices come closest to the beam line, (3, n) in GeV."""
    _, phi, half_curvature, _, cotangent = helix
    pt = field * GEV_PER_TESLA_METRE / np.abs(2.0 * half_curvature)
    return pt * np.stack([np.cos(phi), np.sin(phi), cotangent])


def length_in_cylinder(
    helix: Parameters, radius_min: float, radius_max: float, z_min: float, z_max: float
) -> NDArray[np.float64]:
    """Return the length of helices within a hollow cylinder, up to where they first leave it.

    As in Delphes, a helix is in the cylinder between the first two of its walls that it meets.

    Parameters
    ----------
    helix
        (5, n) parameters.
    radius_min, radius_max, z_min, z_max
        The walls, m.

    Returns
    -------
    numpy.ndarray
        (n,) lengths, m; 0 where fewer than two walls are met.
    """
    distance, _, curvature, z0, cotangent = helix
    stretch = 1.0 + 2.0 * curvature * distance
    farthest = np.abs((1.0 + curvature * distance) / curvature)

    def at_radius(radius: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return the phase at which a cylinder is met first, and whether it is met at all."""
        meets = (farthest > radius) & (np.abs(distance) < radius)
        root = np.sqrt(np.maximum(radius**2 - distance**2, 0.0) / stretch)
        return 2.0 * np.arcsin(np.clip(curvature * root, -1.0, 1.0)), meets

    def within_ends(phase: NDArray[np.float64]) -> NDArray[np.bool_]:
        z = z0 + cotangent * phase / (2.0 * curvature)
        return (z > z_min) & (z < z_max)

    def at_end(z: float) -> NDArray[np.float64]:
        path = np.divide(z - z0, cotangent, out=np.full_like(z0, -1.0), where=cotangent != 0.0)
        phase = 2.0 * curvature * path
        r = np.sqrt(distance**2 + stretch * (np.sin(phase / 2.0) / curvature) ** 2)
        return np.where((path > 0.0) & (r < radius_max) & (r > radius_min), np.abs(phase), np.inf)

    inner, meets_inner = at_radius(radius_min)
    outer, meets_outer = at_radius(radius_max)
    back_at_inner = np.copysign(2.0 * np.pi - np.abs(inner), inner)
    phases = np.stack(
        [
            np.where(meets & within_ends(phase), np.abs(phase), np.inf)
            for phase, meets in (
                (inner, meets_inner),
                (back_at_inner, meets_inner),
                (outer, meets_outer),
            )
        ]
        + [at_end(z_min), at_end(z_max)]
    )
    phases = np.sort(np.where(phases > 0.0, phases, np.inf), axis=0)
    scale = np.sqrt(1.0 + cotangent**2) / (2.0 * np.abs(curvature))
    crossed = np.isfinite(phases[1])
    turned = np.subtract(phases[1], phases[0], out=np.zeros_like(z0), where=crossed)
    return turned * scale
