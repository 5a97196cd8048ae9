"""Jets whose constituents are drawn at random."""

import numpy as np


def random_jet(rng, n, spread=0.4):
    """Return n constituents, (n, 4) px, py, pz, E, around η = 0.7 and φ = 3."""
    pt = rng.exponential(8.0, n) + 0.2
    eta, phi = 0.7 + spread * rng.standard_normal(n), 3.0 + spread * rng.standard_normal(n)
    mass = rng.choice([0.0, 0.13957], n)
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    return np.stack([px, py, pz, np.sqrt(px**2 + py**2 + pz**2 + mass**2)], axis=1)
