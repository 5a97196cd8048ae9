"""Jets of any radius against those that Delphes itself clustered and stored."""

import awkward as ak
import numpy as np
import pytest
import uproot

from ntuplizer.clustering import cluster, soft_drop_mass, subjettiness
from ntuplizer.particles import candidate_momenta, constituent_momenta, gen_particles
from ntuplizer.products import get_product
from ntuplizer.sources.delphes import batches

TTBAR, QCD = "delphes/ttbar_events.root", "delphes/qcd_3.root"


@pytest.mark.parametrize(
    ("name", "branch", "radius", "pt_min"),
    [
        (TTBAR, "JetPUPPI", 0.4, 15.0),
        (TTBAR, "GenJet", 0.4, 15.0),
        (QCD, "JetPUPPIAK8", 0.8, 200.0),
        (QCD, "GenJetAK8", 0.8, 200.0),
        (QCD, "JetPUPPIAK15", 1.5, 120.0),
        (QCD, "GenJetAK15", 1.5, 120.0),
    ],
)
def test_jets_are_delphes_own(reference, name, branch, radius, pt_min):
    path = reference(name)
    product = get_product("jets")
    (batch,) = batches(path, product.branches(product.Options()))
    if branch.startswith("Gen"):
        particles, _ = gen_particles(batch["Particle"], np.arange(batch.n_events))
    else:
        particles = candidate_momenta(batch["ParticleFlowCandidate"])
    jets = cluster(particles, radius, pt_min)

    with uproot.open(path) as file:
        tree = file["Delphes"]
        counts = ak.num(tree[f"{branch}.PT"].array())
        stored = {q: ak.to_numpy(ak.flatten(tree[f"{branch}.{q}"].array()))
                  for q in ("PT", "Eta", "Phi", "Mass", "Tau[5]")}  # fmt: skip
        groomed = ak.flatten(tree[f"{branch}.SoftDroppedP4[5]"].array())[:, 0]
    np.testing.assert_array_equal(np.bincount(jets.event, minlength=len(counts)), counts)
    np.testing.assert_allclose(jets.pt, stored["PT"], rtol=3e-7)
    np.testing.assert_allclose(jets.eta, stored["Eta"], atol=1e-6)
    np.testing.assert_allclose(jets.phi, stored["Phi"], atol=1e-6)
    np.testing.assert_allclose(jets.mass, stored["Mass"], rtol=1e-5, atol=1e-3)

    # The narrow jets of the event card are neither groomed nor given τ_N.
    if branch in {"JetPUPPI", "GenJet"}:
        return
    constituents = constituent_momenta(jets, particles)
    momentum = groomed.fP
    mass2 = groomed.fE**2 - momentum.fX**2 - momentum.fY**2 - momentum.fZ**2
    mass = np.asarray(np.sqrt(np.maximum(mass2, 0)))
    np.testing.assert_allclose(soft_drop_mass(constituents), mass, rtol=1e-5, atol=2e-3)
    if branch.startswith("JetPUPPI"):
        agree = np.isclose(
            subjettiness(constituents, radius), stored["Tau[5]"][:, :4], rtol=1e-3, atol=1e-9
        )
        assert agree.mean() > 0.998
