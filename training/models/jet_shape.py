"""What a jet, or a token of it, is like as a whole: numbers that need no label, for predictions."""

import torch
from torch import Tensor

from training.models.jet_tokens import EPSILON, Jets, coordinates, relative_angles

# Of a whole jet, before the shares of its momentum by the features of constituents.
SHAPES = (
    *("ln m/pT", "ln n", "width", "dispersion", "major axis", "minor axis"),
    *("ln e2", "ln C2", "ln D2"),
)
# Centres and scales that make them of order one for jets of R = 0.8.
CENTRE = (-2.0, 3.2, 0.14, 0.35, 0.155, 0.058, -3.0, -2.4, 0.5)
SCALE = (0.7, 0.6, 0.1, 0.14, 0.1, 0.04, 0.7, 1.1, 1.1)
LIMIT = 5.0
# Shares of momentum by kind are small beside them.
SHARES = 4.0
# Constituents whose correlations are looked at: the hardest, of which there are at most so many.
CORRELATED = 24
# Of a token: ln shares of pT and energy, ln of the number of constituents.
MOMENTUM_SHARES = 3
# The features that say which groups are there, behind all others.
PRESENCES = 2


def jet_shape(jets: Jets) -> Tensor:
    """Return what whole jets are like, without gradient.

    Returns
    -------
    Tensor
        (B, 9 + features): `SHAPES`, of order one, then the features of the constituents, averaged
        with their transverse momenta (presence is left out).
    """
    # In 32 bits: sums over triples lose too much otherwise.
    with torch.no_grad(), torch.autocast(jets.vectors.device.type, enabled=False):
        vectors = jets.vectors.float() * jets.mask[:, :, None]
        whole = vectors.sum(dim=1)
        pt = coordinates(vectors)[0] * jets.mask
        total = coordinates(whole)[0].clamp(min=EPSILON)
        share = pt / pt.sum(dim=1, keepdim=True).clamp(min=EPSILON)
        angles = relative_angles(vectors, whole[:, None])
        energy, momentum = whole[:, 3].double(), whole[:, :3].double()
        mass = (energy.square() - momentum.square().sum(dim=1)).clamp(min=0).sqrt().float()
        eta, phi, distance = angles.unbind(-1)
        spread_eta, spread_phi = (share * eta.square()).sum(1), (share * phi.square()).sum(1)
        mixed = (share * eta * phi).sum(1)
        # Principal axes of the momentum in the plane of angles.
        half = (spread_eta + spread_phi) / 2
        root = ((spread_eta - spread_phi).square() / 4 + mixed.square()).sqrt()
        numbers = (
            (mass / total).clamp(min=1e-3).log(),
            jets.mask.sum(dim=1).clamp(min=1).float().log(),
            (share * distance).sum(dim=1),
            share.square().sum(dim=1).sqrt(),
            (half + root).sqrt(),
            (half - root).clamp(min=0).sqrt(),
            *_correlations(share, eta, phi),
        )
        scaled = zip(numbers, CENTRE, SCALE, strict=True)
        shapes = torch.stack([(x - centre) / scale for x, centre, scale in scaled], dim=1)
        shapes = shapes.clamp(-LIMIT, LIMIT)
        own = jets.features[..., :-PRESENCES].float()
        return torch.cat((shapes, SHARES * (share[:, :, None] * own).sum(dim=1)), dim=1)


def _correlations(share: Tensor, eta: Tensor, phi: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return ln e2, ln C2 and ln D2 of the hardest constituents, with β = 1 (arXiv:1409.6298)."""
    share, hardest = share.topk(min(CORRELATED, share.shape[1]), dim=1)
    eta, phi = eta.gather(1, hardest), phi.gather(1, hardest)
    distance = torch.hypot(eta[:, :, None] - eta[:, None], phi[:, :, None] - phi[:, None])
    pairs = share[:, :, None] * distance * share[:, None]
    # Sums over ordered pairs and triples: each counts twice and six times.
    two = pairs.sum(dim=(1, 2)) / 2
    sides = distance[:, :, :, None] * distance[:, :, None, :] * distance[:, None, :, :]
    three = torch.einsum("bi,bj,bk,bijk->b", share, share, share, sides) / 6
    ln_two, ln_three = two.clamp(min=1e-3).log(), three.clamp(min=1e-7).log()
    return ln_two, ln_three - 2 * ln_two, ln_three - 3 * ln_two


def momentum_shares(jets: Jets, context: Tensor) -> Tensor:
    """Return how large tokens are beside the visible part of their jet, without gradient.

    Parameters
    ----------
    jets
        The batch.
    context
        (B, S) bool: visible tokens.

    Returns
    -------
    Tensor
        (B, S, 3): ln shares of pT and energy, and ln of the number of constituents, of order one.
    """
    with torch.no_grad():
        vectors = jets.vectors.float() * jets.mask[:, :, None]
        counts = jets.mask.float()
        if jets.patches is not None:
            of, slots = jets.patches.of, context.shape[1]
            sums = vectors.new_zeros(len(vectors), slots, 4)
            vectors = sums.scatter_add(1, of[:, :, None].expand(-1, -1, 4), vectors)
            counts = counts.new_zeros(len(counts), slots).scatter_add(1, of, counts)
        visible = (vectors * context[:, :, None]).sum(dim=1, keepdim=True)
        pt, visible_pt = coordinates(vectors)[0], coordinates(visible)[0]
        energy, visible_energy = vectors[..., 3], visible[..., 3]
        shares = torch.stack((pt / visible_pt.clamp(min=EPSILON),
                              energy / visible_energy.clamp(min=EPSILON)), dim=-1)  # fmt: skip
        logs = ((shares.clamp(min=1e-5).log() + 4) / 2).clamp(-3, 3)
        return torch.cat((logs, counts.clamp(min=1).log()[..., None]), dim=-1)
