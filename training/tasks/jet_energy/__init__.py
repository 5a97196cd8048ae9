"""Jet energies: what the pT of a jet has to be multiplied by, from all that is measured of it."""
