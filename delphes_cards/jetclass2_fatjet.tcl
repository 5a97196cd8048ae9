# JetClass-II, fat jets only: CMS-like detector, 50 pile-up interactions, PUPPI, AK8 and AK15 jets.
# Read by Delphes and by this project's own simulation alike.

# Delphes seeds itself from the clock unless told otherwise. The project's own simulation takes
# its seeds from the command line.
set RandomSeed 1

set ExecutionPath {
  PileUpMerger
  ParticlePropagator

  ChargedHadronTrackingEfficiency
  ElectronTrackingEfficiency
  MuonTrackingEfficiency

  ChargedHadronMomentumSmearing
  ElectronMomentumSmearing
  MuonMomentumSmearing

  TrackMerger
  TrackSmearing

  ECal
  HCal

  ElectronFilter
  TrackPileUpSubtractor
  RecoPuFilter
  NeutralEFlowMerger
  EFlowMerger

  LeptonFilterNoLep
  LeptonFilterLep
  RunPUPPIBase
  RunPUPPIMerger
  RunPUPPI

  MissingET
  PuppiMissingET
  GenPileUpMissingET
  ScalarHT
  NeutrinoFilter
  GenMissingET

  GenJetFinderAK8
  GenJetFinderAK15
  FastJetFinderPUPPIAK8
  FastJetFinderPUPPIAK15
  JetEnergyScalePUPPIAK8
  JetEnergyScalePUPPIAK15

  TreeWriter
}

source jetclass2/tracks.tcl
source jetclass2/calorimeters.tcl
source jetclass2/energy_flow.tcl
source jetclass2/fat_jets.tcl

module TreeWriter TreeWriter {
  # array, name of the branch, class of the branch
  add Branch Delphes/allParticles Particle GenParticle
  add Branch RunPUPPI/PuppiParticles ParticleFlowCandidate ParticleFlowCandidate

  add Branch GenJetFinderAK8/jets GenJetAK8 Jet
  add Branch GenJetFinderAK15/jets GenJetAK15 Jet
  add Branch GenMissingET/momentum GenMissingET MissingET
  add Branch GenPileUpMissingET/momentum GenPileUpMissingET MissingET

  add Branch JetEnergyScalePUPPIAK8/jets JetPUPPIAK8 Jet
  add Branch JetEnergyScalePUPPIAK15/jets JetPUPPIAK15 Jet

  add Branch MissingET/momentum MissingET MissingET
  add Branch PuppiMissingET/momentum PuppiMissingET MissingET
  add Branch ScalarHT/energy ScalarHT ScalarHT

  add Branch PileUpMerger/vertices Vertex Vertex
}
