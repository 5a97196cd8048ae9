"""Cards that several tests of generation share."""

from pathlib import Path

import pytest

from generation.fastsim.card import read_card

# Cards of this project, cut down: jets from the generator's particles, no detector.
GENERATOR_CARD = """
set ExecutionPath { ParticlePropagator NeutrinoFilter GenJetFinder TreeWriter }
module ParticlePropagator ParticlePropagator {
  set InputArray Delphes/stableParticles
  set OutputArray stableParticles
  set ChargedHadronOutputArray chargedHadrons
  set ElectronOutputArray electrons
  set MuonOutputArray muons
  set Radius 1.29
  set HalfLength 3.00
  set Bz 3.8
}
module PdgCodeFilter NeutrinoFilter {
  set InputArray Delphes/stableParticles
  set OutputArray filteredParticles
  set PTMin 0.0
  add PdgCode {12}
  add PdgCode {14}
  add PdgCode {16}
  add PdgCode {-12}
  add PdgCode {-14}
  add PdgCode {-16}
}
module FastJetFinder GenJetFinder {
  set InputArray NeutrinoFilter/filteredParticles
  set OutputArray jets
  set JetAlgorithm 6
  set ParameterR 0.8
  set JetPTMin 200.0
}
module TreeWriter TreeWriter {
  add Branch Delphes/allParticles Particle GenParticle
  add Branch GenJetFinder/jets GenJetAK8 Jet
}
"""


@pytest.fixture
def generator_card(tmp_path) -> Path:
    """Return a card without pile-up, quick to simulate."""
    path = tmp_path / "generator.tcl"
    path.write_text(GENERATOR_CARD)
    return path


@pytest.fixture
def card(tmp_path):
    """Return a function that reads a card from its text."""

    def read(text, **others):
        for name, content in others.items():
            (tmp_path / name.replace("__", ".")).write_text(content)
        path = tmp_path / "card.tcl"
        path.write_text(text)
        return read_card(path)

    return read
