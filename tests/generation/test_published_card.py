"""The fat-jet card is the published detector."""

import numpy as np
from detector_events import CARDS

from generation.fastsim.card import read_card
from generation.fastsim.formula import Formula


def test_the_fat_jet_card_holds_the_published_resolutions(reference):
    table = np.genfromtxt(reference("track_resolution_mm.csv"), delimiter=",", names=True)
    module = read_card(CARDS / "jetclass2_fatjet.tcl").modules["TrackSmearing"]
    for parameter, column in (("D0ResolutionFormula", "d0"), ("DZResolutionFormula", "dz")):
        formula = Formula(module.text(parameter, ""))
        for row in table:
            for pt in (np.nextafter(row["pt_min_gev"], np.inf), min(row["pt_max_gev"], 1e6)):
                for eta in (row["abs_eta_max"], -row["abs_eta_max"]):
                    assert formula(pt=pt, eta=eta) == row[f"sigma_{column}_mm"]
        assert formula(pt=0.1, eta=1.0) == 0
        assert formula(pt=10.0, eta=2.6) == 0


def test_the_fat_jet_card_has_the_granularity_of_the_detector():
    modules = read_card(CARDS / "jetclass2_fatjet.tcl").modules
    bins = modules["ECal"].array("EtaPhiBins")
    edges = dict(zip(bins[::2], bins[1::2], strict=True))
    central = sorted(edge for edge in edges if abs(edge) < 2.95)
    np.testing.assert_allclose(np.diff(central), 0.0174, atol=1e-12)
    assert {len(edges[edge]) for edge in central} == {361}
    assert min(edges) == -5
    assert max(edges) == 5
    assert {len(edges[edge]) for edge in edges if abs(edge) > 3} == {37}
    bins = modules["HCal"].array("EtaPhiBins")
    counts = {len(phi): [] for phi in bins[1::2]}
    for eta, phi in zip(bins[::2], bins[1::2], strict=True):
        counts[len(phi)].append(abs(eta))
    assert set(counts) == {73, 37, 19}
    assert max(counts[73]) == 1.653
    assert min(counts[19]) == 4.525
    fractions = modules["HCal"].array("EnergyFraction")
    assert dict(zip(fractions[::2], fractions[1::2], strict=True))[310] == 0.7
