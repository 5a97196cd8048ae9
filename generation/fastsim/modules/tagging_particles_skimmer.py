"""Keeps the generator particles that tags need (Delphes: TaggingParticlesSkimmer)."""

import numpy as np

from generation.fastsim.candidates import Candidates, consecutive_runs, merge
from generation.fastsim.card import ModuleConfig
from generation.fastsim.module import EventStore, Module
from generation.fastsim.modules.tau_tagging import TAU, TAU_NEUTRINO, hadronic_taus


class TaggingParticlesSkimmer(Module):
    """Keeps hard partons within `EtaMax`, and the visible parts of hadronic τ leptons before them.

    `PTMin` and `EtaMax` hold for the τ itself, not for what is visible. Delphes writes nothing
    at all before the first event with a hadronic τ; here, any event counts.
    """

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.partons = config.text("PartonInputArray", "Delphes/partons")
        self.particles = config.text("ParticleInputArray", "Delphes/allParticles")
        self.output = config.text("OutputArray", "taggingParticles")
        self.pt_min = config.number("PTMin", 15.0)
        self.eta_max = config.number("EtaMax", 2.5)

    def run(self, store: EventStore) -> None:
        """Write clones of the τ leptons, and the other partons."""
        partons, particles = self.array(store, self.partons), self.array(store, self.particles)
        central = np.abs(partons["eta"]) <= self.eta_max
        is_tau = np.abs(partons["pid"]) == TAU
        taus = partons.select(is_tau & central & (partons["pt"] > self.pt_min))
        taus = taus.select(hadronic_taus(taus, particles))
        others = partons.select(~is_tau & central & (partons["pt"] >= self.pt_min))
        self.export(store, self.output, merge([_visible(taus, particles), others]))


def _visible(taus: Candidates, particles: Candidates) -> Candidates:
    """Return clones of τ leptons with the momentum of their daughters without the neutrino."""
    first = particles.offsets[taus.event_of_row()] + taus["d1"]
    count = taus["d2"] - taus["d1"] + 1
    daughters = consecutive_runs(first.astype(np.int64), count.astype(np.int64))
    owner = np.repeat(np.arange(len(taus)), count)
    seen = np.abs(particles["pid"][daughters]) != TAU_NEUTRINO
    momentum = {
        name: np.bincount(owner[seen], particles[name][daughters[seen]], minlength=len(taus))
        for name in ("px", "py", "pz", "e")
    }
    return taus.clone(np.arange(len(taus)), **momentum)
