# JetClass-II, whole events: the fat-jet card and leptons, photons, tagged AK4 jets, and rho.
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
  EFlowMergerCHS
  Rho

  LeptonFilterNoLep
  LeptonFilterLep
  RunPUPPIBase
  RunPUPPIMerger
  RunPUPPI

  EFlowFilterPuppi
  PhotonEfficiency
  PhotonIsolation
  ElectronEfficiency
  ElectronIsolation
  MuonEfficiency
  MuonIsolation
  UniqueObjectFinder

  MissingET
  PuppiMissingET
  GenPileUpMissingET
  ScalarHT
  NeutrinoFilter
  GenMissingET

  GenJetFinder
  GenJetFinderAK8
  GenJetFinderAK15
  FastJetFinderPUPPI
  FastJetFinderPUPPIAK8
  FastJetFinderPUPPIAK15
  JetEnergyScalePUPPI
  JetEnergyScalePUPPIAK8
  JetEnergyScalePUPPIAK15

  JetFlavorAssociation
  BTagging
  TauTagging

  TreeWriter
}

source jetclass2/tracks.tcl
source jetclass2/calorimeters.tcl
source jetclass2/energy_flow.tcl
source jetclass2/fat_jets.tcl
source jetclass2/objects.tcl

module TreeWriter TreeWriter {
  # array, name of the branch, class of the branch
  add Branch Delphes/allParticles Particle GenParticle
  add Branch RunPUPPI/PuppiParticles ParticleFlowCandidate ParticleFlowCandidate

  add Branch GenJetFinder/jets GenJet Jet
  add Branch GenJetFinderAK8/jets GenJetAK8 Jet
  add Branch GenJetFinderAK15/jets GenJetAK15 Jet
  add Branch GenMissingET/momentum GenMissingET MissingET
  add Branch GenPileUpMissingET/momentum GenPileUpMissingET MissingET

  add Branch UniqueObjectFinder/electrons Electron Electron
  add Branch UniqueObjectFinder/photons Photon Photon
  add Branch UniqueObjectFinder/muons Muon Muon

  add Branch JetEnergyScalePUPPI/jets JetPUPPI Jet
  add Branch JetEnergyScalePUPPIAK8/jets JetPUPPIAK8 Jet
  add Branch JetEnergyScalePUPPIAK15/jets JetPUPPIAK15 Jet

  add Branch MissingET/momentum MissingET MissingET
  add Branch PuppiMissingET/momentum PuppiMissingET MissingET
  add Branch ScalarHT/energy ScalarHT ScalarHT

  add Branch Rho/rho Rho Rho
  add Branch PileUpMerger/vertices Vertex Vertex
}
