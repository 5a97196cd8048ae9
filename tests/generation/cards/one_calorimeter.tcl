# Pile-up as in Delphes' ATLAS card: one calorimeter of two depths, jets of its towers.

source tracker.tcl

module Calorimeter Calorimeter {
  set ParticleInputArray Propagator/stableParticles
  set TrackInputArray TrackMerger/tracks
  set ECalEnergyMin 0.3
  set HCalEnergyMin 0.5
  set ECalEnergySignificanceMin 1.0
  set HCalEnergySignificanceMin 1.0
  set EtaPhiBins $::Towers
  set ECalResolutionFormula {sqrt(energy^2*0.01^2 + energy*0.1^2)}
  set HCalResolutionFormula {sqrt(energy^2*0.03^2 + energy*0.6^2)}
  foreach code {11 22 111} { add EnergyFraction $code {1.0 0.0} }
  foreach code {12 13 14 16} { add EnergyFraction $code {0.0 0.0} }
  foreach code {310 3122} { add EnergyFraction $code {0.3 0.7} }
}

module PdgCodeFilter ElectronFilter {
  set InputArray Calorimeter/eflowTracks
  set OutputArray electrons
  set Invert true
  add PdgCode 11 -11
}

module TrackPileUpSubtractor TrackPileUpSubtractor {
  add InputArray Calorimeter/eflowTracks tracks
  add InputArray ElectronFilter/electrons electrons
  add InputArray MuonMomenta/muons muons
  set ZVertexResolution 0.0005
}

module Merger NeutralTowers {
  add InputArray Calorimeter/eflowPhotons
  add InputArray Calorimeter/eflowNeutralHadrons
  set OutputArray towers
}

module Merger EFlowMerger {
  add InputArray TrackPileUpSubtractor/tracks
  add InputArray NeutralTowers/towers
  set OutputArray eflow
}

# The energy density of jets, in place of a grid.
module FastJetFinder Rho {
  set InputArray Calorimeter/towers
  set JetAlgorithm 4
  set ParameterR 0.6
  set AreaAlgorithm 1
  set ComputeRho true
  add RhoEtaRange -5.0 -2.5
  add RhoEtaRange -2.5 2.5
  add RhoEtaRange 2.5 5.0
}

module FastJetFinder FastJetFinder {
  set InputArray Calorimeter/towers
  set AreaAlgorithm 4
  set ParameterR 0.4
  set JetPTMin 20
}

module PileUpJetID PileUpJetID {
  set JetInputArray FastJetFinder/jets
  set TrackInputArray Calorimeter/eflowTracks
  set NeutralInputArray NeutralTowers/towers
  set ParameterR 0.4
}

module Efficiency Photons {
  set InputArray Calorimeter/photons
  set OutputArray photons
  set EfficiencyFormula {0.9 * (pt > 10) * (abs(eta) < 2.5)}
}

module Merger MissingET {
  add InputArray Calorimeter/towers
}

source objects.tcl

set ExecutionPath {
  PileUpMerger Propagator HadronTracks ElectronTracks MuonTracks
  HadronMomenta ElectronMomenta MuonMomenta TrackMerger Calorimeter ElectronFilter
  TrackPileUpSubtractor NeutralTowers EFlowMerger Visible GenJetFinder GenMissingET
  Rho FastJetFinder PileUpJetID JetPileUpSubtractor JetEnergyScale
  JetFlavorAssociation BTagging TauTagging
  Photons PhotonIsolation ElectronIsolation MuonIsolation UniqueObjectFinder Dressed
  MissingET Record TreeWriter
}
