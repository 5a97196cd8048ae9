# Pile-up as in Delphes' CMS card: two calorimeters, jets of charged-hadron-subtracted energy flow.

source tracker.tcl

module SimpleCalorimeter ECal {
  set ParticleInputArray Propagator/stableParticles
  set TrackInputArray TrackMerger/tracks
  set IsEcal true
  set EFlowTowerOutputArray eflowPhotons
  set EnergyMin 0.3
  set EnergySignificanceMin 1.0
  set EtaPhiBins $::Towers
  set ResolutionFormula {sqrt(energy^2*0.01^2 + energy*0.1^2 + 0.2^2)}
  foreach {code fraction} {0 0 11 1 22 1 111 1 310 0.3 3122 0.3} {
    add EnergyFraction $code $fraction
  }
}

module SimpleCalorimeter HCal {
  set ParticleInputArray Propagator/stableParticles
  set TrackInputArray ECal/eflowTracks
  set EFlowTowerOutputArray eflowNeutralHadrons
  set EnergyMin 0.5
  set EnergySignificanceMin 1.0
  set EtaPhiBins $::Towers
  set ResolutionFormula {sqrt(energy^2*0.05^2 + energy*0.8^2)}
  foreach {code fraction} {0 1 11 0 22 0 111 0 12 0 13 0 14 0 16 0 310 0.7 3122 0.7} {
    add EnergyFraction $code $fraction
  }
}

module PdgCodeFilter ElectronFilter {
  set InputArray HCal/eflowTracks
  set OutputArray electrons
  set Invert true
  add PdgCode 11 -11
}

module TrackPileUpSubtractor TrackPileUpSubtractor {
  add InputArray HCal/eflowTracks tracks
  add InputArray ElectronFilter/electrons electrons
  add InputArray MuonMomenta/muons muons
  set ZVertexResolution 0.0005
}

module Merger NeutralTowers {
  add InputArray ECal/eflowPhotons
  add InputArray HCal/eflowNeutralHadrons
  set OutputArray towers
}

module Merger EFlowMerger {
  add InputArray TrackPileUpSubtractor/tracks
  add InputArray NeutralTowers/towers
  set OutputArray eflow
}

module FastJetGridMedianEstimator Rho {
  set InputArray EFlowMerger/eflow
  add GridRange -5.0 -2.5 1.0 1.0
  add GridRange -2.5 2.5 0.5 0.5
  add GridRange 2.5 5.0 1.0 1.0
}

module FastJetFinder FastJetFinder {
  set InputArray EFlowMerger/eflow
  set AreaAlgorithm 5
  set ParameterR 0.4
  set JetPTMin 20
}

module PileUpJetID PileUpJetID {
  set JetInputArray FastJetFinder/jets
  set TrackInputArray HCal/eflowTracks
  set NeutralInputArray NeutralTowers/towers
  set ParameterR 0.4
}

module Efficiency Photons {
  set InputArray ECal/eflowPhotons
  set OutputArray photons
  set EfficiencyFormula {0.9 * (pt > 10) * (abs(eta) < 2.5)}
}

module Merger MissingET {
  add InputArray EFlowMerger/eflow
}

source objects.tcl

set ExecutionPath {
  PileUpMerger Propagator HadronTracks ElectronTracks MuonTracks
  HadronMomenta ElectronMomenta MuonMomenta TrackMerger ECal HCal ElectronFilter
  TrackPileUpSubtractor NeutralTowers EFlowMerger Visible GenJetFinder GenMissingET
  Rho FastJetFinder PileUpJetID JetPileUpSubtractor JetEnergyScale
  JetFlavorAssociation BTagging TauTagging
  Photons PhotonIsolation ElectronIsolation MuonIsolation UniqueObjectFinder Dressed
  MissingET Record TreeWriter
}
