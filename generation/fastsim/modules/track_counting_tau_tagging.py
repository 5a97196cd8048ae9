"""Tags jets as τ by the number of their tracks (Delphes: TrackCountingTauTagging)."""

import math

import numpy as np

from generation.fastsim.candidates import Candidates
from generation.fastsim.card import ModuleConfig
from generation.fastsim.cones import pairs_within
from generation.fastsim.kernels import kernel
from generation.fastsim.module import EventStore, Module
from generation.fastsim.modules.b_tagging import look_up, read_efficiencies
from generation.fastsim.modules.tau_tagging import decays_hadronically, visible_direction

ELECTRON, MUON, TAU = 11, 13, 15

# Two prongs and more have one efficiency.
MOST_PRONGS = 2


class TrackCountingTauTagging(Module):
    """Tags each jet at random, with an efficiency for its number of prongs.

    Prongs are the tracks within `DeltaRTrack` of the jet. Their number (2 for two and more)
    is the code of the efficiency where the visible part of a hadronic τ lies within `DeltaR`, the
    negative number where none does; code 0 holds for jets without tracks and for numbers that the
    card leaves out. The jet gets the charge of the tracks.

    Delphes tags nothing at all before the first event with a hadronic τ; here, any event counts.
    """

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.particles = config.text("ParticleInputArray", "Delphes/allParticles")
        self.partons = config.text("PartonInputArray", "Delphes/partons")
        self.tracks = config.text("TrackInputArray", "TrackMerger/tracks")
        self.jets = config.text("JetInputArray", "FastJetFinder/jets")
        self.marks = {self.jets: ("tau_tag", "charge")}
        self.bit = config.bit("BitNumber")
        self.radius = config.number("DeltaR", 0.5)
        self.track_radius = config.number("DeltaRTrack", 0.2)
        self.track_pt_min = config.number("TrackPTMin", 1.0)
        self.pt_min = config.number("TauPTMin", 1.0)
        self.eta_max = config.number("TauEtaMax", 2.5)
        self.efficiencies = read_efficiencies(config)

    def run(self, store: EventStore) -> None:
        """Set this module's bit in the tag of the jets, and their charge."""
        jets, tracks = self.array(store, self.jets), self.array(store, self.tracks)
        tracks = tracks.select(tracks["pt"] >= self.track_pt_min)
        pairs = pairs_within(jets, tracks, self.track_radius)
        prongs = np.bincount(pairs.first, minlength=len(jets))
        charge = np.bincount(pairs.first, tracks["charge"][pairs.second], minlength=len(jets))

        is_tau = np.full(len(jets), False)
        is_tau[pairs_within(jets, self._taus(store), self.radius).first] = True
        code = np.where(is_tau, 1, -1) * np.minimum(prongs, MOST_PRONGS)
        efficiency = look_up(self.efficiencies, code, jets)
        tagged = (store.rng.random(len(jets)) <= efficiency).astype(np.int32)
        jets.mark("tau_tag", jets["tau_tag"].astype(np.int32) | (tagged << self.bit))
        jets.mark("charge", charge.astype(np.int32))

    def _taus(self, store: EventStore) -> Candidates:
        """Return the directions of the visible parts of hadronic τ leptons."""
        partons, particles = self.array(store, self.partons), self.array(store, self.particles)
        taus = partons.select(
            (np.abs(partons["pid"]) == TAU)
            & (partons["pt"] > self.pt_min)
            & (np.abs(partons["eta"]) <= self.eta_max)
        )
        momenta = np.stack([particles[name] for name in ("px", "py", "pz")], axis=1)
        eta, phi = np.empty(len(taus)), np.empty(len(taus))
        _visible_parts(
            taus["d1"], taus["d2"], taus.offsets,
            np.abs(particles["pid"]), momenta, particles["d1"], particles["d2"],
            particles.offsets, eta, phi,
        )  # fmt: skip
        visible = Candidates(taus.offsets, {"eta": eta, "phi": phi})
        return visible.select(np.isfinite(eta))


@kernel()
def _visible_parts(tau_d1, tau_d2, tau_offsets, code, momenta, d1, d2, particle_offsets, eta, phi):
    """Fill in the direction of what each hadronic τ leaves to see; η is infinite for others."""
    for event in range(len(tau_offsets) - 1):
        start, end = particle_offsets[event], particle_offsets[event + 1]
        for i in range(tau_offsets[event], tau_offsets[event + 1]):
            eta[i], phi[i] = math.inf, 0.0
            first, last = start + tau_d1[i], start + tau_d2[i]
            if _is_hadronic(first, last, start, end, code, d1, d2):
                eta[i], phi[i] = visible_direction(first, last, code, momenta)


@kernel()
def _is_hadronic(first, last, start, end, code, d1, d2):
    """Tell whether a τ has daughters, and no lepton among them or behind a W."""
    if not decays_hadronically(first, last, start, end, code, d1, d2):
        return False
    leptons = 0
    for i in range(first, last + 1):
        leptons += code[i] in (ELECTRON, MUON, TAU)
    return leptons == 0
