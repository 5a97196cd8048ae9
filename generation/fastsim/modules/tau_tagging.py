"""Tags jets with a hadronic τ in them (Delphes: TauTagging)."""

import math

import numpy as np
from numpy.typing import NDArray

from generation.fastsim.candidates import Candidates
from generation.fastsim.card import ModuleConfig
from generation.fastsim.kernels import kernel
from generation.fastsim.module import EventStore, Module
from generation.fastsim.modules.b_tagging import look_up, read_efficiencies

ELECTRON, MUON, TAU, TAU_NEUTRINO, W_BOSON = 11, 13, 15, 16, 24


class TauTagging(Module):
    """Tags each jet at random, with the efficiency for what is within `DeltaR` of it.

    That is a τ by its visible decay products, else the nearest of the electrons and muons that
    the partons hold. The jet gets its charge, or a random one, as in Delphes.
    """

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.particles = config.text("ParticleInputArray", "Delphes/allParticles")
        self.partons = config.text("PartonInputArray", "Delphes/partons")
        self.jets = config.text("JetInputArray", "FastJetFinder/jets")
        self.marks = {self.jets: ("tau_flavor", "tau_tag", "tau_weight", "charge")}
        self.bit = config.bit("BitNumber")
        self.radius = config.number("DeltaR", 0.5)
        self.pt_min = config.number("TauPTMin", 1.0)
        self.eta_max = config.number("TauEtaMax", 2.5)
        self.efficiencies = read_efficiencies(config)

    def run(self, store: EventStore) -> None:
        """Set the τ flavour, this module's bit in the tag, its probability, and the charge."""
        jets = self.array(store, self.jets)
        partons, particles = self.array(store, self.partons), self.array(store, self.particles)
        code = np.abs(partons["pid"])
        chosen = np.isin(code, (ELECTRON, MUON, TAU)) & (partons["pt"] > self.pt_min)
        partons = partons.select(chosen & (np.abs(partons["eta"]) <= self.eta_max))
        momenta = np.stack([particles[name] for name in ("px", "py", "pz")], axis=1)
        flavor, charge = _match(
            jets["eta"], jets["phi"], jets.offsets,
            np.abs(partons["pid"]), partons["charge"], partons["eta"], partons["phi"],
            partons["d1"], partons["d2"], partons.offsets,
            np.abs(particles["pid"]), momenta, particles["d1"], particles["d2"],
            particles.offsets, self.radius,
        )  # fmt: skip
        random_charge = np.where(store.rng.random(len(jets)) > 0.5, 1, -1)
        efficiency = look_up(self.efficiencies, flavor, jets)
        tagged = (store.rng.random(len(jets)) <= efficiency).astype(np.int32)
        jets.mark("tau_flavor", flavor)
        jets.mark("tau_tag", jets["tau_tag"].astype(np.int32) | (tagged << self.bit))
        jets.mark("tau_weight", efficiency)
        jets.mark("charge", np.where(flavor != 0, charge, random_charge).astype(np.int32))


def hadronic_taus(taus: Candidates, particles: Candidates) -> NDArray[np.bool_]:
    """Tell which τ leptons decay to hadrons, as `TauTagging` sees it.

    Parameters
    ----------
    taus
        τ leptons; their daughters are given by their places in the record.
    particles
        The record.
    """
    found = np.empty(len(taus), np.bool_)
    _find_hadronic(
        taus["d1"], taus["d2"], taus.offsets,
        np.abs(particles["pid"]), particles["d1"], particles["d2"], particles.offsets, found,
    )  # fmt: skip
    return found


@kernel()
def _find_hadronic(tau_d1, tau_d2, offsets, code, d1, d2, particle_offsets, found):
    for event in range(len(offsets) - 1):
        start, end = particle_offsets[event], particle_offsets[event + 1]
        for i in range(offsets[event], offsets[event + 1]):
            first, last = start + tau_d1[i], start + tau_d2[i]
            found[i] = decays_hadronically(first, last, start, end, code, d1, d2)


@kernel()
def _match(
    eta, phi, offsets,
    parton_code, parton_charge, parton_eta, parton_phi, parton_d1, parton_d2, parton_offsets,
    code, momenta, d1, d2, particle_offsets, radius,
):  # fmt: skip
    """Return the |PDG code| of what each jet holds, and its charge; 0 for nothing."""
    flavor, charge = np.zeros(len(eta), np.int32), np.zeros(len(eta), np.int32)
    for event in range(len(offsets) - 1):
        start, end = particle_offsets[event], particle_offsets[event + 1]
        nearest = np.full(offsets[event + 1] - offsets[event], radius)
        for i in range(parton_offsets[event], parton_offsets[event + 1]):
            is_tau = parton_code[i] == TAU
            towards_eta, towards_phi = parton_eta[i], parton_phi[i]
            if is_tau:
                first, last = start + parton_d1[i], start + parton_d2[i]
                if not decays_hadronically(first, last, start, end, code, d1, d2):
                    continue
                towards_eta, towards_phi = visible_direction(first, last, code, momenta)
            for jet in range(offsets[event], offsets[event + 1]):
                angle = abs(phi[jet] - towards_phi)
                distance = math.hypot(eta[jet] - towards_eta, min(angle, 2.0 * math.pi - angle))
                if is_tau and distance <= radius:
                    flavor[jet], charge[jet] = TAU, parton_charge[i]
                elif not is_tau and flavor[jet] != TAU and distance < nearest[jet - offsets[event]]:
                    nearest[jet - offsets[event]] = distance
                    flavor[jet], charge[jet] = parton_code[i], parton_charge[i]
    return flavor, charge


@kernel()
def decays_hadronically(first, last, start, end, code, d1, d2):
    """Tell whether a τ has daughters, and no W among them that decays to an electron or muon.

    Delphes looks for leptons behind a W only, so that a τ whose leptons are its own daughters
    (as in Pythia's record) counts as hadronic.
    """
    if first < start or last < first or last >= end:
        return False
    for i in range(first, last + 1):
        if code[i] == W_BOSON:
            if d1[i] < 0 or start + d2[i] >= end:
                return False
            for j in range(start + d1[i], start + d2[i] + 1):
                if code[j] in (ELECTRON, MUON):
                    return False
    return True


@kernel()
def visible_direction(first, last, code, momenta):
    """Return η and φ of the sum of all daughters but the τ neutrino."""
    px, py, pz = 0.0, 0.0, 0.0
    for i in range(first, last + 1):
        if code[i] != TAU_NEUTRINO:
            px += momenta[i, 0]
            py += momenta[i, 1]
            pz += momenta[i, 2]
    pt = math.hypot(px, py)
    if pt == 0.0:
        return math.copysign(math.inf, pz), 0.0
    return math.asinh(pz / pt), math.atan2(py, px)
