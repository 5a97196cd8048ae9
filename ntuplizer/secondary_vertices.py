"""Secondary vertices in jets, from the displaced tracks of a Delphes event.

Long-lived particles of a jet decay millimetres from where they were made. Pairs of displaced
tracks that nearly meet seed a vertex; tracks that fit it better than the primary vertex join; a
least-squares fit gives position, covariance and χ². This is the inclusive search of CMS
(arXiv:1102.1942, arXiv:1712.07158) in simple terms: a fit with hard limits, not an adaptive one.

Tracks are helices around the beam (z) axis, described at their point closest to it as Delphes'
ParticlePropagator and TrackSmearing leave them:

- x = D0 sin φ, y = −D0 cos φ, z = DZ, direction φ and cot θ, curvature of charge and pT;
- D0 and DZ are measured with `ErrorD0` and `ErrorDZ`, independently of each other; `ErrorPhi` and
  `ErrorCtgTheta` add to them with the distance flown. Tracks without errors of D0 and DZ (in the
  cards of JetClass-II those below 0.18 GeV or beyond |η| = 2.5) are not used.

What the cards of JetClass-II do to this: TrackSmearing smears neither angles nor momenta
(`PResolutionFormula 0` and so on) and starts from the true momentum again, so that `ErrorPT`,
`ErrorPhi` and `ErrorCtgTheta` are zero; a real detector's vertices are worse, the more so the
longer the flight. pT is not exact all the same, because the calorimeters scale tracks towards the
energy that they measure. PUPPI takes η for the rapidity, which makes cot θ of its slow hadrons too
large by m_T/p_T; in tt̄ events the vertices are the same with and without it.

Lengths are in mm, momenta in GeV.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np

from ntuplizer.batch import Collection

LEAVES = (
    "PT", "Phi", "CtgTheta", "D0", "DZ", "ErrorD0", "ErrorDZ", "ErrorPhi", "ErrorCtgTheta",
    "Charge",
)  # fmt: skip

# The solenoid of the cards (and of CMS), T.
FIELD = 3.8
SPEED_OF_LIGHT = 2.99792458e8
PION_MASS, PROTON_MASS = 0.13957, 0.93827
KAON_SHORT_MASS, LAMBDA_MASS = 0.49761, 1.11568

# A fit has arrived when the vertex moves by less than this, mm, or after so many steps.
_FIT_ACCURACY = 1e-4
_FIT_STEPS = 10
# Tracks join and leave a vertex at most so often.
_REFITS = 20

# Columns of the helices, and of the vertices that the kernel returns.
_D0, _DZ, _PHI, _COT, _RADIUS, _PT, _SIGMA_D0, _SIGMA_DZ, _SIGMA_PHI, _SIGMA_COT = range(10)
_VALUES = (
    "x", "y", "z", "pt", "eta", "phi", "mass",
    "flight", "flight_error", "flight_xy", "flight_xy_error", "chi2",
)  # fmt: skip
_N_VALUES = len(_VALUES)


class VertexCuts(NamedTuple):
    """What makes a secondary vertex.

    Attributes
    ----------
    pt_min, d0_max, dz_max
        Tracks: lowest pT in GeV; largest |d0| and |dz| to the primary vertex in mm.
    seed_significance
        Tracks: |d0|/σ of those that seed a vertex.
    pair_distance_max
        Pairs: largest distance of the tracks at their points of closest approach, mm.
    pair_chi2_max
        Pairs: largest χ² of their fit, with one degree of freedom.
    track_chi2_max
        Largest χ² of a track at a vertex, with two degrees of freedom; it must also be smaller
        than that at the primary vertex.
    chi2_max
        Vertices: largest χ² per degree of freedom.
    flight_significance_min
        Vertices: smallest flight distance over its error, transverse to the beam.
    flight_max
        Vertices: largest transverse flight distance in mm, before the first material of a tracker.
    axis_reach
        Vertices: largest ΔR between flight and jet axis.
    mass_max
        Vertices: largest mass in GeV.
    kaon_window, lambda_window
        Two tracks of opposite charge within this of the mass of K⁰_S (as ππ) or Λ (as pπ), GeV, are
        no vertex.
    """

    pt_min: float = 0.5
    d0_max: float = 10.0
    dz_max: float = 30.0
    seed_significance: float = 3.0
    pair_distance_max: float = 1.0
    pair_chi2_max: float = 6.6
    track_chi2_max: float = 9.0
    chi2_max: float = 4.0
    flight_significance_min: float = 3.0
    flight_max: float = 25.0
    axis_reach: float = 0.4
    mass_max: float = 6.5
    kaon_window: float = 0.03
    lambda_window: float = 0.015


@dataclass(frozen=True)
class SecondaryVertices:
    """Secondary vertices of jets, flat: by jet, then in the order of finding, most tracks first.

    Attributes
    ----------
    offsets
        int64 (n_jets + 1,): vertices of jet j are rows `offsets[j]` to `offsets[j + 1]`.
    x, y, z
        float64 (n,): position, mm.
    pt, eta, phi, mass
        float64 (n,): the sum of its tracks, taken for pions, at the vertex; GeV.
    flight, flight_error
        float64 (n,): distance from the primary vertex and its error, mm.
    flight_xy, flight_xy_error
        float64 (n,): the same transverse to the beam.
    chi2, ndf
        float64, int32 (n,): χ² of the fit and its degrees of freedom, 2 n_tracks − 3.
    track_offsets, tracks
        int64: tracks of vertex i are `tracks[track_offsets[i]:track_offsets[i + 1]]`, positions
        in the collection.
    """

    offsets: np.ndarray
    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    pt: np.ndarray
    eta: np.ndarray
    phi: np.ndarray
    mass: np.ndarray
    flight: np.ndarray
    flight_error: np.ndarray
    flight_xy: np.ndarray
    flight_xy_error: np.ndarray
    chi2: np.ndarray
    ndf: np.ndarray
    track_offsets: np.ndarray
    tracks: np.ndarray

    @property
    def n_tracks(self) -> np.ndarray:
        """Tracks of each vertex, int64 (n,)."""
        return np.diff(self.track_offsets)

    @property
    def significance(self) -> np.ndarray:
        """Flight distance over its error, float64 (n,)."""
        return self.flight / self.flight_error


def find_secondary_vertices(
    eta: np.ndarray,
    phi: np.ndarray,
    vertex_z: np.ndarray,
    offsets: np.ndarray,
    constituents: np.ndarray,
    candidates: Collection,
    cuts: VertexCuts | None = None,
    field: float = FIELD,
) -> SecondaryVertices:
    """Find the secondary vertices of each jet.

    Parameters
    ----------
    eta, phi
        (n_jets,): directions of the jets.
    vertex_z
        (n_jets,): z of the primary vertex, mm; it lies on the beam axis.
    offsets, constituents
        int64 (n_jets + 1,) and (n,): constituents of jet j are
        `constituents[offsets[j]:offsets[j + 1]]`, positions in `candidates`; neutral ones and
        tracks without errors are passed over.
    candidates
        The collection of the constituents, with `LEAVES`.
    cuts
        What makes a vertex; None for the defaults.
    field
        Solenoid field along z, T.
    """
    cuts = cuts or VertexCuts()
    jet = np.repeat(np.arange(len(eta)), np.diff(offsets))
    vertex_z = np.asarray(vertex_z, np.float64)
    leaf = {name: candidates[name][constituents].astype(np.float64) for name in LEAVES}
    usable = (leaf["Charge"] != 0) & (leaf["ErrorD0"] > 0) & (leaf["ErrorDZ"] > 0)
    usable &= (leaf["PT"] >= cuts.pt_min) & (np.abs(leaf["D0"]) <= cuts.d0_max)
    usable &= np.abs(leaf["DZ"] - vertex_z[jet]) <= cuts.dz_max
    # Old files hold the charges of unknown particles as −999.
    usable &= np.abs(leaf["Charge"]) < 10
    track = {name: values[usable] for name, values in leaf.items()}
    helices = np.stack(
        [
            track["D0"],
            track["DZ"],
            track["Phi"],
            track["CtgTheta"],
            track["PT"] * 1e12 / (track["Charge"] * field * SPEED_OF_LIGHT),
            track["PT"],
            track["ErrorD0"],
            track["ErrorDZ"],
            track["ErrorPhi"],
            track["ErrorCtgTheta"],
        ],
        axis=1,
    )
    counts, values, sizes, members = _find(
        np.asarray(eta, np.float64),
        np.asarray(phi, np.float64),
        vertex_z,
        np.concatenate(([0], np.cumsum(usable)))[offsets],
        helices,
        cuts,
    )
    return SecondaryVertices(
        offsets=np.concatenate(([0], np.cumsum(counts))),
        **dict(zip(_VALUES, values.T.copy(), strict=True)),
        ndf=(2 * sizes - 3).astype(np.int32),
        track_offsets=np.concatenate(([0], np.cumsum(sizes))),
        tracks=constituents[usable][members],
    )


@numba.njit(cache=True)
def _approach(helix, x, y):
    """Return azimuth and path, from the point closest to the beam, where a track is nearest (x, y).

    The third value is how far to the left of the track the point lies.
    """
    radius = helix[_RADIUS]
    sign = 1.0 if radius > 0 else -1.0
    from_x = x - (helix[_D0] + radius) * np.sin(helix[_PHI])
    from_y = y + (helix[_D0] + radius) * np.cos(helix[_PHI])
    azimuth = np.arctan2(-sign * from_x, sign * from_y)
    turned = (helix[_PHI] - azimuth + np.pi) % (2 * np.pi) - np.pi
    return azimuth, turned * radius, sign * (np.hypot(from_x, from_y) - abs(radius))


@numba.njit(cache=True)
def _measure(helix, vertex, residual, variance, slope):
    """Fill residuals of a vertex to a track, their variances and their slopes; return the azimuth.

    The first is transverse to the beam and the track, the second along the beam at the point of the
    track that is nearest in the transverse plane.
    """
    azimuth, path, residual[0] = _approach(helix, vertex[0], vertex[1])
    residual[1] = vertex[2] - helix[_DZ] - path * helix[_COT]
    variance[0] = helix[_SIGMA_D0] ** 2 + (path * helix[_SIGMA_PHI]) ** 2
    variance[1] = helix[_SIGMA_DZ] ** 2 + (path * helix[_SIGMA_COT]) ** 2
    cos, sin = np.cos(azimuth), np.sin(azimuth)
    slope[0, 0], slope[0, 1], slope[0, 2] = -sin, cos, 0.0
    slope[1, 0], slope[1, 1], slope[1, 2] = -cos * helix[_COT], -sin * helix[_COT], 1.0
    return azimuth


@numba.njit(cache=True)
def _fit(helices, members, n, vertex, covariance):
    """Fit n tracks to a point by least squares, from the point in `vertex` on.

    Returns χ², infinite where the tracks do not define a point.
    """
    residual, variance, slope = np.empty(2), np.empty(2), np.empty((2, 3))
    matrix, vector = np.empty((3, 3)), np.empty(3)
    chi2 = np.inf
    for _ in range(_FIT_STEPS):
        matrix[:], vector[:] = 0.0, 0.0
        chi2 = 0.0
        for k in range(n):
            _measure(helices[members[k]], vertex, residual, variance, slope)
            for r in range(2):
                chi2 += residual[r] ** 2 / variance[r]
                for a in range(3):
                    vector[a] += slope[r, a] * residual[r] / variance[r]
                    for b in range(3):
                        matrix[a, b] += slope[r, a] * slope[r, b] / variance[r]
        if not _invert(matrix, covariance):
            return np.inf
        step2, decrease = 0.0, 0.0
        for a in range(3):
            shift = 0.0
            for b in range(3):
                shift -= covariance[a, b] * vector[b]
            vertex[a] += shift
            step2 += shift * shift
            decrease -= shift * vector[a]
        chi2 -= decrease
        if step2 < _FIT_ACCURACY**2:
            return max(chi2, 0.0)
        if not step2 < 1e8:
            return np.inf
    return max(chi2, 0.0)


@numba.njit(cache=True)
def _invert(matrix, inverse):
    """Invert a symmetric 3 × 3 matrix; return whether it is regular."""
    for a in range(3):
        b, c = (a + 1) % 3, (a + 2) % 3
        for d in range(3):
            e, f = (d + 1) % 3, (d + 2) % 3
            inverse[d, a] = matrix[b, e] * matrix[c, f] - matrix[b, f] * matrix[c, e]
    determinant = 0.0
    for a in range(3):
        determinant += matrix[0, a] * inverse[a, 0]
    scale = matrix[0, 0] * matrix[1, 1] * matrix[2, 2]
    if not determinant > 1e-10 * scale:
        return False
    inverse /= determinant
    return True


@numba.njit(cache=True)
def _chi2_at(helix, vertex, covariance, uncertain):
    """Return the χ² of a track at a vertex, with the vertex' covariance where it is uncertain."""
    residual, variance, slope = np.empty(2), np.empty(2), np.empty((2, 3))
    _measure(helix, vertex, residual, variance, slope)
    a, b, c = variance[0], 0.0, variance[1]
    if uncertain:
        for i in range(3):
            for j in range(3):
                a += slope[0, i] * covariance[i, j] * slope[0, j]
                b += slope[0, i] * covariance[i, j] * slope[1, j]
                c += slope[1, i] * covariance[i, j] * slope[1, j]
    determinant = a * c - b * b
    if not determinant > 0:
        return np.inf
    return (
        c * residual[0] ** 2 - 2 * b * residual[0] * residual[1] + a * residual[1] ** 2
    ) / determinant


@numba.njit(cache=True)
def _meet(first, second, vertex):
    """Fill the middle of the points of closest approach of two tracks, straight for this.

    Returns the distance of the points, infinite for parallel tracks.
    """
    direction, point = np.empty((2, 3)), np.empty((2, 3))
    for k in range(2):
        helix = first if k == 0 else second
        cos, sin = np.cos(helix[_PHI]), np.sin(helix[_PHI])
        norm = np.sqrt(1 + helix[_COT] ** 2)
        direction[k, 0], direction[k, 1], direction[k, 2] = cos, sin, helix[_COT]
        direction[k] /= norm
        point[k, 0], point[k, 1], point[k, 2] = helix[_D0] * sin, -helix[_D0] * cos, helix[_DZ]
    between = point[1] - point[0]
    cosine = (direction[0] * direction[1]).sum()
    sine2 = 1 - cosine * cosine
    if sine2 < 1e-8:
        return np.inf
    along0, along1 = (between * direction[0]).sum(), (between * direction[1]).sum()
    near0 = point[0] + direction[0] * (along0 - cosine * along1) / sine2
    near1 = point[1] + direction[1] * (cosine * along0 - along1) / sine2
    vertex[:] = (near0 + near1) / 2
    return np.sqrt(((near0 - near1) ** 2).sum())


@numba.njit(cache=True)
def _momentum(helices, members, n, vertex, masses, total):
    """Fill the sum of momenta (px, py, pz, E) of n tracks at a vertex."""
    total[:] = 0.0
    for k in range(n):
        helix = helices[members[k]]
        azimuth, _, _ = _approach(helix, vertex[0], vertex[1])
        total[0] += helix[_PT] * np.cos(azimuth)
        total[1] += helix[_PT] * np.sin(azimuth)
        total[2] += helix[_PT] * helix[_COT]
        total[3] += np.sqrt(helix[_PT] ** 2 * (1 + helix[_COT] ** 2) + masses[k] ** 2)
    mass2 = total[3] ** 2 - total[0] ** 2 - total[1] ** 2 - total[2] ** 2
    return np.sqrt(max(mass2, 0.0))


@numba.njit(cache=True)
def _is_strange(helices, members, vertex, cuts, masses, total):
    """Tell whether two tracks of opposite charge have the mass of K⁰_S or Λ."""
    if helices[members[0], _RADIUS] * helices[members[1], _RADIUS] > 0:
        return False
    masses[0], masses[1] = PION_MASS, PION_MASS
    mass = _momentum(helices, members, 2, vertex, masses, total)
    if abs(mass - KAON_SHORT_MASS) < cuts.kaon_window:
        return True
    # The proton takes most of the Λ's momentum.
    harder = 0 if helices[members[0], _PT] > helices[members[1], _PT] else 1
    masses[harder] = PROTON_MASS
    mass = _momentum(helices, members, 2, vertex, masses, total)
    masses[harder] = PION_MASS
    return abs(mass - LAMBDA_MASS) < cuts.lambda_window


@numba.njit(cache=True)
def _flight(vertex, covariance, primary_z, n_axes):
    """Return distance from the primary vertex and its error: in 3 axes, or 2 for x and y only."""
    length2, variance = 0.0, 0.0
    for a in range(n_axes):
        delta_a = vertex[a] - (primary_z if a == 2 else 0.0)
        length2 += delta_a * delta_a
        for b in range(n_axes):
            delta_b = vertex[b] - (primary_z if b == 2 else 0.0)
            variance += delta_a * covariance[a, b] * delta_b
    if not length2 > 0:
        return 0.0, np.inf
    return np.sqrt(length2), np.sqrt(max(variance, 0.0) / length2)


@numba.njit(cache=True)
def _points_along(vertex, primary_z, eta, phi, reach):
    """Tell whether a vertex lies within ΔR = reach of an axis, seen from the primary vertex."""
    transverse = np.hypot(vertex[0], vertex[1])
    if not transverse > 0:
        return False
    flight_eta = np.arcsinh((vertex[2] - primary_z) / transverse)
    delta = (np.arctan2(vertex[1], vertex[0]) - phi + np.pi) % (2 * np.pi) - np.pi
    return np.hypot(flight_eta - eta, delta) < reach


@numba.njit(cache=True)
def _refine(helices, primary, free, members, n, vertex, covariance, cuts):
    """Let tracks join and leave a vertex until all fit it; return their number and χ².

    `primary` is the χ² of each track at the primary vertex.
    """
    chi2 = _fit(helices, members, n, vertex, covariance)
    for _ in range(_REFITS):
        if not chi2 < np.inf:
            return 0, chi2
        worst, largest = -1, cuts.track_chi2_max
        for k in range(n):
            distance = _chi2_at(helices[members[k]], vertex, covariance, False)
            if distance > largest:
                worst, largest = k, distance
        if worst >= 0:
            n -= 1
            members[worst] = members[n]
            if n < 2:
                return 0, np.inf
            chi2 = _fit(helices, members, n, vertex, covariance)
            continue
        best, smallest = -1, cuts.track_chi2_max
        for i in range(len(helices)):
            if not free[i] or np.any(members[:n] == i):
                continue
            distance = _chi2_at(helices[i], vertex, covariance, True)
            if distance < min(smallest, primary[i]):
                best, smallest = i, distance
        if best < 0:
            return n, chi2
        members[n] = best
        n += 1
        chi2 = _fit(helices, members, n, vertex, covariance)
    return n, chi2


@numba.njit(cache=True)
def _seed(helices, primary, free, seeding, refused, primary_z, eta, phi, cuts, members, vertex):
    """Fill the pair of seeds that most tracks agree with, and where it meets; tell if there is one.

    Pairs in `refused` are passed over; those that cannot be a vertex are added to it.
    """
    pair, meeting, covariance = np.empty(2, np.int64), np.empty(3), np.empty((3, 3))
    masses, total = np.empty(2), np.empty(4)
    most, smallest, found = 0, np.inf, False
    for i in range(len(helices)):
        for j in range(i + 1, len(helices)):
            if not (free[i] and free[j] and seeding[i] and seeding[j]) or refused[i, j]:
                continue
            pair[0], pair[1] = i, j
            refused[i, j] = True
            if not _meet(helices[i], helices[j], meeting) < cuts.pair_distance_max:
                continue
            chi2 = _fit(helices, pair, 2, meeting, covariance)
            if not chi2 < cuts.pair_chi2_max:
                continue
            if np.hypot(meeting[0], meeting[1]) > cuts.flight_max:
                continue
            if not _points_along(meeting, primary_z, eta, phi, cuts.axis_reach):
                continue
            if _is_strange(helices, pair, meeting, cuts, masses, total):
                continue
            refused[i, j] = False
            count = 2
            for k in range(len(helices)):
                if free[k] and k not in (i, j):
                    distance = _chi2_at(helices[k], meeting, covariance, True)
                    count += distance < min(cuts.track_chi2_max, primary[k])
            if count > most or (count == most and chi2 < smallest):
                most, smallest, found = count, chi2, True
                members[:2] = pair
                vertex[:] = meeting
    return found


@numba.njit(cache=True)
def _find(eta, phi, primary_z, offsets, all_helices, cuts):
    """Return vertices per jet, values (n, 12), tracks per vertex and the tracks."""
    counts = np.zeros(len(eta), np.int64)
    values = [np.empty(_N_VALUES)]
    sizes = [np.int64(0)]
    tracks = [np.int64(0)]
    vertex, covariance, total = np.empty(3), np.empty((3, 3)), np.empty(4)
    origin = np.zeros(3)
    for jet in range(len(eta)):
        helices = all_helices[offsets[jet] : offsets[jet + 1]]
        n_tracks = len(helices)
        seeding = np.empty(n_tracks, np.bool_)
        primary = np.empty(n_tracks)
        origin[2] = primary_z[jet]
        for i in range(n_tracks):
            displaced = abs(helices[i, _D0]) / helices[i, _SIGMA_D0]
            seeding[i] = displaced > cuts.seed_significance
            primary[i] = _chi2_at(helices[i], origin, covariance, False)
        if seeding.sum() < 2:
            continue
        free = np.ones(n_tracks, np.bool_)
        refused = np.zeros((n_tracks, n_tracks), np.bool_)
        members = np.empty(n_tracks, np.int64)
        masses = np.full(n_tracks, PION_MASS)
        while _seed(
            helices, primary, free, seeding, refused, primary_z[jet], eta[jet], phi[jet], cuts,
            members, vertex,
        ):  # fmt: skip
            refused[members[0], members[1]] = True
            n, chi2 = _refine(helices, primary, free, members, 2, vertex, covariance, cuts)
            if n < 2 or chi2 > cuts.chi2_max * (2 * n - 3):
                continue
            length, error = _flight(vertex, covariance, primary_z[jet], 3)
            length_xy, error_xy = _flight(vertex, covariance, primary_z[jet], 2)
            if n == 2 and _is_strange(helices, members, vertex, cuts, masses, total):
                continue
            mass = _momentum(helices, members, n, vertex, masses, total)
            if (
                length_xy < cuts.flight_significance_min * error_xy
                or length_xy > cuts.flight_max
                or mass > cuts.mass_max
                or not _points_along(vertex, primary_z[jet], eta[jet], phi[jet], cuts.axis_reach)
            ):
                continue
            pt = np.hypot(total[0], total[1])
            found = np.empty(_N_VALUES)
            found[0], found[1], found[2] = vertex[0], vertex[1], vertex[2]
            found[3], found[4] = pt, np.arcsinh(total[2] / pt)
            found[5], found[6] = np.arctan2(total[1], total[0]), mass
            found[7], found[8], found[9], found[10] = length, error, length_xy, error_xy
            found[11] = chi2
            values.append(found)
            sizes.append(n)
            counts[jet] += 1
            for k in range(n):
                free[members[k]] = False
                tracks.append(offsets[jet] + members[k])
    table = np.empty((len(values) - 1, _N_VALUES))
    for row in range(len(table)):
        table[row] = values[row + 1]
    return counts, table, np.array(sizes)[1:], np.array(tracks)[1:]
