"""What the numbers of an evaluation say; the report shows them. Jets are central."""

MEANINGS = {
    "jets": "how many were measured",
    "error": "mean |ln| of the network's factor over the one that gives the GEN-jet's pT",
    "improvement": "how much narrower the response (IQR over median) is than with the standard "
    "correction, above 30 GeV, in %",
    "improvement_uncertainty": "its error, from resampled events",
    "improvement_trees": "the same of boosted trees on 20 numbers that sum a jet up",
    "improvement_knowing_little": "the same of a network that knows only pT, η, mass and ρ",
    "worst_closure": "largest distance of a median response from 1, in bins of pT",
    "worst_closure_standard": "the same with the standard correction",
    "flavour_dependence_reduction": "how much smaller the spread of the medians of flavours is "
    "than with the standard correction, in %",
    "coverage": "share of all jets in the interval that should hold 68 %",
    "improvement_b_with_neutrinos": "of b jets against GEN-jets with neutrinos, in %",
    "improvement_mass": "of masses above 20 GeV, in %",
}
