# Pile-up and a simple tracker for the cards of the tests.

module PileUpMerger PileUpMerger {
  set MeanPileUp 40
  set ZVertexSpread 0.25
  set TVertexSpread 800E-12
  set VertexDistributionFormula {exp(-t^2/(2*160e-12^2)) * exp(-z^2/(2*0.053^2))}
}

module ParticlePropagator Propagator {
  set InputArray PileUpMerger/stableParticles
  set Radius 1.2
  set HalfLength 3.2
  set Bz 3.0
}

foreach {name array} {HadronTracks chargedHadrons ElectronTracks electrons MuonTracks muons} {
  module Efficiency $name "
    set InputArray Propagator/$array
    set OutputArray $array
    set EfficiencyFormula {0.9 * (pt > 0.5) * (abs(eta) < 2.5)}
  "
}

module MomentumSmearing HadronMomenta {
  set InputArray HadronTracks/chargedHadrons
  set OutputArray tracks
  set ResolutionFormula {sqrt(0.01^2 + pt^2*2e-4^2)}
}

module MomentumSmearing ElectronMomenta {
  set InputArray ElectronTracks/electrons
  set OutputArray tracks
  set ResolutionFormula {sqrt(0.02^2 + pt^2*2e-4^2)}
}

module MomentumSmearing MuonMomenta {
  set InputArray MuonTracks/muons
  set OutputArray muons
  set ResolutionFormula {0.01}
}

module Merger TrackMerger {
  add InputArray HadronMomenta/tracks
  add InputArray ElectronMomenta/tracks
  add InputArray MuonMomenta/muons
  set OutputArray tracks
}

# 5 degree towers to |eta| = 2.5, 10 degree towers to 5.
set FinePhi {}
for {set i -36} {$i <= 36} {incr i} { lappend FinePhi [expr {$i * acos(-1) / 36}] }
set CoarsePhi {}
for {set i -18} {$i <= 18} {incr i} { lappend CoarsePhi [expr {$i * acos(-1) / 18}] }
set Towers {}
foreach eta {-5 -4.5 -4 -3.5 -3 -2.75 2.75 3 3.5 4 4.5 5} { lappend Towers $eta $CoarsePhi }
for {set i -25} {$i <= 25} {incr i} { lappend Towers [expr {$i * 0.1}] $FinePhi }

module PdgCodeFilter Visible {
  set InputArray Delphes/stableParticles
  foreach code {12 14 16} { add PdgCode $code -$code }
}

module FastJetFinder GenJetFinder {
  set InputArray Visible/filteredParticles
  set ParameterR 0.4
  set JetPTMin 20
}

module Merger GenMissingET {
  add InputArray Visible/filteredParticles
}
