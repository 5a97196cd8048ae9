# The fat-jet card of JetClass-II with one fault mended: tracks have a momentum error.
# The published dataset was made without it; docs/cards.md shows what the difference is.

source jetclass2_fatjet.tcl

module TrackSmearing TrackSmearing {
  # Relative. With 0, as published, the energy flow gives the track's momentum no weight and takes
  # the smeared energy of the calorimeter instead, however soft the hadron.
  set PResolutionFormula 0.0001
}
