"""Flavours of jets: against Pythia's particle data, real Delphes events and known hard partons."""

import numpy as np
import pytest
import pythia8mc
from decays import Particle, record

from generation.process import load_process
from generation.pythia import EventGenerator
from ntuplizer.batch import Collection
from ntuplizer.branches import CANDIDATE_LEAVES
from ntuplizer.clustering import Momenta, cluster
from ntuplizer.geometry import delta_r
from ntuplizer.jet_flavour import (
    LEAVES,
    cluster_with_ghosts,
    combined_flavour,
    contains_quark,
    flavour_ghosts,
    hadron_flavour,
    parton_flavour,
)
from ntuplizer.particles import candidate_momenta, four_momentum, gen_particles
from ntuplizer.sources.delphes import batches

QCD, TTBAR = "delphes/qcd_3.root", "delphes/ttbar_events.root"
# Pythia's code for the products of hard collisions.
HARD_PRODUCT = 23
# Diffractive states, which Pythia calls hadrons without quarks.
DIFFRACTIVE = 9_900_000


@pytest.mark.parametrize("quark", [4, 5])
def test_heavy_hadrons_are_those_of_pythia(quark):
    data = pythia8mc.Pythia("", False).particleData
    codes = [1]
    while following := data.nextId(codes[-1]):
        codes.append(following)
    codes = [code for code in codes if code < DIFFRACTIVE]
    heavy = [data.isHadron(code) and abs(data.heaviestQuark(code)) == quark for code in codes]
    assert sum(heavy) > 25
    np.testing.assert_array_equal(contains_quark(-np.array(codes), quark), heavy)


def test_ghosts_leave_the_jets_as_they_are(reference):
    (batch,) = batches(reference(TTBAR), {"ParticleFlowCandidate": CANDIDATE_LEAVES,
                                              "Particle": LEAVES})  # fmt: skip
    momenta = candidate_momenta(batch["ParticleFlowCandidate"])
    ghosts = flavour_ghosts(batch["Particle"])
    jets, jet_of = cluster_with_ghosts(momenta, ghosts.momenta, 0.4, 15.0)
    alone = cluster(momenta, 0.4, 15.0)
    for name in ("event", "pt", "eta", "phi", "mass", "offsets"):
        np.testing.assert_array_equal(getattr(jets, name), getattr(alone, name))
    np.testing.assert_array_equal(np.sort(jets.constituents), np.sort(alone.constituents))
    # Anti-kT jets are nearly circles of radius R, and a ghost belongs to its own event.
    inside = jet_of >= 0
    jet, ghost = jet_of[inside], ghosts.index[inside]
    particles = batch["Particle"]
    distance = delta_r(
        particles["Eta"][ghost], particles["Phi"][ghost], jets.eta[jet], jets.phi[jet]
    )
    assert np.mean(distance < 0.4) > 0.98
    np.testing.assert_array_equal(particles.event[ghost], jets.event[jet])


def flavours_of(batch, momenta, radius, pt_min):
    ghosts = flavour_ghosts(batch)
    jets, jet_of = cluster_with_ghosts(momenta, ghosts.momenta, radius, pt_min)
    n_jets = len(jets.event)
    return jets, hadron_flavour(ghosts, jet_of, n_jets), parton_flavour(ghosts, jet_of, n_jets)


def hard_partons_of(jets, particles: Collection, reach: float) -> np.ndarray:
    """Return |PDG| of the nearest product of the hard collision within `reach`, 0 for none."""
    code = np.abs(particles["PID"])
    hard = np.flatnonzero((particles["Status"] == HARD_PRODUCT) & ((code <= 5) | (code == 21)))
    event = particles.event[hard]
    found = np.zeros(len(jets.event), int)
    for jet in range(len(jets.event)):
        own = hard[event == jets.event[jet]]
        distance = delta_r(
            particles["Eta"][own], particles["Phi"][own], jets.eta[jet], jets.phi[jet]
        )
        if len(own) and distance.min() < reach:
            found[jet] = code[own[distance.argmin()]]
    return found


@pytest.mark.parametrize("radius", [0.4, 0.8])
def test_jets_from_hard_gluons_carry_21_in_delphes_events(reference, radius):
    branches = {"ParticleFlowCandidate": CANDIDATE_LEAVES, "Particle": LEAVES}
    (batch,) = batches(reference(QCD), branches)
    momenta = candidate_momenta(batch["ParticleFlowCandidate"])
    jets, _, parton = flavours_of(batch["Particle"], momenta, radius, 150.0)
    gluon = hard_partons_of(jets, batch["Particle"], radius / 2) == 21
    assert gluon.sum() > 80
    assert np.mean(parton[gluon] == 21) >= 0.7


def dijets(hard_process: str, n_events: int):
    """Return the record and the GEN-jets' particles of Pythia's dijets at p̂T = 60 to 80 GeV."""
    process = load_process("qcd").model_copy(
        update={
            "hard_process": [hard_process],
            "settings": ["PhaseSpace:pTHatMin = 60", "PhaseSpace:pTHatMax = 80"],
        }
    )
    generated = EventGenerator(process).batch({"pt_hat_min": 60.0}, 11, n_events)
    particles = generated.record
    pt = np.hypot(particles.px, particles.py)
    with np.errstate(divide="ignore"):
        eta = np.where(pt > 0, np.arcsinh(particles.pz / np.maximum(pt, 1e-300)), 999.9)
    columns = {
        "PID": particles.pid, "Status": particles.status, "D1": particles.d1,
        "D2": particles.d2, "PT": pt, "Eta": eta, "Phi": np.arctan2(particles.py, particles.px),
        "Mass": particles.mass,
    }  # fmt: skip
    collection = Collection(particles.offsets, columns)
    momenta, _ = gen_particles(collection, np.arange(n_events))
    return collection, momenta


@pytest.mark.parametrize(
    ("hard_process", "flavour", "lowest"),
    [("HardQCD:gg2gg = on", 21, 0.7), ("HardQCD:hardbbbar = on", 5, 0.9)],
)
def test_flavours_are_those_of_the_hard_partons(hard_process, flavour, lowest):
    particles, momenta = dijets(hard_process, 150)
    jets, hadron, parton = flavours_of(particles, momenta, 0.4, 30.0)
    matched = hard_partons_of(jets, particles, 0.2) == flavour
    assert matched.sum() > 80
    assert np.mean(np.abs(parton[matched]) == flavour) >= lowest
    heavy = flavour if flavour == 5 else 0
    assert np.mean(hadron[matched] == heavy) >= lowest


def one_jet(particles: Collection) -> tuple:
    """Return flavours of the jet of one hard particle at η = 0.1, φ = 0 in each event."""
    n_events = len(particles.offsets) - 1
    eta = np.full(n_events, 0.1)
    momenta = Momenta(
        np.arange(n_events + 1), np.full(n_events, 50.0), np.zeros(n_events),
        50.0 * np.sinh(eta), 50.0 * np.cosh(eta),
    )  # fmt: skip
    _, hadron, parton = flavours_of(particles, momenta, 0.4, 20.0)
    return hadron, parton


def test_a_bottom_quark_comes_before_charm_and_charm_before_harder_light_partons():
    events = [
        [Particle(21, pt=40.0), Particle(-4, pt=10.0), Particle(5, pt=5.0)],
        [Particle(21, pt=40.0), Particle(-4, pt=10.0)],
        [Particle(21, pt=40.0), Particle(2, pt=50.0)],
        [Particle(21, eta=2.0)],
        # A quark that radiates is not the end of its history.
        [Particle(5, (Particle(1, pt=3.0),), pt=50.0)],
    ]
    hadron, parton = one_jet(record(events))
    assert parton.tolist() == [5, -4, 2, 0, 1]
    assert hadron.tolist() == [0] * 5


def test_only_the_last_hadron_of_a_heavy_quark_counts():
    charm = Particle(421, (Particle(211, status=1),))
    decayed_outside = Particle(513, (Particle(511, (charm,), eta=2.0),))
    events = [
        [Particle(511, (charm,))],
        [charm],
        # B* → B, which is outside of the jet; its D is inside.
        [decayed_outside],
        [Particle(443)],
        [Particle(21)],
    ]
    hadron, parton = one_jet(record(events))
    assert hadron.tolist() == [5, 4, 4, 4, 0]
    assert combined_flavour(hadron, parton).tolist() == [5, 4, 4, 4, 21]


def test_an_event_without_particles_has_no_jets():
    empty = Momenta(np.zeros(3, np.int64), *np.zeros((4, 0)))
    particles = record([[Particle(21)], []])
    jets, hadron, parton = flavours_of(particles, empty, 0.4, 20.0)
    assert len(jets.event) == len(hadron) == len(parton) == 0


def test_ghosts_of_all_scales_are_associated():
    rng = np.random.default_rng(3)
    n = 50
    pt = 10 ** rng.uniform(-3, 3, n)
    momenta = Momenta(np.array([0, 1]), *(np.array([v]) for v in (100.0, 0.0, 0.0, 100.0)))
    angle = rng.uniform(-0.2, 0.2, (2, n))
    columns = {"PT": pt, "Eta": angle[0], "Phi": angle[1], "Mass": np.zeros(n)}
    ghosts = Momenta(
        np.array([0, n]),
        *four_momentum(Collection(np.array([0, n]), columns), np.arange(n)),
    )
    jets, jet_of = cluster_with_ghosts(momenta, ghosts, 0.4, 20.0)
    assert jets.pt.tolist() == [100.0]
    assert np.all(jet_of == 0)
