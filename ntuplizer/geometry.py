"""Distances between directions."""

import numpy as np


def delta_r(eta1: np.ndarray, phi1: np.ndarray, eta2: np.ndarray, phi2: np.ndarray) -> np.ndarray:
    """Return ΔR = √(Δη² + Δφ²) in float64."""
    delta_eta = np.asarray(eta1, np.float64) - np.asarray(eta2, np.float64)
    return np.hypot(delta_eta, delta_phi(phi1, phi2))


def delta_phi(phi1: np.ndarray, phi2: np.ndarray) -> np.ndarray:
    """Return φ1 − φ2 wrapped into [−π, π), float64."""
    difference = np.asarray(phi1, np.float64) - np.asarray(phi2, np.float64)
    return (difference + np.pi) % (2 * np.pi) - np.pi
