# The fat-jet card of JetClass-II with a mean of 140 pile-up interactions instead of 50.

source jetclass2_fatjet.tcl

module PileUpMerger PileUpMerger {
  set MeanPileUp 140
}
