"""What a jet energy correction looks at, beyond momenta: pile-up, vertices, shapes, calorimeters.

Pure functions over the collections of an event file. Definitions are those of CMS where it has
them; what Delphes does not write is said where it matters.
"""

import numba
import numpy as np

from ntuplizer.batch import Collection
from ntuplizer.clustering import Jets, Momenta
from ntuplizer.jet_flavour import cluster_with_ghosts
from ntuplizer.particles import ETA_LIMIT, NEUTRINOS, four_momentum, gen_particles
from provenance.errors import UserError

# Side of the cells that hold one ghost each, in rapidity and azimuth: FastJet's ghost area 0.01.
GHOST_SPACING = 0.1
# Ghosts are scattered in their cells by this seed, the same way in all events, so that areas
# depend on the event alone.
_GHOST_SEED = 1
# So soft that no particle of a detector comes near, and far from underflow.
_GHOST_PT = 1e-50
# Ghosts farther from all jets than this many R cannot join one.
_GHOST_REACH = 2.0

# Constituents that count for the multiplicity, GeV (jec-gnn, and CMS' quark-gluon likelihood).
MULTIPLICITY_PT_MIN = 1.0

# How a constituent belongs to the reconstructed vertices, as numbers 0 to 5.
ASSOCIATIONS = (
    "neutral",
    "marked as pile-up",
    "in another vertex",
    "in no vertex, far from the first",
    "in no vertex, near the first",
    "in the first vertex",
)
# A track without a vertex is near the first one within this many standard deviations of dz.
ASSOCIATION_SIGNIFICANCE = 3.0
ASSOCIATION_LEAVES = ("Charge", "IsRecoPU", "VertexIndex", "DZ", "ErrorDZ")
VERTEX_LEAVES = ("Z", "ErrorZ", "Index")
RHO_LEAVES = ("Rho", "Edges")
CALORIMETER_LEAVES = ("Eem", "Ehad")


def jet_areas(jets: Jets, particles: Momenta, radius: float, pt_min: float) -> np.ndarray:
    """Return the active area of each jet (arXiv:0802.1188), float64 (n_jets,), in y and φ.

    The jets are clustered once more together with ghosts, one in each cell of `GHOST_SPACING`; the
    area is that of the cells whose ghosts a jet catches. Ghosts far from all jets would change
    nothing and are left out. FastJet's `active_area` is the same number with other random places
    of the ghosts.

    Parameters
    ----------
    jets
        From `clustering.cluster` or a selection of its jets.
    particles
        What was clustered.
    radius, pt_min
        The jet radius R and lowest jet pT (GeV) of that clustering.
    """
    n_events = len(particles.offsets) - 1
    lattice, (n_y, n_phi) = _ghost_lattice(np.abs(_rapidity(jets)).max(initial=0.0), radius)
    near = _near_jets(
        np.searchsorted(jets.event, np.arange(n_events + 1)),
        _rapidity(jets),
        jets.phi.astype(np.float64),
        lattice[0],
        lattice[1],
        n_y,
        n_phi,
        _GHOST_REACH * radius,
    )
    event, place = np.nonzero(near)
    y, phi = lattice[0][place], lattice[1][place]
    ghosts = Momenta(
        np.searchsorted(event, np.arange(n_events + 1)),
        _GHOST_PT * np.cos(phi),
        _GHOST_PT * np.sin(phi),
        _GHOST_PT * np.sinh(y),
        _GHOST_PT * np.cosh(y),
    )
    again, jet_of = cluster_with_ghosts(particles, ghosts, radius, pt_min)
    counts = np.bincount(jet_of[jet_of >= 0], minlength=len(again.event))
    # The same jets, of which `jets` may hold a part: told by any of their particles.
    found = np.full(len(particles.px), -1)
    found[again.constituents] = np.repeat(np.arange(len(again.event)), np.diff(again.offsets))
    first = jets.constituents[jets.offsets[:-1]]
    cell = GHOST_SPACING * 2 * np.pi / n_phi
    return cell * counts[found[first]]


def jet_rho(
    regions: Collection | None, event: np.ndarray, eta: np.ndarray, source: str
) -> np.ndarray:
    """Return the energy density ρ where each jet lies, float64 (n_jets,) in GeV.

    ρ is what the card's FastJetGridMedianEstimator finds in regions of rapidity: the median pT per
    area of cells. A jet beyond all regions gets that of the nearest one.

    Parameters
    ----------
    regions
        The branch `Rho` with `RHO_LEAVES`; None where a file has none.
    event, eta
        (n_jets,): the event of each jet, and its pseudorapidity.
    source
        Name of the file, for the error message.

    Raises
    ------
    UserError
        When there is no ρ, or an event of a jet has none: 0 would pass for a clean event.
    """
    n_events = 0 if regions is None else len(regions.offsets) - 1
    if regions is None or (len(event) and not regions.counts[np.unique(event)].all()):
        raise UserError(
            f"{source}: holds no energy density rho (branch Rho); simulate with a card that writes "
            "it, as delphes_cards/jetclass2_energy.tcl does"
        )
    owner = np.repeat(np.arange(n_events), regions.counts)
    low = regions["Edges"][:, 0].astype(np.float64)
    order = np.lexsort((low, owner))
    # All regions of all events on one axis, a jet finds the last one that begins below it.
    span = 2 * ETA_LIMIT
    begin = owner[order] * span + np.clip(low[order], -ETA_LIMIT + 1, ETA_LIMIT - 1)
    place = np.asarray(event) * span + np.clip(eta, -ETA_LIMIT + 1, ETA_LIMIT - 1)
    index = np.searchsorted(begin, place, side="right") - 1
    # Left of the first region there is the previous event.
    index = np.maximum(index, np.searchsorted(owner[order], event))
    return regions["Rho"][order][index].astype(np.float64)


def vertex_counts(vertices: Collection | None, event: np.ndarray, source: str) -> np.ndarray:
    """Return the number of reconstructed vertices of each jet's event, int64 (n_jets,).

    The branch `Vertex` of the JetClass-II cards holds the true interactions of PileUpMerger; what
    a VertexFinder makes of the tracks is `ReconstructedVertex` (some 30 for 50 interactions).

    Parameters
    ----------
    vertices
        The branch `ReconstructedVertex`; None where a file has none.
    event
        (n_jets,): the event of each jet.
    source
        Name of the file, for the error message.

    Raises
    ------
    UserError
        When the file has no reconstructed vertices.
    """
    if vertices is None:
        raise UserError(
            f"{source}: holds no reconstructed vertices (branch ReconstructedVertex); simulate "
            "with a card that writes them, as delphes_cards/jetclass2_energy.tcl does"
        )
    return vertices.counts[event]


def vertex_association(
    candidates: Collection, index: np.ndarray, event: np.ndarray, vertices: Collection
) -> np.ndarray:
    """Return how constituents belong to the reconstructed vertices, int8 (n,): see `ASSOCIATIONS`.

    This stands for CMS' association quality. A VertexFinder gives each track its vertex
    (`VertexIndex`, the `Index` of the vertex, −1 for none); the first vertex of an event is the one
    of highest Σ pT². Candidates of charged-hadron subtraction and PUPPI come without what it marked
    as pile-up (`IsRecoPU`), so that number 1 occurs only in files of other cards.

    Parameters
    ----------
    candidates
        The collection, with `ASSOCIATION_LEAVES`.
    index, event
        (n,): positions of the constituents in the collection, and their events.
    vertices
        The branch `ReconstructedVertex` with `VERTEX_LEAVES`, sorted as Delphes does.
    """
    value = {leaf: candidates[leaf][index] for leaf in ASSOCIATION_LEAVES}
    none = vertices.counts[event] == 0
    first = np.where(none, -2, vertices.first("Index")[event])
    distance = np.abs(value["DZ"].astype(np.float64) - vertices.first("Z")[event])
    error = np.hypot(value["ErrorDZ"], vertices.first("ErrorZ")[event])
    near = ~none & (distance < ASSOCIATION_SIGNIFICANCE * error)
    own = value["VertexIndex"]
    choices = [
        value["Charge"] == 0,
        value["IsRecoPU"] != 0,
        own == first,
        own >= 0,
        near,
    ]
    return np.select(choices, [0, 1, 5, 2, 4], 3).astype(np.int8)


def calorimeter_values(
    candidates: Collection, index: np.ndarray, energy: np.ndarray
) -> dict[str, np.ndarray]:
    """Return what the calorimeters say of constituents, float64 (n,) each.

    - `hcal_fraction`: Ehad / (Eem + Ehad), 0 for tracks. Energy flow of SimpleCalorimeters makes
      candidates of one calorimeter each, so that it is 0 or 1; a Calorimeter's towers lie between.
    - `puppi_weight`: energy over Eem + Ehad for neutral candidates, which is PUPPI's weight, since
      the calorimeter energies are kept unweighted; 1 for tracks and without PUPPI.

    Parameters
    ----------
    candidates
        The collection, with `CALORIMETER_LEAVES`.
    index, energy
        (n,): positions of the constituents in the collection, and their energies in GeV.
    """
    em, had = (candidates[leaf][index].astype(np.float64) for leaf in CALORIMETER_LEAVES)
    total = em + had
    seen = total > 0
    return {
        "hcal_fraction": np.divide(had, total, out=np.zeros_like(total), where=seen),
        "puppi_weight": np.divide(energy, total, out=np.ones_like(total), where=seen),
    }


def relative_momentum_error(candidates: Collection, index: np.ndarray) -> np.ndarray:
    """Return ErrorPT / PT of constituents, float64 (n,); 0 for neutral ones.

    It is 0 for all of the JetClass-II cards, whose TrackSmearing leaves momenta as they are
    (`PResolutionFormula 0`).
    """
    pt = candidates["PT"][index].astype(np.float64)
    error = candidates["ErrorPT"][index].astype(np.float64)
    return np.divide(error, pt, out=np.zeros_like(pt), where=pt > 0)


def jet_shapes(
    pt: np.ndarray,
    delta_eta: np.ndarray,
    delta_phi: np.ndarray,
    jet: np.ndarray,
    n_jets: int,
) -> dict[str, np.ndarray]:
    """Return the shapes that tell quarks from gluons, as CMS does (CMS-PAS-JME-13-002).

    - `multiplicity`: constituents with pT > `MULTIPLICITY_PT_MIN`, int64;
    - `pt_dispersion` (ptD): √Σ pT² / Σ pT, 1 for a single constituent, float64;
    - `minor_axis` (axis2): root of the smaller eigenvalue of the covariance of (Δη, Δφ), weighted
      by pT², float64.

    Empty jets have 0 everywhere.

    Parameters
    ----------
    pt, delta_eta, delta_phi
        (n,): pT of all constituents in GeV, and their distances to the jet axis; Δφ is wrapped
        here.
    jet, n_jets
        (n,): the jet of each constituent; number of jets.
    """
    pt = np.asarray(pt, np.float64)
    delta_phi = (np.asarray(delta_phi, np.float64) + np.pi) % (2 * np.pi) - np.pi

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(jet, weights=values, minlength=n_jets)

    weight = total(pt**2)
    filled = weight > 0
    scale = np.where(filled, weight, 1.0)
    mean_eta, mean_phi = total(pt**2 * delta_eta) / scale, total(pt**2 * delta_phi) / scale
    # Around the mean, not as a difference of squares: narrow jets would lose all digits.
    eta, phi = delta_eta - mean_eta[jet], delta_phi - mean_phi[jet]
    eta_eta = total(pt**2 * eta**2) / scale
    phi_phi = total(pt**2 * phi**2) / scale
    eta_phi = total(pt**2 * eta * phi) / scale
    # λ₋ = det / λ₊, which does not cancel either.
    larger = (eta_eta + phi_phi + np.hypot(eta_eta - phi_phi, 2 * eta_phi)) / 2
    determinant = np.maximum(eta_eta * phi_phi - eta_phi**2, 0)
    smaller = np.divide(determinant, larger, out=np.zeros(n_jets), where=larger > 0)
    scalar = total(pt)
    return {
        "multiplicity": np.bincount(jet[pt > MULTIPLICITY_PT_MIN], minlength=n_jets),
        "pt_dispersion": np.sqrt(weight) / np.where(filled, scalar, 1.0),
        "minor_axis": np.sqrt(smaller),
    }


def gen_jets_with_neutrinos(
    record: Collection, events: np.ndarray, radius: float, pt_min: float
) -> tuple[Jets, np.ndarray]:
    """Cluster GEN-jets as always, and add up their pT with the neutrinos inside.

    Neutrinos join as ghosts and leave the jets as they are; the sum of momenta then includes them.
    A jet energy regression with this target corrects for neutrinos of b and c hadrons.

    Parameters
    ----------
    record
        The branch `Particle` with PID, Status, PT, Eta, Phi and Mass.
    events
        Events in which GEN-jets are wanted.
    radius, pt_min
        The jet radius R, and the lowest GEN-jet pT (GeV) without neutrinos.

    Returns
    -------
    jets : Jets
        GEN-jets of all stable particles but neutrinos.
    pt : numpy.ndarray
        float64 (n_jets,): pT with neutrinos, GeV.
    """
    momenta, _ = gen_particles(record, events)
    wanted = np.zeros(len(record.offsets) - 1, bool)
    wanted[events] = True
    index = np.flatnonzero(
        (record["Status"] == 1)
        & np.isin(np.abs(record["PID"]), NEUTRINOS)
        & (record["PT"] > 0)
        & (np.abs(record["Eta"]) < ETA_LIMIT)
        & np.repeat(wanted, record.counts)
    )
    neutrinos = Momenta(np.searchsorted(index, record.offsets), *four_momentum(record, index))
    jets, jet_of = cluster_with_ghosts(momenta, neutrinos, radius, pt_min)
    inside = jet_of >= 0
    pt, phi = jets.pt.astype(np.float64), jets.phi.astype(np.float64)
    px, py = (
        np.bincount(jet_of[inside], weights=values[inside], minlength=len(pt))
        for values in (neutrinos.px, neutrinos.py)
    )
    return jets, np.hypot(pt * np.cos(phi) + px, pt * np.sin(phi) + py)


def _rapidity(jets: Jets) -> np.ndarray:
    pz = jets.pt.astype(np.float64) * np.sinh(jets.eta.astype(np.float64))
    return np.arcsinh(pz / np.hypot(jets.pt, np.maximum(jets.mass, 0)))


def _ghost_lattice(largest: float, radius: float) -> tuple[np.ndarray, tuple[int, int]]:
    """Return rapidities and azimuths (2, n) of ghosts around jets up to a rapidity, by rows in y.

    Rows are counted from y = 0 outwards, so that a ghost has one place in any event.
    """
    n_rows = int(np.ceil((largest + _GHOST_REACH * radius) / GHOST_SPACING)) + 1
    n_phi = round(2 * np.pi / GHOST_SPACING)
    scatter = np.random.default_rng(_GHOST_SEED).random((n_rows, 2, n_phi, 2))
    y = (np.arange(n_rows)[:, None, None] + scatter[..., 0]) * GHOST_SPACING
    phi = (np.arange(n_phi) + scatter[..., 1]) * 2 * np.pi / n_phi
    # Rows of negative rapidity, the farthest first, then those of positive one.
    y = np.concatenate((-y[::-1, 0], y[:, 1]))
    phi = np.concatenate((phi[::-1, 0], phi[:, 1]))
    return np.stack((y.ravel(), phi.ravel())), (2 * n_rows, n_phi)


@numba.njit(cache=True)
def _near_jets(offsets, jet_y, jet_phi, y, phi, n_y, n_phi, reach):
    """Tell which ghosts of the lattice lie within `reach` of a jet, bool (n_events, n_ghosts)."""
    near = np.zeros((len(offsets) - 1, len(y)), np.bool_)
    for event in range(len(offsets) - 1):
        for jet in range(offsets[event], offsets[event + 1]):
            middle = int(np.floor(jet_y[jet] / GHOST_SPACING)) + n_y // 2
            rows = int(reach / GHOST_SPACING) + 2
            for row in range(max(middle - rows, 0), min(middle + rows + 1, n_y)):
                for ghost in range(row * n_phi, (row + 1) * n_phi):
                    delta = abs(phi[ghost] - jet_phi[jet]) % (2 * np.pi)
                    delta = min(delta, 2 * np.pi - delta)
                    if (y[ghost] - jet_y[jet]) ** 2 + delta * delta < reach * reach:
                        near[event, ghost] = True
    return near
