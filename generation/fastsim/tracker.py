"""Covariances of track parameters from the layers of a tracker, by a Kalman filter.

What measures and what scatters a track is a list of cylinders and discs. The filter follows the
true helix from the last layer that measures to the first. At each it takes in the measurements and
the multiple scattering; nothing is smeared on the way (F. Bedeschi's method in Delphes after
3.5.0). It carries a square root of the covariance along, because the first errors are some 10⁵
times the last ones. The parameters are those of `generation.fastsim.helix`.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from generation.fastsim.kernels import inlined, kernel

CYLINDER, DISC = 1, 2
# Columns of a layer, with the words that are no numbers left out.
KIND, LOW, HIGH, PLACE, THICKNESS, RADIATION_LENGTH, MEASUREMENTS = range(7)
ANGLE, OTHER_ANGLE, RESOLUTION, OTHER_RESOLUTION, EFFICIENCY = range(7, 12)
COLUMNS = 12
LABEL = 1

# The filter begins with errors that tell nothing.
FIRST_ERROR = math.sqrt(10.0)
# Of Highland's formula for the angle of multiple scattering.
SCATTERING, LOGARITHM = 0.0136, 0.038
# Where a helix touches a cylinder, derivatives at constant radius would diverge.
SMALLEST_COSINE = 0.01


@dataclass(frozen=True)
class Tracker:
    """The layers of a tracker.

    Attributes
    ----------
    layers
        (n_layers, 12) what each is: cylinder (1) or disc (2); between which z or radii it lies; its
        radius or z; thickness and radiation length; how many coordinates it measures; the stereo
        angles and the resolutions of both; its efficiency, 0 where it only scatters. In metres.
    radius_min, z_min, z_max
        The box of the innermost cylinder and discs, m.
    """

    layers: NDArray[np.float64]
    radius_min: float
    z_min: float
    z_max: float

    @classmethod
    def read(cls, text: str) -> "Tracker":
        """Read a card's `DetectorGeometry`; lines that describe no layer are passed over."""
        layers = [layer for line in text.splitlines() if (layer := _layer(line)) is not None]
        table = np.array(layers, np.float64).reshape(-1, COLUMNS)
        radii = table[table[:, KIND] == CYLINDER, PLACE]
        ends = table[table[:, KIND] == DISC, PLACE]
        return cls(
            table,
            radius_min=float(np.min(radii, initial=np.inf)),
            z_min=float(np.max(ends[ends < 0.0], initial=-np.inf)),
            z_max=float(np.min(ends[ends > 0.0], initial=np.inf)),
        )

    @property
    def always_measures(self) -> bool:
        """Whether no layer misses a track by chance."""
        efficiency = self.layers[:, EFFICIENCY]
        return bool(np.all((efficiency <= 0.0) | (efficiency >= 1.0)))


def _layer(line: str) -> list[float] | None:
    words = line.split()[: COLUMNS + 1]
    if len(words) <= COLUMNS:
        return None
    try:
        return [float(word) for word in words[:LABEL] + words[LABEL + 1 :]]
    except ValueError:
        return None


def track_covariances(
    tracker: Tracker,
    helix: NDArray[np.float64],
    radius: NDArray[np.float64],
    pt: NDArray[np.float64],
    mass: NDArray[np.float64],
    chance: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the covariance of the parameters of tracks, and how much of them is measured.

    Parameters
    ----------
    tracker
        What measures.
    helix
        (5, n) true parameters.
    radius
        (n,) distance from the beam line at which each particle was made, m: layers within are not
        hit.
    pt, mass
        (n,) true transverse momentum and mass, GeV.
    chance
        (n, n_layers) uniform random numbers: a layer with one below its efficiency measures. With
        one row, it is every track's.

    Returns
    -------
    root
        (n, 5, 5) matrices R: the covariances are Rᵀ R, in metres.
    counts
        (3, n) layers hit that measure, coordinates that they could measure, and those that they
        did.
    """
    n, n_layers = helix.shape[1], len(tracker.layers)
    root, counts = np.zeros((n, 5, 5)), np.zeros((3, n), np.int64)
    _filter(
        tracker.layers, np.ascontiguousarray(helix.T), radius, pt, mass, chance, root, counts,
        np.empty((2, n_layers), np.int64), np.empty((2, n_layers)), np.empty((11, 5)),
    )  # fmt: skip
    return root, counts


@kernel()
def _filter(layers, helix, radius, pt, mass, chance, root, counts, numbers, places, memory):
    """Fill in root and counts of each track; the last three are working memory."""
    hit, order = numbers
    path, place = places
    rows, seen, pulled = memory[:2], memory[2], memory[3]
    # The root, and below it how scattering moves the parameters.
    stack = memory[4:]
    for track in range(len(helix)):
        parameters = helix[track]
        draws = chance[track if len(chance) > 1 else 0]
        n_hit = _hits(layers, parameters, radius[track], hit, path, place)
        _sort(path, n_hit, order)
        last = -1
        for k in range(n_hit):
            layer = layers[hit[order[k]]]
            if layer[EFFICIENCY] > 0.0:
                counts[0, track] += 1
                counts[1, track] += int(layer[MEASUREMENTS])
                last = k
        stack[:] = 0.0
        for i in range(5):
            stack[i, i] = FIRST_ERROR
        for k in range(last, -1, -1):
            index = hit[order[k]]
            layer = layers[index]
            phase = 2.0 * parameters[2] * path[order[k]]
            if layer[EFFICIENCY] > draws[index]:
                measured = int(layer[MEASUREMENTS])
                counts[2, track] += measured
                _derivatives(layer, parameters, phase, place[order[k]], rows)
                for coordinate in range(measured):
                    error = layer[RESOLUTION + coordinate]
                    _measure(rows[coordinate], error, stack, seen, pulled)
            # It turns the track about the place of the layer, which the layer does not see.
            _scattering(layer, parameters, phase, pt[track], mass[track], stack[5:])
            _triangulate(stack)
        root[track] = stack[:5]


@inlined
def _hits(layers, parameters, radius, hit, path, place):
    """Fill in which layers a helix hits within its first half turn, at which path, and where.

    `path` is the way in the transverse plane from the closest approach, `place` the radius where a
    disc is hit.
    """
    distance, _, curvature, z0, cotangent = parameters
    stretch = 1.0 + 2.0 * curvature * distance
    start = max(radius, abs(distance))
    begin = math.asin(
        max(-1.0, min(1.0, curvature * math.sqrt((start**2 - distance**2) / stretch)))
    ) / curvature  # fmt: skip
    n_hit = 0
    for i in range(len(layers)):
        layer = layers[i]
        if layer[KIND] == CYLINDER:
            r = layer[PLACE]
            if r <= start:
                continue
            sine = curvature * math.sqrt((r * r - distance**2) / stretch)
            if abs(sine) >= 1.0:
                continue
            way = math.asin(sine) / curvature
            if not layer[LOW] < z0 + cotangent * way < layer[HIGH]:
                continue
        else:
            if cotangent == 0.0:
                continue
            way = (layer[PLACE] - z0) / cotangent
            if abs(curvature * way) >= 1.0 or way <= begin:
                continue
            r = math.sqrt(distance**2 + stretch * (math.sin(curvature * way) / curvature) ** 2)
            if not layer[LOW] < r < layer[HIGH]:
                continue
        if abs((curvature * r + (1.0 + curvature * distance) * distance / r) / stretch) >= 1.0:
            continue
        hit[n_hit], path[n_hit], place[n_hit] = i, way, r
        n_hit += 1
    return n_hit


@inlined
def _sort(path, n_hit, order):
    """Fill in the order in which a track meets the layers that it hits."""
    for k in range(n_hit):
        j = k
        while j > 0 and abs(path[order[j - 1]]) > abs(path[k]):
            order[j] = order[j - 1]
            j -= 1
        order[j] = k


@inlined
def _scattering(layer, parameters, phase, pt, mass, kick):
    """Fill in how scattering in a layer, by one standard deviation, moves the parameters.

    The first row is for the angle in the transverse plane, the second for the other.
    """
    distance, phi, curvature, _, cotangent = parameters
    cos, sin = math.cos(phase + phi), math.sin(phase + phi)
    stretched = math.sqrt(1.0 + cotangent * cotangent)
    p = pt * stretched
    # Where the helix is, seen from where it comes closest to the beam line.
    x = -distance * math.sin(phi) + (sin - math.sin(phi)) / (2.0 * curvature)
    y = distance * math.cos(phi) - (cos - math.cos(phi)) / (2.0 * curvature)
    if layer[KIND] == CYLINDER:
        normal = abs(cos * x + sin * y) / math.sqrt(x * x + y * y) / stretched
    else:
        normal = abs(cotangent) / stretched
    thickness = layer[THICKNESS] / (normal * layer[RADIATION_LENGTH])
    beta = p / math.sqrt(mass * mass + p * p)
    angle = 0.0
    if thickness > 0.0:
        angle = SCATTERING * math.sqrt(thickness) / (beta * p)
        angle *= 1.0 + LOGARITHM * math.log(thickness / (beta * beta))
    # Changes of the momentum, in units of pT; the place stays.
    for row in range(2):
        if row == 0:
            dx, dy, dz = -sin * stretched, cos * stretched, 0.0
        else:
            dx, dy, dz = cos * cotangent, sin * cotangent, -1.0
        bend = 2.0 * curvature
        # The momentum at closest approach is along (along_x, along_y), with this length.
        along_x, along_y = cos + bend * y, sin - bend * x
        length2 = along_x * along_x + along_y * along_y
        length = math.sqrt(length2)
        d_length = (along_x * dx + along_y * dy) / length
        d_pt = cos * dx + sin * dy
        d_phi = (along_x * dy - along_y * dx) / length2
        d_direction = cos * dy - sin * dx
        kick[row, 0] = angle * (d_length - d_pt) / bend
        kick[row, 1] = angle * d_phi
        kick[row, 2] = -angle * curvature * d_pt
        kick[row, 3] = -angle * (cotangent * (d_direction - d_phi) + phase * dz) / bend
        kick[row, 4] = angle * (dz - cotangent * d_pt)


@inlined
def _derivatives(layer, parameters, phase, r, rows):
    """Fill in the derivatives of what a layer measures with respect to the parameters."""
    distance, phi, curvature, _, cotangent = parameters
    cos, sin = math.cos(phase + phi), math.sin(phase + phi)
    cos0, sin0 = math.cos(phi), math.sin(phi)
    bend = 2.0 * curvature
    x = -distance * sin0 + (sin - sin0) / bend
    y = distance * cos0 - (cos - cos0) / bend
    # How the phase at the layer moves with D, C, z₀ and cot θ.
    if layer[KIND] == CYLINDER:
        stretch = 1.0 + bend * distance
        half = math.sin(phase / 2.0)
        cosine = max(SMALLEST_COSINE, math.sqrt(max(0.0, 1.0 - half * half)))
        by_distance = -2.0 * curvature**2 / (half * cosine * stretch**2)
        by_distance *= distance * (1.0 + curvature * distance) + curvature * r * r
        by_curvature = 2.0 * half * (1.0 + curvature * distance)
        by_curvature /= curvature * cosine * stretch
        by_z, by_cotangent = 0.0, 0.0
    else:
        by_distance, by_curvature = 0.0, phase / curvature
        by_z, by_cotangent = -bend / cotangent, -phase / cotangent
    for row in range(2):
        if layer[KIND] == CYLINDER:
            stereo = layer[ANGLE + row]
            across, along_z, outwards = math.cos(stereo), -math.sin(stereo), 0.0
        else:
            # Both sides of a disc measure at right angles: r φ, then r.
            across, along_z, outwards = 1.0 - row, 0.0, float(row)
        ux, uy = (-across * y + outwards * x) / r, (across * x + outwards * y) / r
        by_phase = (ux * cos + uy * sin + along_z * cotangent) / bend
        rows[row, 0] = -ux * sin0 + uy * cos0 + by_phase * by_distance
        rows[row, 1] = ux * (-distance * cos0 + (cos - cos0) / bend)
        rows[row, 1] += uy * (-distance * sin0 + (sin - sin0) / bend)
        rows[row, 2] = (-ux * (sin - sin0) + uy * (cos - cos0)) / (bend * curvature)
        rows[row, 2] += -along_z * cotangent * phase / (bend * curvature) + by_phase * by_curvature
        rows[row, 3] = along_z + by_phase * by_z
        rows[row, 4] = along_z * phase / bend + by_phase * by_cotangent


@inlined
def _measure(row, error, root, seen, pulled):
    """Take a measurement, whose derivatives are `row`, into the root of a covariance (Potter)."""
    variance = error * error
    total = variance
    for k in range(5):
        seen[k] = 0.0
        for i in range(5):
            seen[k] += root[k, i] * row[i]
        total += seen[k] * seen[k]
    for i in range(5):
        pulled[i] = 0.0
        for k in range(5):
            pulled[i] += root[k, i] * seen[k]
    factor = 1.0 / (total + error * math.sqrt(total))
    for k in range(5):
        for i in range(5):
            root[k, i] -= factor * seen[k] * pulled[i]


@inlined
def _triangulate(stack):
    """Make of seven rows five whose covariance is the same, by Householder's reflections."""
    for j in range(5):
        norm2 = 0.0
        for k in range(j, 7):
            norm2 += stack[k, j] * stack[k, j]
        if norm2 == 0.0:
            continue
        turned = -math.copysign(math.sqrt(norm2), stack[j, j])
        # Of the reflection's vector, the first element; the others stand below the diagonal.
        first = stack[j, j] - turned
        half = norm2 - stack[j, j] * turned
        for i in range(j + 1, 5):
            product = first * stack[j, i]
            for k in range(j + 1, 7):
                product += stack[k, j] * stack[k, i]
            product /= half
            stack[j, i] -= product * first
            for k in range(j + 1, 7):
                stack[k, i] -= product * stack[k, j]
        stack[j, j] = turned
        for k in range(j + 1, 7):
            stack[k, j] = 0.0
