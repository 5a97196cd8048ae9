# Calorimeters: edges of the towers in eta, each with its edges in azimuth.

module SimpleCalorimeter ECal {
  set ParticleInputArray ParticlePropagator/stableParticles
  set TrackInputArray TrackSmearing/tracks
  set TowerOutputArray ecalTowers
  set EFlowTrackOutputArray eflowTracks
  set EFlowTowerOutputArray eflowPhotons

  set IsEcal true
  set EnergyMin 0.5
  set EnergySignificanceMin 2.0
  set SmearTowerCenter true

  # barrel and endcap: 0.0174 x 1 degree
  set degrees {}
  for {set i -180} {$i <= 180} {incr i} {
    add degrees [expr {$i * acos(-1)/180.0}]
  }
  for {set i -169} {$i <= 170} {incr i} {
    add EtaPhiBins [expr {$i * 0.0174}] $degrees
  }

  # forward: 10 degrees
  set degrees {}
  for {set i -18} {$i <= 18} {incr i} {
    add degrees [expr {$i * acos(-1)/18.0}]
  }
  foreach edge {
    -5 -4.7 -4.525 -4.35 -4.175 -4 -3.825 -3.65 -3.475 -3.3 -3.125 -2.958
    3.125 3.3 3.475 3.65 3.825 4 4.175 4.35 4.525 4.7 5
  } {
    add EtaPhiBins $edge $degrees
  }

  # PDG code (0: every other particle) and the fraction of its energy that it leaves here
  set EnergyFraction {
    0 0.0
    11 1.0 22 1.0 111 1.0
    12 0.0 13 0.0 14 0.0 16 0.0
    1000022 0.0 1000023 0.0 1000025 0.0 1000035 0.0 1000045 0.0
    310 0.3 3122 0.3
  }

  # barrel and endcap: shape in eta from arXiv:1306.2016, energy from arXiv:1502.02701
  set ResolutionFormula {
    ((abs(eta) <= 1.5) * (1 + 0.64*eta^2) +
     (abs(eta) > 1.5 && abs(eta) <= 2.5) * (2.16 + 5.6*(abs(eta) - 2)^2)) *
      sqrt(energy^2*0.008^2 + energy*0.11^2 + 0.40^2) +
    (abs(eta) > 2.5 && abs(eta) <= 5.0) * sqrt(energy^2*0.107^2 + energy*2.08^2)
  }
}

module SimpleCalorimeter HCal {
  set ParticleInputArray ParticlePropagator/stableParticles
  set TrackInputArray ECal/eflowTracks
  set TowerOutputArray hcalTowers
  set EFlowTrackOutputArray eflowTracks
  set EFlowTowerOutputArray eflowNeutralHadrons

  set IsEcal false
  set EnergyMin 1.0
  set EnergySignificanceMin 1.0
  set SmearTowerCenter true

  # azimuthal cells in half a turn, and the edges in eta that have them
  foreach {cells edges} {
    36 {
      -1.566 -1.479 -1.392 -1.305 -1.218 -1.131 -1.044 -0.957 -0.87 -0.783 -0.696 -0.609
      -0.522 -0.435 -0.348 -0.261 -0.174 -0.087 0 0.087 0.174 0.261 0.348 0.435 0.522
      0.609 0.696 0.783 0.87 0.957 1.044 1.131 1.218 1.305 1.392 1.479 1.566 1.653
    }
    18 {
      -4.35 -4.175 -4 -3.825 -3.65 -3.475 -3.3 -3.125 -2.95 -2.868 -2.65 -2.5 -2.322
      -2.172 -2.043 -1.93 -1.83 -1.74 -1.653 1.74 1.83 1.93 2.043 2.172 2.322 2.5 2.65
      2.868 2.95 3.125 3.3 3.475 3.65 3.825 4 4.175 4.35 4.525
    }
    9 {-5 -4.7 -4.525 4.7 5}
  } {
    set degrees {}
    for {set i -$cells} {$i <= $cells} {incr i} {
      add degrees [expr {$i * acos(-1)/$cells}]
    }
    foreach edge $edges {
      add EtaPhiBins $edge $degrees
    }
  }

  set EnergyFraction {
    0 1.0
    11 0.0 22 0.0 111 0.0
    12 0.0 13 0.0 14 0.0 16 0.0
    1000022 0.0 1000023 0.0 1000025 0.0 1000035 0.0 1000045 0.0
    310 0.7 3122 0.7
  }

  set ResolutionFormula {
    (abs(eta) <= 3.0) * sqrt(energy^2*0.050^2 + energy*1.50^2) +
    (abs(eta) > 3.0 && abs(eta) <= 5.0) * sqrt(energy^2*0.130^2 + energy*2.70^2)
  }
}
