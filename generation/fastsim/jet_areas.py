"""Areas of jets, and the energy density of an event from them (arXiv:0802.1188, 0707.1378)."""

import fastjet
import numpy as np
from numpy.typing import NDArray

from generation.fastsim.card import ModuleConfig

# Delphes' AreaAlgorithm; 4 is the Voronoi area, every other number means no area.
GHOSTED_AREAS = {
    1: fastjet.active_area_explicit_ghosts,
    2: fastjet.one_ghost_passive_area,
    3: fastjet.passive_area,
    5: fastjet.active_area,
}
VORONOI_AREA = 4


class JetAreas:
    """Measures areas with FastJet.

    FastJet scatters its ghosts at random with a generator of its own, common to the process. Each
    event starts with the same state of it, so that areas depend on the event alone.

    Parameters
    ----------
    definition
        How the jets are found.
    area
        What their area is.
    ghosts
        The ghosts that measure it.
    """

    def __init__(
        self,
        definition: fastjet.JetDefinition,
        area: fastjet.AreaDefinition,
        ghosts: fastjet.GhostedAreaSpec,
    ) -> None:
        self._definition = definition
        self._area = area
        self._ghosts = ghosts
        self._ghosts.checkpoint_random()

    def measure(
        self,
        momenta: NDArray[np.float64],
        offsets: NDArray[np.int64],
        jets: NDArray[np.float64],
        jet_offsets: NDArray[np.int64],
        ranges: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the area four-vectors of jets, and energy densities.

        Parameters
        ----------
        momenta, offsets
            (n, 4) px, py, pz, E in GeV of the particles, and the rows of each event.
        jets, jet_offsets
            (n_jets, 4) momenta of the jets found among them, and the rows of each event.
        ranges
            (k, 2) lowest and highest rapidity in which the density is wanted.

        Returns
        -------
        areas
            (n_jets, 4) area as a vector, of which pT is the area in η and φ of a narrow jet.
        rho
            (n_events, k) median pT per area of all jets in the range, GeV. Delphes clusters once
            more for each range, with other ghosts.
        """
        areas, rho = np.zeros((len(jets), 4)), np.zeros((len(offsets) - 1, len(ranges)))
        estimators = [
            fastjet.JetMedianBackgroundEstimator(fastjet.SelectorRapRange(*limits))
            for limits in ranges.tolist()
        ]
        wanted = np.full(len(rho), True) if estimators else np.diff(jet_offsets) > 0
        for event in np.flatnonzero(wanted):
            self._ghosts.restore_checkpoint_random()
            sequence = fastjet.ClusterSequenceArea(
                _vectors(momenta[offsets[event] : offsets[event + 1]]),
                self._definition,
                self._area,
            )
            rows = slice(jet_offsets[event], jet_offsets[event + 1])
            areas[rows] = _areas(sequence, jets[rows])
            for k, estimator in enumerate(estimators):
                estimator.set_cluster_sequence(sequence)
                rho[event, k] = estimator.rho()
        return areas, rho


def read_areas(config: ModuleConfig, definition: fastjet.JetDefinition) -> JetAreas | None:
    """Return the areas that a `FastJetFinder` asks for with `AreaAlgorithm`; None for none."""
    algorithm = config.integer("AreaAlgorithm", 0)
    ghosts = fastjet.GhostedAreaSpec(
        config.number("GhostEtaMax", 5.0),
        config.integer("Repeat", 1),
        config.number("GhostArea", 0.01),
        config.number("GridScatter", 1.0),
        config.number("PtScatter", 0.1),
        config.number("MeanGhostPt", 1e-100),
    )
    voronoi = fastjet.VoronoiAreaSpec(config.number("EffectiveRfact", 1.0))
    if algorithm in GHOSTED_AREAS:
        return JetAreas(
            definition, fastjet.AreaDefinition(GHOSTED_AREAS[algorithm], ghosts), ghosts
        )
    if algorithm == VORONOI_AREA:
        return JetAreas(definition, fastjet.AreaDefinition(voronoi), ghosts)
    return None


def _areas(sequence: fastjet.ClusterSequenceArea, jets: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the (n, 4) area vectors of (n, 4) jets, which the sequence has found too."""
    if not len(jets):
        return np.zeros((0, 4))
    softest = np.hypot(jets[:, 0], jets[:, 1]).min()
    found = sequence.inclusive_jets(0.99 * softest)
    # The same jets in another order: ghosts weigh nothing, but not exactly.
    distance = np.abs(jets[:, None] - _components(found)).sum(axis=2)
    return _components([found[i].area_4vector() for i in distance.argmin(axis=1)])


def _vectors(momenta: NDArray[np.float64]) -> fastjet.vectorPJ:
    return fastjet.vectorPJ([fastjet.PseudoJet(*momentum) for momentum in momenta.tolist()])


def _components(vectors: fastjet.vectorPJ | list[fastjet.PseudoJet]) -> NDArray[np.float64]:
    """Return (n, 4) px, py, pz, E."""
    values = [(vector.px(), vector.py(), vector.pz(), vector.e()) for vector in vectors]
    return np.array(values).reshape(-1, 4)
