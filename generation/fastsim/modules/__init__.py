"""The Delphes modules that fastsim implements, by their class in the card.

A module is a class of the same name, in the file given here, derived from
`generation.fastsim.module.Module`. Files are imported when a card asks for them.
"""

MODULE_FILES: dict[str, str] = {
    "BTagging": "b_tagging",
    "ConstituentFilter": "constituent_filter",
    "Efficiency": "efficiency",
    "EnergyScale": "energy_scale",
    "FastJetFinder": "fast_jet_finder",
    "FastJetGridMedianEstimator": "fast_jet_grid_median_estimator",
    "Isolation": "isolation",
    "JetFlavorAssociation": "jet_flavor_association",
    "Merger": "merger",
    "MomentumSmearing": "momentum_smearing",
    "ParticlePropagator": "particle_propagator",
    "PdgCodeFilter": "pdg_code_filter",
    "PileUpMerger": "pileup_merger",
    "RecoPuFilter": "reco_pu_filter",
    "RunPUPPI": "run_puppi",
    "SimpleCalorimeter": "simple_calorimeter",
    "TauTagging": "tau_tagging",
    "TrackPileUpSubtractor": "track_pileup_subtractor",
    "TrackSmearing": "track_smearing",
    "TreeWriter": "tree_writer",
    "UniqueObjectFinder": "unique_object_finder",
}
