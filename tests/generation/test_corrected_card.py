"""The fat-jet card with a momentum error of tracks is the published one in everything else."""

from pathlib import Path

from generation.fastsim.card import read_card

CARDS = Path(__file__).parents[2] / "delphes_cards"


def test_the_corrected_card_differs_in_the_momentum_error_alone():
    published = read_card(CARDS / "jetclass2_fatjet.tcl")
    corrected = read_card(CARDS / "jetclass2_fatjet_v2.tcl")
    assert corrected.execution_path == published.execution_path
    assert corrected.settings == published.settings
    assert corrected.modules.keys() == published.modules.keys()
    differences = {
        (name, key): (module.params[key], corrected.modules[name].params[key])
        for name, module in published.modules.items()
        for key in module.params.keys() | corrected.modules[name].params.keys()
        if module.params.get(key) != corrected.modules[name].params.get(key)
    }
    assert differences == {("TrackSmearing", "PResolutionFormula"): (0, 1e-4)}
