"""The Delphes modules that fastsim implements, by their class in the card.

A module is a class of the same name, in the file given here, derived from
`generation.fastsim.module.Module`. Files are imported when a card asks for them.
"""

MODULE_FILES: dict[str, str] = {
    "Efficiency": "efficiency",
    "EnergyScale": "energy_scale",
    "FastJetFinder": "fast_jet_finder",
    "Merger": "merger",
    "MomentumSmearing": "momentum_smearing",
    "ParticlePropagator": "particle_propagator",
    "PdgCodeFilter": "pdg_code_filter",
    "PileUpMerger": "pileup_merger",
    "RecoPuFilter": "reco_pu_filter",
    "RunPUPPI": "run_puppi",
    "SimpleCalorimeter": "simple_calorimeter",
    "TrackPileUpSubtractor": "track_pileup_subtractor",
    "TrackSmearing": "track_smearing",
    "TreeWriter": "tree_writer",
}
