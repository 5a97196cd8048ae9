"""What two particles have in common (F. A. Dreyer, H. Qu, arXiv:2012.08526)."""

import torch
from torch import Tensor

# Floor of the logarithms' arguments, as in the original.
EPSILON = 1e-8


def pair_features(first: Tensor, second: Tensor) -> Tensor:
    """Return ln kT, ln z, ln ΔR and ln m² of pairs of particles.

    Parameters
    ----------
    first, second
        (P, 7): pT, rapidity, φ, px, py, pz, E of either particle.

    Returns
    -------
    Tensor
        (P, 4), symmetric in the two particles. kT = min(pT) ΔR, z = min(pT) / sum(pT).
    """
    pt_1, rapidity_1, phi_1 = first[:, :3].unbind(1)
    pt_2, rapidity_2, phi_2 = second[:, :3].unbind(1)
    # All in 32 bits under autocast too: masses of close pairs are differences of large numbers.
    delta_phi = torch.remainder(phi_1 - phi_2 + torch.pi, 2 * torch.pi) - torch.pi
    delta_r = ((rapidity_1 - rapidity_2).square() + delta_phi.square()).sqrt()
    softer = torch.minimum(pt_1, pt_2)
    px, py, pz, energy = (first[:, 3:] + second[:, 3:]).unbind(1)
    mass2 = energy.square() - (px.square() + py.square() + pz.square())
    return torch.stack(
        (
            (softer * delta_r).clamp(min=EPSILON).log(),
            (softer / (pt_1 + pt_2).clamp(min=EPSILON)).clamp(min=EPSILON).log(),
            delta_r.clamp(min=EPSILON).log(),
            mass2.clamp(min=EPSILON).log(),
        ),
        dim=1,
    )


@torch.no_grad()
def kinematics(vectors: Tensor) -> Tensor:
    """Return (T, 7) in 32 bits: pT, rapidity, φ, px, py, pz, E of (T, 4) vectors."""
    px, py, pz, energy = vectors.float().unbind(1)
    pt = (px.square() + py.square()).sqrt()
    rapidity = 0.5 * torch.log(1 + 2 * pz / (energy - pz).clamp(min=1e-20))
    return torch.stack((pt, rapidity, torch.atan2(py, px), px, py, pz, energy), dim=1)
