# Energy flow: tracks and the neutral energy that no track explains, pile-up removal, sums.

module PdgCodeFilter ElectronFilter {
  set InputArray HCal/eflowTracks
  set OutputArray electrons
  set Invert true
  set PdgCode {11 -11}
}

# Tracks farther than 0.1 mm from the primary vertex are taken for pile-up.
module TrackPileUpSubtractor TrackPileUpSubtractor {
  # array to filter, name of the result
  add InputArray HCal/eflowTracks eflowTracks
  add InputArray ElectronFilter/electrons electrons
  add InputArray MuonMomentumSmearing/muons muons
  set VertexInputArray PileUpMerger/vertices
  # m
  set ZVertexResolution 0.0001
}

module RecoPuFilter RecoPuFilter {
  set InputArray HCal/eflowTracks
  set OutputArray eflowTracks
}

module Merger NeutralEFlowMerger {
  add InputArray ECal/eflowPhotons
  add InputArray HCal/eflowNeutralHadrons
  set OutputArray eflowTowers
}

module Merger EFlowMerger {
  add InputArray HCal/eflowTracks
  add InputArray ECal/eflowPhotons
  add InputArray HCal/eflowNeutralHadrons
  set OutputArray eflow
}

# --- PUPPI (arXiv:1407.6013); leptons bypass it

module PdgCodeFilter LeptonFilterNoLep {
  set InputArray HCal/eflowTracks
  set OutputArray eflowTracksNoLeptons
  set Invert false
  set PdgCode {11 -11 13 -13}
}

module PdgCodeFilter LeptonFilterLep {
  set InputArray HCal/eflowTracks
  set OutputArray eflowTracksLeptons
  set Invert true
  set PdgCode {11 -11 13 -13}
}

module RunPUPPI RunPUPPIBase {
  set TrackInputArray LeptonFilterNoLep/eflowTracksNoLeptons
  set NeutralInputArray NeutralEFlowMerger/eflowTowers
  set PVInputArray PileUpMerger/vertices
  set MinPuppiWeight 0.05
  set UseExp false
  set UseNoLep false

  # one column for each region in |eta|: with and without a tracker
  add EtaMinBin         0.0   2.5
  add EtaMaxBin         2.5   10.0
  add PtMinBin          0.0   0.0
  add ConeSizeBin       0.4   0.4
  add RMSPtMinBin       0.1   0.5
  add RMSScaleFactorBin 1.0   1.0
  add NeutralMinEBin    0.2   0.2
  add NeutralPtSlope    0.006 0.013
  add ApplyCHS          true  true
  add UseCharged        true  true
  add ApplyLowPUCorr    true  true
  add MetricId          5     5
  add CombId            0     0

  set OutputArray PuppiParticles
  set OutputArrayTracks puppiTracks
  set OutputArrayNeutrals puppiNeutrals
}

module Merger RunPUPPIMerger {
  add InputArray RunPUPPIBase/PuppiParticles
  add InputArray LeptonFilterLep/eflowTracksLeptons
  set OutputArray PuppiParticles
}

# Leptons from pile-up came back with the others.
module RecoPuFilter RunPUPPI {
  set InputArray RunPUPPIMerger/PuppiParticles
  set OutputArray PuppiParticles
}

# --- sums over the event

module Merger MissingET {
  add InputArray EFlowMerger/eflow
  set MomentumOutputArray momentum
}

module Merger PuppiMissingET {
  add InputArray RunPUPPI/PuppiParticles
  set MomentumOutputArray momentum
}

module Merger GenPileUpMissingET {
  add InputArray ParticlePropagator/stableParticles
  set MomentumOutputArray momentum
}

module Merger ScalarHT {
  add InputArray RunPUPPI/PuppiParticles
  set EnergyOutputArray energy
}

module PdgCodeFilter NeutrinoFilter {
  set InputArray Delphes/stableParticles
  set OutputArray filteredParticles
  set PTMin 0.0
  set PdgCode {12 14 16 -12 -14 -16}
}

module Merger GenMissingET {
  add InputArray NeutrinoFilter/filteredParticles
  set MomentumOutputArray momentum
}
