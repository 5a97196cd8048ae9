# AK8 and AK15 jets with their substructure, from particles and from PUPPI candidates.
# JetAlgorithm 6 is anti-kT, AxisMode 4 one-pass kT axes.

module FastJetFinder GenJetFinderAK8 {
  set InputArray NeutrinoFilter/filteredParticles
  set OutputArray jets
  set JetAlgorithm 6
  set ParameterR 0.8
  set JetPTMin 200.0

  set ComputeNsubjettiness 1
  set Beta 1.0
  set AxisMode 4

  set ComputeSoftDrop 1
  set BetaSoftDrop 0.0
  set SymmetryCutSoftDrop 0.1
  set R0SoftDrop 0.8
}

module FastJetFinder GenJetFinderAK15 {
  set InputArray NeutrinoFilter/filteredParticles
  set OutputArray jets
  set JetAlgorithm 6
  set ParameterR 1.5
  set JetPTMin 120.0

  set ComputeNsubjettiness 1
  set Beta 1.0
  set AxisMode 4

  set ComputeSoftDrop 1
  set BetaSoftDrop 0.0
  set SymmetryCutSoftDrop 0.1
  set R0SoftDrop 1.5
}

module FastJetFinder FastJetFinderPUPPIAK8 {
  set InputArray RunPUPPI/PuppiParticles
  set OutputArray jets
  set JetAlgorithm 6
  set ParameterR 0.8
  set JetPTMin 200.0

  set ComputeNsubjettiness 1
  set Beta 1.0
  set AxisMode 4

  set ComputeTrimming 1
  set RTrim 0.2
  set PtFracTrim 0.05

  set ComputePruning 1
  set ZcutPrun 0.1
  set RcutPrun 0.5
  set RPrun 0.8

  set ComputeSoftDrop 1
  set BetaSoftDrop 0.0
  set SymmetryCutSoftDrop 0.1
  set R0SoftDrop 0.8
}

module FastJetFinder FastJetFinderPUPPIAK15 {
  set InputArray RunPUPPI/PuppiParticles
  set OutputArray jets
  set JetAlgorithm 6
  set ParameterR 1.5
  set JetPTMin 120.0

  set ComputeNsubjettiness 1
  set Beta 1.0
  set AxisMode 4

  set ComputeTrimming 1
  set RTrim 0.2
  set PtFracTrim 0.05

  set ComputePruning 1
  set ZcutPrun 0.1
  set RcutPrun 0.5
  set RPrun 1.5

  set ComputeSoftDrop 1
  set BetaSoftDrop 0.0
  set SymmetryCutSoftDrop 0.1
  set R0SoftDrop 1.5
}

# The energy scale is left as it is.

module EnergyScale JetEnergyScalePUPPIAK8 {
  set InputArray FastJetFinderPUPPIAK8/jets
  set OutputArray jets
  set ScaleFormula 1.00
}

module EnergyScale JetEnergyScalePUPPIAK15 {
  set InputArray FastJetFinderPUPPIAK15/jets
  set OutputArray jets
  set ScaleFormula 1.00
}
