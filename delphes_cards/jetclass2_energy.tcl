# JetClass-II for jet energies: candidates of PUPPI and of charged-hadron subtraction, rho, and
# vertices found from the tracks. The detector is that of the other cards; jets are left to the
# reader of the candidates. Read by Delphes and by this project's own simulation alike.

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
  VertexFinder

  ECal
  HCal

  ElectronFilter
  TrackPileUpSubtractor
  RecoPuFilter
  NeutralEFlowMerger
  EFlowMergerCHS
  Rho

  LeptonFilterNoLep
  LeptonFilterLep
  RunPUPPIBase
  RunPUPPIMerger
  RunPUPPI

  TreeWriter
}

source jetclass2/tracks.tcl
source jetclass2/calorimeters.tcl
source jetclass2/energy_flow.tcl
source jetclass2/objects.tcl

# Vertices on the beam line: seeds of 1 GeV, tracks within 3 standard deviations, two at least.
module VertexFinder VertexFinder {
  set InputArray TrackSmearing/tracks
  set OutputArray tracks
  set VertexOutputArray vertices
  set Sigma 3.0
  set MinPT 0.1
  set MaxEta 10.0
  set SeedMinPT 1.0
  set MinNDF 2
  set GrowSeeds 1
}

# Candidates know their vertex because the tracks reach the calorimeters through the finder.
set ECal::TrackInputArray VertexFinder/tracks

module TreeWriter TreeWriter {
  # array, name of the branch, class of the branch
  add Branch Delphes/allParticles Particle GenParticle
  add Branch RunPUPPI/PuppiParticles ParticleFlowCandidate ParticleFlowCandidate
  add Branch EFlowMergerCHS/eflow ParticleFlowCandidateCHS ParticleFlowCandidate

  add Branch Rho/rho Rho Rho
  add Branch PileUpMerger/vertices Vertex Vertex
  add Branch VertexFinder/vertices ReconstructedVertex Vertex
}
