# Event-level objects: energy density, leptons and photons, AK4 jets with flavour and tags.

module Merger EFlowMergerCHS {
  add InputArray RecoPuFilter/eflowTracks
  add InputArray ECal/eflowPhotons
  add InputArray HCal/eflowNeutralHadrons
  set OutputArray eflow
}

module FastJetGridMedianEstimator Rho {
  set InputArray EFlowMergerCHS/eflow
  set RhoOutputArray rho
  # rapidity from, to, size of the cells in rapidity and azimuth
  add GridRange -5.0 -4.0 1.0 1.0
  add GridRange -4.0 -1.5 1.0 1.0
  add GridRange -1.5  1.5 1.0 1.0
  add GridRange  1.5  4.0 1.0 1.0
  add GridRange  4.0  5.0 1.0 1.0
}

# --- leptons and photons above 10 GeV, isolated from PUPPI candidates that are no leptons

module PdgCodeFilter EFlowFilterPuppi {
  set InputArray RunPUPPI/PuppiParticles
  set OutputArray eflow
  set PdgCode {11 -11 13 -13}
}

module Efficiency PhotonEfficiency {
  set InputArray ECal/eflowPhotons
  set OutputArray photons
  set EfficiencyFormula {
    (pt > 10.0) * ((abs(eta) <= 1.5) * 0.95 + (abs(eta) > 1.5 && abs(eta) <= 2.5) * 0.85)
  }
}

module Efficiency ElectronEfficiency {
  set InputArray TrackPileUpSubtractor/electrons
  set OutputArray electrons
  set EfficiencyFormula {
    (pt > 10.0) * ((abs(eta) <= 1.5) * 0.95 + (abs(eta) > 1.5 && abs(eta) <= 2.5) * 0.85)
  }
}

module Efficiency MuonEfficiency {
  set InputArray TrackPileUpSubtractor/muons
  set OutputArray muons
  set EfficiencyFormula {(pt > 10.0) * (abs(eta) <= 2.4) * 0.95}
}

module Isolation PhotonIsolation {
  set CandidateInputArray PhotonEfficiency/photons
  set IsolationInputArray EFlowFilterPuppi/eflow
  set RhoInputArray Rho/rho
  set OutputArray photons
  set DeltaRMax 0.5
  set PTMin 0.5
  set PTRatioMax 0.12
}

module Isolation ElectronIsolation {
  set CandidateInputArray ElectronEfficiency/electrons
  set IsolationInputArray EFlowFilterPuppi/eflow
  set RhoInputArray Rho/rho
  set OutputArray electrons
  set DeltaRMax 0.5
  set PTMin 0.5
  set PTRatioMax 0.12
}

module Isolation MuonIsolation {
  set CandidateInputArray MuonEfficiency/muons
  set IsolationInputArray EFlowFilterPuppi/eflow
  set RhoInputArray Rho/rho
  set OutputArray muons
  set DeltaRMax 0.5
  set PTMin 0.5
  set PTRatioMax 0.25
}

module UniqueObjectFinder UniqueObjectFinder {
  # in the order of precedence: array, name of what is left of it
  add InputArray PhotonIsolation/photons photons
  add InputArray ElectronIsolation/electrons electrons
  add InputArray MuonIsolation/muons muons
}

# --- AK4 jets

module FastJetFinder GenJetFinder {
  set InputArray NeutrinoFilter/filteredParticles
  set OutputArray jets
  set JetAlgorithm 6
  set ParameterR 0.4
  set JetPTMin 15.0
}

module FastJetFinder FastJetFinderPUPPI {
  set InputArray RunPUPPI/PuppiParticles
  set OutputArray jets
  set JetAlgorithm 6
  set ParameterR 0.4
  set JetPTMin 15.0
}

module EnergyScale JetEnergyScalePUPPI {
  set InputArray FastJetFinderPUPPI/jets
  set OutputArray jets
  set ScaleFormula 1.00
}

module JetFlavorAssociation JetFlavorAssociation {
  set PartonInputArray Delphes/partons
  set ParticleInputArray Delphes/allParticles
  set ParticleLHEFInputArray Delphes/allParticlesLHEF
  set JetInputArray JetEnergyScalePUPPI/jets
  set DeltaR 0.5
  set PartonPTMin 1.0
  set PartonEtaMax 2.5
}

# flavour (0: every other one) and efficiency; CMS, arXiv:1211.4462
module BTagging BTagging {
  set JetInputArray JetEnergyScalePUPPI/jets
  set BitNumber 0
  add EfficiencyFormula 0 {0.01 + 0.000038*pt}
  add EfficiencyFormula 4 {0.25*tanh(0.018*pt) * (1/(1 + 0.0013*pt))}
  add EfficiencyFormula 5 {0.85*tanh(0.0025*pt) * (25.0/(1 + 0.063*pt))}
}

module TauTagging TauTagging {
  set ParticleInputArray Delphes/allParticles
  set PartonInputArray Delphes/partons
  set JetInputArray JetEnergyScalePUPPI/jets
  set DeltaR 0.5
  set TauPTMin 1.0
  set TauEtaMax 2.5
  add EfficiencyFormula 0 0.01
  add EfficiencyFormula 15 0.6
}
