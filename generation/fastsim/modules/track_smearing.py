"""Smears the parameters of tracks (Delphes: TrackSmearing)."""

import numpy as np
from numpy.typing import NDArray

from generation.fastsim.candidates import Candidates
from generation.fastsim.card import ModuleConfig
from generation.fastsim.kinematics import SPEED_OF_LIGHT, magnitude
from generation.fastsim.module import EventStore, Module, evaluate

# Smeared parameter: its column, the column of its error.
PARAMETERS = {
    "D0": ("d0", "error_d0"),
    "DZ": ("dz", "error_dz"),
    "P": ("p", "error_p"),
    "CtgTheta": ("ctg_theta", "error_ctg_theta"),
    "Phi": ("track_phi", "error_phi"),
}


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

    def _clones(
        self,
        tracks: Candidates,
        rows: NDArray[np.int64],
        smeared: dict[str, NDArray[np.float64]],
        errors: dict[str, NDArray[np.float64]],
        touched: NDArray[np.bool_],
    ) -> Candidates:
        """Return clones of the tracks `rows` with the smeared parameters."""
        smeared = {name: value[rows] for name, value in smeared.items()}
        errors = {name: np.where(touched[rows], value[rows], 0.0) for name, value in errors.items()}
        mass = tracks["m"][rows]
        columns = self._rebuild(tracks, rows, smeared, mass)
        for name, (column, error_column) in PARAMETERS.items():
            columns[column] = smeared[name]
            columns[error_column] = errors[name]
        p, cotangent = smeared["P"], smeared["CtgTheta"]
        sin2 = 1.0 / (1.0 + cotangent**2)
        columns["error_pt"] = np.sqrt(
            (p * cotangent * errors["CtgTheta"]) ** 2 * sin2**3 + errors["P"] ** 2 * sin2
        )
        relative = np.divide(errors["P"], p, out=np.zeros_like(p), where=p > 0.0)
        resolution = np.where(touched[rows], relative, tracks["track_resolution"][rows])
        return tracks.clone(rows, m=mass, track_resolution=resolution, **columns)

    def _rebuild(
        self,
        tracks: Candidates,
        rows: NDArray[np.int64],
        smeared: dict[str, NDArray[np.float64]],
        mass: NDArray[np.float64],
    ) -> dict[str, NDArray[np.float64]]:
        """Return momentum, production point and point of closest approach of each track."""
        p, cotangent, phi = smeared["P"], smeared["CtgTheta"], smeared["Phi"]
        pt = p / np.sqrt(1.0 + cotangent**2)
        cos, sin = np.cos(phi), np.sin(phi)
        x, y = tracks["initial_x"][rows], tracks["initial_y"][rows]
        # Delphes moves the point along the diagonal, by equal steps in x and y, until it has the
        # smeared d0: far away where the track runs along the diagonal itself.
        slope = sin - cos
        step = np.divide(
            cos * y - sin * x + smeared["D0"], slope, out=np.zeros_like(x), where=slope != 0.0
        )
        x, y = x + step, y + step
        z = smeared["DZ"] + cotangent * (cos * x + sin * y)
        bend = tracks["charge"][rows] * self.field
        radius = np.divide(pt * 1e12, bend * SPEED_OF_LIGHT, out=np.zeros_like(pt), where=bend != 0)
        x_c, y_c = x + radius * sin, y - radius * cos
        r_c = magnitude(x_c, y_c)
        shrink = 1.0 - np.divide(np.abs(radius), r_c, out=np.ones_like(r_c), where=r_c > 0.0)
        x_d, y_d = x_c * shrink, y_c * shrink
        return {
            "px": pt * cos,
            "py": pt * sin,
            "pz": pt * cotangent,
            "e": np.sqrt(p**2 + mass**2),
            "pt": pt,
            "initial_x": x,
            "initial_y": y,
            "initial_z": z,
            "xd": x_d,
            "yd": y_d,
            "zd": z + (magnitude(x_d, y_d) - magnitude(x, y)) * cotangent,
        }
