# From the collision to tracks: pile-up, magnetic field, tracking efficiency and resolution.

module PileUpMerger PileUpMerger {
  set InputArray Delphes/stableParticles
  set ParticleOutputArray stableParticles
  set VertexOutputArray vertices

  # minimum-bias events to draw from, for Delphes; fastsim is given its own library
  set PileUpFile MinBias.pileup
  # Poisson mean
  set MeanPileUp 50

  # vertices lie within +-0.25 m and +-800 ps; Gaussian of 5.3 cm and 160 ps
  set ZVertexSpread 0.25
  set TVertexSpread 800e-12
  set VertexDistributionFormula {exp(-(t^2/(2*160e-12^2))) * exp(-(z^2/(2*0.053^2)))}
}

module ParticlePropagator ParticlePropagator {
  set InputArray PileUpMerger/stableParticles
  set OutputArray stableParticles
  set NeutralOutputArray neutralParticles
  set ChargedHadronOutputArray chargedHadrons
  set ElectronOutputArray electrons
  set MuonOutputArray muons

  # solenoid: m, m, T
  set Radius 1.29
  set HalfLength 3.00
  set Bz 3.8
}

# --- efficiency: barrel |eta| <= 1.5, endcap up to 2.5, none below 100 MeV

module Efficiency ChargedHadronTrackingEfficiency {
  set InputArray ParticlePropagator/chargedHadrons
  set OutputArray chargedHadrons
  set EfficiencyFormula {
    (abs(eta) <= 1.5) * (
      (pt > 0.1 && pt <= 1.0) * 0.70 +
      (pt > 1.0) * 0.95) +
    (abs(eta) > 1.5 && abs(eta) <= 2.5) * (
      (pt > 0.1 && pt <= 1.0) * 0.60 +
      (pt > 1.0) * 0.85)
  }
}

module Efficiency ElectronTrackingEfficiency {
  set InputArray ParticlePropagator/electrons
  set OutputArray electrons
  set EfficiencyFormula {
    (abs(eta) <= 1.5) * (
      (pt > 0.1 && pt <= 1.0) * 0.73 +
      (pt > 1.0 && pt <= 100.0) * 0.95 +
      (pt > 100.0) * 0.99) +
    (abs(eta) > 1.5 && abs(eta) <= 2.5) * (
      (pt > 0.1 && pt <= 1.0) * 0.50 +
      (pt > 1.0 && pt <= 100.0) * 0.83 +
      (pt > 100.0) * 0.90)
  }
}

module Efficiency MuonTrackingEfficiency {
  set InputArray ParticlePropagator/muons
  set OutputArray muons
  set EfficiencyFormula {
    (abs(eta) <= 1.5) * (
      (pt > 0.1 && pt <= 1.0) * 0.75 +
      (pt > 1.0 && pt <= 1000.0) * 0.99 +
      (pt > 1000.0) * 0.99 * exp(0.5 - 5.0e-4*pt)) +
    (abs(eta) > 1.5 && abs(eta) <= 2.5) * (
      (pt > 0.1 && pt <= 1.0) * 0.70 +
      (pt > 1.0 && pt <= 1000.0) * 0.98 +
      (pt > 1000.0) * 0.98 * exp(0.5 - 5.0e-4*pt))
  }
}

# --- relative momentum resolution: a constant and a term linear in pT (CMS, arXiv:1405.6569)

module MomentumSmearing ChargedHadronMomentumSmearing {
  set InputArray ChargedHadronTrackingEfficiency/chargedHadrons
  set OutputArray chargedHadrons
  set ResolutionFormula {
    (pt > 0.1) * (
      (abs(eta) <= 0.5) * sqrt(0.06^2 + pt^2*1.3e-3^2) +
      (abs(eta) > 0.5 && abs(eta) <= 1.5) * sqrt(0.10^2 + pt^2*1.7e-3^2) +
      (abs(eta) > 1.5 && abs(eta) <= 2.5) * sqrt(0.25^2 + pt^2*3.1e-3^2))
  }
}

module MomentumSmearing ElectronMomentumSmearing {
  set InputArray ElectronTrackingEfficiency/electrons
  set OutputArray electrons
  set ResolutionFormula {
    (pt > 0.1) * (
      (abs(eta) <= 0.5) * sqrt(0.03^2 + pt^2*1.3e-3^2) +
      (abs(eta) > 0.5 && abs(eta) <= 1.5) * sqrt(0.05^2 + pt^2*1.7e-3^2) +
      (abs(eta) > 1.5 && abs(eta) <= 2.5) * sqrt(0.15^2 + pt^2*3.1e-3^2))
  }
}

module MomentumSmearing MuonMomentumSmearing {
  set InputArray MuonTrackingEfficiency/muons
  set OutputArray muons
  set ResolutionFormula {
    (pt > 0.1) * (
      (abs(eta) <= 0.5) * sqrt(0.01^2 + pt^2*1.0e-4^2) +
      (abs(eta) > 0.5 && abs(eta) <= 1.5) * sqrt(0.015^2 + pt^2*1.5e-4^2) +
      (abs(eta) > 1.5 && abs(eta) <= 2.5) * sqrt(0.025^2 + pt^2*3.5e-4^2))
  }
}

module Merger TrackMerger {
  add InputArray ChargedHadronMomentumSmearing/chargedHadrons
  add InputArray ElectronMomentumSmearing/electrons
  add InputArray MuonMomentumSmearing/muons
  set OutputArray tracks
}

# --- impact parameters: Gaussian widths in mm (CMS, arXiv:1405.6569, figure 15)

module TrackSmearing TrackSmearing {
  set InputArray TrackMerger/tracks
  set OutputArray tracks
  set Bz 3.8

  # Not smeared. Spelled 0, because Delphes takes the text 0.0 for "read a histogram from a file".
  set PResolutionFormula 0
  set CtgThetaResolutionFormula 0
  set PhiResolutionFormula 0

  # Edges of the pT bins in GeV; the last bin is open.
  set edges {
    0.1823 0.2227 0.2720 0.3323 0.4060 0.4959 0.6058 0.7401 0.9041 1.1044 1.3492 1.6481
    2.0134 2.4595 3.0045 3.6703 4.4837 5.4772 6.6910 8.1737 9.9849 12.1976 14.9005 18.2024
    22.2360 27.1635 33.1828 40.5360 49.5187 60.4919 73.8967 90.2720 110.2760 134.7130 1e9
  }

  set D0ResolutionFormula 0
  set DZResolutionFormula 0

  foreach {range d0 dz} {
    {abs(eta) > 0.0 && abs(eta) <= 0.9} {
      0.3543 0.2809 0.2304 0.1917 0.1737 0.1434 0.1060 0.0893 0.0753 0.0670 0.0577 0.0524
      0.0452 0.0376 0.0350 0.0324 0.0283 0.0258 0.0237 0.0211 0.0191 0.0164 0.0150 0.0143
      0.0130 0.0130 0.0116 0.0116 0.0110 0.0110 0.0110 0.0104 0.0109 0.0110
    } {
      0.3693 0.3135 0.3125 0.2578 0.2221 0.1936 0.1686 0.1351 0.1113 0.0983 0.0882 0.0786
      0.0684 0.0615 0.0551 0.0516 0.0484 0.0450 0.0416 0.0416 0.0382 0.0350 0.0317 0.0316
      0.0316 0.0316 0.0348 0.0316 0.0316 0.0316 0.0284 0.0283 0.0315 0.0318
    }
    {abs(eta) > 0.9 && abs(eta) <= 1.4} {
      0.4564 0.3580 0.3010 0.2353 0.2026 0.1595 0.1383 0.1119 0.0926 0.0816 0.0663 0.0553
      0.0488 0.0431 0.0399 0.0357 0.0313 0.0277 0.0233 0.0221 0.0214 0.0180 0.0155 0.0141
      0.0128 0.0134 0.0121 0.0108 0.0101 0.0101 0.0101 0.0102 0.0088 0.0095
    } {
      0.7062 0.6010 0.5992 0.4959 0.3877 0.3199 0.2649 0.2518 0.1982 0.1587 0.1399 0.1199
      0.1031 0.0967 0.0805 0.0736 0.0707 0.0603 0.0609 0.0541 0.0511 0.0443 0.0409 0.0408
      0.0409 0.0377 0.0375 0.0377 0.0342 0.0342 0.0343 0.0343 0.0309 0.0310
    }
    {abs(eta) > 1.4 && abs(eta) <= 2.5} {
      0.6970 0.6046 0.5315 0.4306 0.3398 0.2788 0.2387 0.1814 0.1557 0.1230 0.1009 0.0914
      0.0767 0.0638 0.0544 0.0468 0.0425 0.0385 0.0331 0.0278 0.0256 0.0236 0.0217 0.0196
      0.0176 0.0165 0.0157 0.0150 0.0144 0.0144 0.0137 0.0130 0.0137 0.0137
    } {
      2.1717 2.0715 2.0679 1.7679 1.4393 1.1997 0.9800 0.8251 0.6695 0.5545 0.4366 0.3711
      0.3319 0.2721 0.2443 0.2085 0.1816 0.1641 0.1451 0.1317 0.1117 0.1020 0.1017 0.0983
      0.0882 0.0847 0.0814 0.0784 0.0817 0.0750 0.0816 0.0820 0.0814 0.0850
    }
  } {
    foreach low [lrange $edges 0 33] high [lrange $edges 1 34] d0Width $d0 dzWidth $dz {
      set bin "($range) * (pt > $low && pt <= $high)"
      append D0ResolutionFormula " + $bin * $d0Width"
      append DZResolutionFormula " + $bin * $dzWidth"
    }
  }
}
