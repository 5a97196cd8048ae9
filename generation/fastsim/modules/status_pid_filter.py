"""Keeps the generator particles that matter (Delphes: StatusPidFilter)."""

import numpy as np
from numpy.typing import NDArray

from generation.fastsim.candidates import Candidates
from generation.fastsim.card import ModuleConfig
from generation.fastsim.module import EventStore, Module

PHOTON, TAU, W_BOSON, BOTTOM = 22, 15, 24, 5
STABLE = 1


class StatusPidFilter(Module):
    """Drops generator particles but those of the hard process, leptons, heavy quarks, bosons.

    Kept are also superpartners, stable photons, b-hadrons and what τ leptons and W bosons decay to.
    `PTMin` does not hold for b-quarks, b-hadrons and daughters of τ and W.
    """

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.input = config.text("InputArray", "Delphes/allParticles")
        self.output = config.text("OutputArray", "filteredParticles")
        self.pt_min = config.number("PTMin", 0.5)
        self.not_pileup = config.flag("RequireNotPileup", False)

    def run(self, store: EventStore) -> None:
        """Write the particles that are kept."""
        particles = self.array(store, self.input)
        code, status = np.abs(particles["pid"]), particles["status"]
        mother = _mother_codes(particles, code)
        # Delphes asks for daughters of τ leptons among light codes only, to save time.
        light = ~((code == TAU) | (code < 11) | ((code > 22) & (code < 100)) | (code > 1000))
        always = _has_bottom(code) | (light & (mother == TAU)) | (mother == W_BOSON)
        kept = always | (status == 3) | ((status > 20) & (status < 30))
        kept |= ((code > 3) & (code < 7)) | ((code > 10) & (code < 17))
        kept |= ((code > 22) & (code < 43)) | ((code == PHOTON) & (status == STABLE))
        kept |= (code >= 1000001) & (code <= 1000039)
        kept &= always | (code == BOTTOM) | (particles["pt"] >= self.pt_min)
        if self.not_pileup:
            kept &= particles["is_pu"] == 0
        self.export(store, self.output, particles.select(kept))


def _mother_codes(particles: Candidates, code: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the |PDG code| of the first mother of each particle; 0 without."""
    counts = np.repeat(particles.counts, particles.counts)
    known = (particles["m1"] >= 0) & (particles["m1"] < counts)
    first = np.repeat(particles.offsets[:-1], particles.counts)
    mother = np.zeros_like(code)
    mother[known] = code[(first + particles["m1"])[known].astype(np.int64)]
    return mother


def _has_bottom(code: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Tell which |PDG codes| are of hadrons with a b-quark, by their digits."""
    ten, hundred, thousand = ((code // 10**place) % 10 for place in (1, 2, 3))
    fundamental = (hundred == 0) & (thousand == 0) & (code % 10000 <= 100) & (code % 10000 > 0)
    hadron = (code > 100) & (code < 10_000_000) & ~fundamental
    return hadron & ((ten == BOTTOM) | (hundred == BOTTOM) | (thousand == BOTTOM))
