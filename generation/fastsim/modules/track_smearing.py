"""Smears the parameters of tracks (Delphes: TrackSmearing)."""

import numba
import numpy as np

from generation.fastsim.card import ModuleConfig
from generation.fastsim.kinematics import SPEED_OF_LIGHT
from generation.fastsim.module import EventStore, Module, evaluate

# Smeared parameter: its column, the column of its error.
PARAMETERS = {
    "D0": ("d0", "error_d0"),
    "DZ": ("dz", "error_dz"),
    "P": ("p", "error_p"),
    "CtgTheta": ("ctg_theta", "error_ctg_theta"),
    "Phi": ("track_phi", "error_phi"),
}

# Columns of the kernel's output rows.
COLUMNS = ("px", "py", "pz", "e", "pt", "initial_x", "initial_y", "initial_z", "xd", "yd", "zd")


class TrackSmearing(Module):
    """Draws d0, dz, p, cot θ and φ from Gaussians and rebuilds the track from them.

    Widths are formulas of (pt, eta, phi, energy) with the angles of the momentum; that of p is
    relative. A negative width drops the track. The momentum starts from the parameter p that the
    propagator has set, so that an earlier smearing of the momentum is forgotten, as in Delphes.
    """

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.input = config.text("InputArray", "ParticlePropagator/stableParticles")
        self.output = config.text("OutputArray", "stableParticles")
        self.field = config.number("Bz", 0.0)
        self.apply_to_pileup = config.flag("ApplyToPileUp", True)
        self.resolutions = {}
        for name in PARAMETERS:
            parameter = f"{name}ResolutionFormula"
            # Without a formula, Delphes reads a histogram from a ROOT file.
            if config.text(parameter, "0.0") == "0.0":
                raise config.error(parameter, "is not set; resolution histograms are not read")
            self.resolutions[name] = self.formula(parameter, "0.0")

    def run(self, store: EventStore) -> None:
        """Write clones with smeared track parameters."""
        tracks = self.array(store, self.input)
        smeared, errors = {}, {}
        touched = np.full(len(tracks), True) if self.apply_to_pileup else tracks["is_pu"] == 0
        kept = np.full(len(tracks), True)
        for name, (column, _) in PARAMETERS.items():
            true = tracks[column]
            error = evaluate(self.resolutions[name], tracks, phi="track_phi")
            if name == "P":
                error = error * true
            kept &= ~(error < 0.0)
            errors[name] = error
            if self.resolutions[name].constant == 0.0:
                smeared[name] = true
            else:
                shift = error * store.rng.standard_normal(len(tracks))
                smeared[name] = true + np.where(touched, shift, 0.0)
        kept &= ~(smeared["P"] < 0.0)
        rows = np.flatnonzero(kept)
        self.export(store, self.output, self._clones(tracks, rows, smeared, errors, touched))

    def _clones(self, tracks, rows, smeared, errors, touched):
        smeared = {name: value[rows] for name, value in smeared.items()}
        errors = {name: np.where(touched[rows], value[rows], 0.0) for name, value in errors.items()}
        mass = tracks["m"][rows]
        values = _rebuild(
            smeared["D0"], smeared["DZ"], smeared["P"], smeared["CtgTheta"], smeared["Phi"],
            mass, tracks["charge"][rows], tracks["initial_x"][rows], tracks["initial_y"][rows],
            tracks["initial_z"][rows], self.field,
        )  # fmt: skip
        columns = dict(zip(COLUMNS, values, strict=True))
        for name, (column, error_column) in PARAMETERS.items():
            columns[column] = smeared[name]
            columns[error_column] = errors[name]
        p, cotangent = smeared["P"], smeared["CtgTheta"]
        sin2 = 1.0 / (1.0 + cotangent**2)
        columns["track_phi"] = np.arctan2(columns["py"], columns["px"])
        columns["error_pt"] = np.sqrt(
            (p * cotangent * errors["CtgTheta"]) ** 2 * sin2**3 + errors["P"] ** 2 * sin2
        )
        relative = np.divide(errors["P"], p, out=np.zeros_like(p), where=p > 0.0)
        resolution = np.where(touched[rows], relative, tracks["track_resolution"][rows])
        return tracks.clone(rows, m=mass, track_resolution=resolution, **columns)


@numba.njit(cache=True, error_model="numpy")
def _rebuild(d0, dz, p, ctg_theta, phi, mass, charge, x_0, y_0, z_0, field):
    """Return momentum, production point and point of closest approach of each track."""
    n = len(p)
    out = np.zeros((11, n))
    for i in range(n):
        sin_theta = 1.0 / np.sqrt(1.0 + ctg_theta[i] ** 2)
        pt = p[i] * sin_theta
        px, py, pz = pt * np.cos(phi[i]), pt * np.sin(phi[i]), p[i] * ctg_theta[i] * sin_theta
        out[0, i], out[1, i], out[2, i], out[4, i] = px, py, pz, pt
        out[3, i] = np.sqrt(p[i] ** 2 + mass[i] ** 2)
        x, y, z = x_0[i], y_0[i], z_0[i]
        # Delphes moves the point along the diagonal, by equal steps in x and y, until it has the
        # smeared d0: far away where the track runs along the diagonal itself.
        step = (px * y - py * x + d0[i] * pt) / (py - px) if py != px else 0.0
        x, y = x + step, y + step
        if pt > 0.0:
            z = dz[i] + pz * (px * x + py * y) / (pt * pt)
        out[5, i], out[6, i], out[7, i] = x, y, z
        bend = charge[i] * field
        if bend != 0.0 and pt > 0.0:
            r = pt / bend * 1e12 / SPEED_OF_LIGHT  # mm
            x_c, y_c = x + r * py / pt, y - r * px / pt
            r_c = np.sqrt(x_c * x_c + y_c * y_c)
            shrink = 1.0 - abs(r) / r_c if r_c > 0.0 else 0.0
            x_d, y_d = x_c * shrink, y_c * shrink
            out[8, i], out[9, i] = x_d, y_d
            shift = np.sqrt(x_d * x_d + y_d * y_d) - np.sqrt(x * x + y * y)
            out[10, i] = z + shift * pz / pt
    return out
