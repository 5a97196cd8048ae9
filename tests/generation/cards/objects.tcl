# Jets corrected for pile-up, tags and isolated leptons, from EFlowMerger/eflow and Rho/rho.

module JetPileUpSubtractor JetPileUpSubtractor {
  set JetInputArray PileUpJetID/jets
  set RhoInputArray Rho/rho
  set JetPTMin 20
}

module EnergyScale JetEnergyScale {
  set InputArray JetPileUpSubtractor/jets
  set ScaleFormula 1.0
}

module JetFlavorAssociation JetFlavorAssociation {
  set JetInputArray JetEnergyScale/jets
  set DeltaR 0.4
  set PartonPTMin 5.0
}

module BTagging BTagging {
  set JetInputArray JetEnergyScale/jets
  add EfficiencyFormula 0 0.01
  add EfficiencyFormula 4 0.2
  add EfficiencyFormula 5 0.7
}

module TrackCountingTauTagging TauTagging {
  set TrackInputArray TrackPileUpSubtractor/tracks
  set JetInputArray JetEnergyScale/jets
  set DeltaR 0.2
  foreach {prongs efficiency} {1 0.7 2 0.6 -1 0.02 -2 0.01} {
    add EfficiencyFormula $prongs $efficiency
  }
}

foreach {name candidates output} {
  PhotonIsolation Photons/photons photons
  ElectronIsolation TrackPileUpSubtractor/electrons electrons
  MuonIsolation TrackPileUpSubtractor/muons muons
} {
  module Isolation $name "
    set CandidateInputArray $candidates
    set IsolationInputArray EFlowMerger/eflow
    set RhoInputArray Rho/rho
    set OutputArray $output
    set DeltaRMax 0.3
    set PTRatioMax 0.2
  "
}

module LeptonDressing Dressed {
  set CandidateInputArray UniqueObjectFinder/electrons
  set DressingInputArray UniqueObjectFinder/photons
  set DeltaRMax 0.1
}

module UniqueObjectFinder UniqueObjectFinder {
  add InputArray PhotonIsolation/photons photons
  add InputArray ElectronIsolation/electrons electrons
  add InputArray MuonIsolation/muons muons
  add InputArray JetEnergyScale/jets jets
}

module StatusPidFilter Record {
  set PTMin 2.0
}

module TreeWriter TreeWriter {
  add Branch Record/filteredParticles Particle GenParticle
  add Branch GenJetFinder/jets GenJet Jet
  add Branch GenMissingET/momentum GenMissingET MissingET
  add Branch FastJetFinder/jets RawJet Jet
  add Branch UniqueObjectFinder/jets Jet Jet
  add Branch UniqueObjectFinder/photons Photon Photon
  add Branch Dressed/electrons Electron Electron
  add Branch UniqueObjectFinder/muons Muon Muon
  add Branch MissingET/momentum MissingET MissingET
  add Branch Rho/rho Rho Rho
  add Branch PileUpMerger/vertices Vertex Vertex
}
