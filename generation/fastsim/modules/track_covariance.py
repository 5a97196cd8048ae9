"""Smears tracks with the covariance that their tracker gives them (Delphes: TrackCovariance)."""

import numpy as np
from numpy.typing import NDArray

from generation.fastsim.candidates import Candidates
from generation.fastsim.card import ModuleConfig
from generation.fastsim.helix import (
    GEV_PER_TESLA_METRE,
    helices,
    momentum_at_approach,
    point_of_approach,
)
from generation.fastsim.kinematics import magnitude
from generation.fastsim.module import EventStore, Module, evaluate
from generation.fastsim.tracker import Tracker, track_covariances

# Coordinates that a track must have measured, whatever the card says.
LEAST_MEASURED = 6
ELECTRON, MUON = 11, 13
# Column of a covariance: the two parameters, and what makes millimetres of metres.
COVARIANCES = {
    "covariance_d0_phi": (0, 1, 1e3),
    "covariance_d0_c": (0, 2, 1.0),
    "covariance_d0_dz": (0, 3, 1e6),
    "covariance_d0_ctg_theta": (0, 4, 1e3),
    "covariance_phi_c": (1, 2, 1e-3),
    "covariance_phi_dz": (1, 3, 1e3),
    "covariance_phi_ctg_theta": (1, 4, 1.0),
    "covariance_c_dz": (2, 3, 1.0),
    "covariance_c_ctg_theta": (2, 4, 1e-3),
    "covariance_dz_ctg_theta": (3, 4, 1e3),
}


class TrackCovariance(Module):
    """Draws all five parameters of a track together and rebuilds the track from them.

    The covariance is that of a Kalman filter over the layers that the true helix hits, with their
    multiple scattering. A track needs `NMinHits` coordinates that could be measured, or as many
    layers where it starts outside the innermost ones, and six that are measured. Delphes
    interpolates the first number in a table; here the layers of the track itself are counted.
    """

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.input = config.text("InputArray", "TrackMerger/tracks")
        self.output = config.text("OutputArray", "tracks")
        self.field = config.number("Bz", 0.0)
        if self.field == 0.0:
            raise config.error("Bz", "is 0: tracks have no curvature")
        self.tracker = Tracker.read(config.text("DetectorGeometry", ""))
        if not len(self.tracker.layers):
            raise config.error("DetectorGeometry", "describes no layer")
        self.hits_min = config.integer("NMinHits", 6)
        self.scales = {
            ELECTRON: self.formula("ElectronScaleFactor", "1.0"),
            MUON: self.formula("MuonScaleFactor", "1.0"),
        }
        self.hadron_scale = self.formula("ChargedHadronScaleFactor", "1.0")

    def run(self, store: EventStore) -> None:
        """Write clones with drawn parameters of the tracks that are measured well enough."""
        tracks = self.array(store, self.input)
        particles = tracks.origin
        helix = helices(particles, tracks["charge"], self.field)
        radius = 1e-3 * magnitude(particles["x"], particles["y"])
        n_layers = len(self.tracker.layers)
        chance = (
            np.zeros((1, n_layers))
            if self.tracker.always_measures
            else store.rng.random((len(tracks), n_layers))
        )
        root, (hits, coordinates, measured) = track_covariances(
            self.tracker, helix, radius, particles["pt"], particles["m"], chance
        )
        z = 1e-3 * particles["z"]
        inside = (radius <= self.tracker.radius_min) & (z >= self.tracker.z_min)
        inside &= z <= self.tracker.z_max
        accepted = np.where(inside, coordinates, hits) >= self.hits_min
        rows = np.flatnonzero(accepted & (measured >= LEAST_MEASURED))
        scale = self._scale(particles, tracks["pid"])
        root = root[rows] * scale[rows, None, None]
        normal = store.rng.standard_normal((len(rows), 1, 5))
        drawn = helix[:, rows] + (normal @ root)[:, 0, :].T
        covariance = np.swapaxes(root, 1, 2) @ root
        columns = self._columns(drawn, covariance, particles, rows)
        self.export(store, self.output, tracks.clone(rows, **columns))

    def _scale(self, particles: Candidates, pid: NDArray) -> NDArray[np.float64]:
        """Return the factor that the card gives to the errors of each track."""
        scale = np.array(evaluate(self.hadron_scale, particles))
        for code, formula in self.scales.items():
            scale = np.where(np.abs(pid) == code, evaluate(formula, particles), scale)
        return scale

    def _columns(
        self,
        helix: NDArray[np.float64],
        covariance: NDArray[np.float64],
        particles: Candidates,
        rows: NDArray[np.int64],
    ) -> dict[str, NDArray]:
        """Return what a track with these parameters is."""
        mass = particles["m"][rows]
        px, py, pz = momentum_at_approach(helix, self.field)
        pt, p = magnitude(px, py), np.sqrt(px * px + py * py + pz * pz)
        x, y, z = 1e3 * point_of_approach(helix)
        distance, phi, half_curvature, _, cotangent = helix
        errors = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2)).T
        error_pt = 2.0 * errors[2] * pt**2 / (GEV_PER_TESLA_METRE * self.field)
        stretch = 1.0 + cotangent**2
        error_p = np.sqrt(stretch * error_pt**2 + (2.0 * pt * cotangent * errors[4] / stretch) ** 2)
        place = {"x": x, "y": y, "z": z}
        return {
            "px": px, "py": py, "pz": pz, "e": np.sqrt(p * p + mass * mass), "pt": pt, "m": mass,
            "charge": np.where(half_curvature > 0.0, -1, 1),
            "initial_t": particles["t"][rows],
            **{f"initial_{name}": values for name, values in place.items()},
            **{f"{name}d": values for name, values in place.items()},
            "d0": 1e3 * distance, "track_phi": phi, "curvature": 1e-3 * half_curvature, "dz": z,
            "ctg_theta": cotangent, "p": p,
            "error_d0": 1e3 * errors[0], "error_phi": errors[1], "error_c": 1e-3 * errors[2],
            "error_dz": 1e3 * errors[3], "error_ctg_theta": errors[4],
            "error_pt": error_pt, "error_p": error_p, "track_resolution": error_p / p,
            **{name: unit * covariance[:, i, j] for name, (i, j, unit) in COVARIANCES.items()},
        }  # fmt: skip
