"""How fastsim compares with Delphes: the same generator events through both."""
