# Jets from charged-hadron subtraction: every neutral candidate, and the tracks that are not from
# pile-up (EFlowMergerCHS), without PUPPI's weights.

module FastJetFinder FastJetFinderCHS {
  set InputArray EFlowMergerCHS/eflow
  set OutputArray jets
  set JetAlgorithm 6
  set ParameterR 0.4
  set JetPTMin 15.0
}

module FastJetFinder FastJetFinderCHSAK8 {
  set InputArray EFlowMergerCHS/eflow
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

module EnergyScale JetEnergyScaleCHS {
  set InputArray FastJetFinderCHS/jets
  set OutputArray jets
  set ScaleFormula 1.00
}

module EnergyScale JetEnergyScaleCHSAK8 {
  set InputArray FastJetFinderCHSAK8/jets
  set OutputArray jets
  set ScaleFormula 1.00
}
