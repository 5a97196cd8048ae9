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
    ) -> NDArray[np.float64]:
        """Return the area four-vectors of jets.

        Parameters
        ----------
        momenta, offsets
            (n, 4) px, py, pz, E in GeV of the particles, and the rows of each event.
        jets, jet_offsets
            (n_jets, 4) momenta of the jets found among them, and the rows of each event.

        Returns
        -------
        numpy.ndarray
            (n_jets, 4) area as a vector, of which pT is the area in η and φ of a narrow jet.
        """
        areas = np.zeros((len(jets), 4))
        for event in np.flatnonzero(np.diff(jet_offsets)):
            rows = slice(jet_offsets[event], jet_offsets[event + 1])
            self._ghosts.restore_checkpoint_random()
            sequence = fastjet.ClusterSequenceArea(
                _vectors(momenta[offsets[event] : offsets[event + 1]]),
                self._definition,
                self._area,
            )
            found = sequence.inclusive_jets()
            # The same jets in another order: ghosts weigh nothing, but not exactly.
            distance = np.abs(jets[rows, None] - _components(found)).sum(axis=2)
            areas[rows] = _components([found[i].area_4vector() for i in distance.argmin(axis=1)])
        return areas

    def densities(
        self,
        momenta: NDArray[np.float64],
        offsets: NDArray[np.int64],
        ranges: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Return the median pT per area of the jets in ranges of rapidity.

        Parameters
        ----------
        momenta, offsets
            As for `measure`.
        ranges
            (k, 2) lowest and highest rapidity.

        Returns
        -------
        numpy.ndarray
            (n_events, k) ρ in GeV.
        """
        estimators = [
            fastjet.JetMedianBackgroundEstimator(
                fastjet.SelectorRapRange(*limits), self._definition, self._area
            )
            for limits in ranges.tolist()
        ]
        rho = np.zeros((len(offsets) - 1, len(ranges)))
        for event in range(len(rho)):
            particles = _vectors(momenta[offsets[event] : offsets[event + 1]])
            for k, estimator in enumerate(estimators):
                self._ghosts.restore_checkpoint_random()
                estimator.set_particles(particles)
                rho[event, k] = estimator.rho()
        return rho


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


def _vectors(momenta: NDArray[np.float64]) -> fastjet.vectorPJ:
    return fastjet.vectorPJ([fastjet.PseudoJet(*momentum) for momentum in momenta.tolist()])


def _components(vectors: fastjet.vectorPJ | list[fastjet.PseudoJet]) -> NDArray[np.float64]:
    """Return (n, 4) px, py, pz, E."""
    values = [(vector.px(), vector.py(), vector.pz(), vector.e()) for vector in vectors]
    return np.array(values).reshape(-1, 4)
