"""Events that may be missing from a batch."""

import pytest
from scipy.stats import binom

from generation.external.losses import (
    LOSS_PROBABILITY,
    REFUSAL_PROBABILITY,
    most_lost,
    pythia_errors,
)

STATISTICS = """
 *-------  PYTHIA Error and Warning Messages Statistics  -------------------------------*
 |  times   message                                                                     |
 |      1   Abort from Pythia::next: parton+hadronLevel failed; giving up               |
 |     12   Error in Pythia::check: energy-momentum not conserved                       |
 |      3   Warning in StringFragmentation::fragmentToJunction: bad convergence          |
 *-------  End PYTHIA Error and Warning Messages Statistics  ---------------------------*
"""


@pytest.mark.parametrize("events", [1, 5, 10, 20, 100, 1000, 5000, 100_000])
def test_chance_alone_seldom_loses_more(events):
    most = most_lost(events)
    assert binom.sf(most, events, LOSS_PROBABILITY) <= REFUSAL_PROBABILITY * 1.001
    assert binom.sf(most - 1, events, LOSS_PROBABILITY) > REFUSAL_PROBABILITY * 0.999


def test_very_many_events_may_lose_the_mean_and_five_deviations():
    assert most_lost(1_000_000) == pytest.approx(1000 + 5 * 1000**0.5, abs=2)


def test_the_reasons_are_pythia_s_errors():
    assert pythia_errors(STATISTICS) == {
        "Abort from Pythia::next: parton+hadronLevel failed; giving up": 1,
        "Error in Pythia::check: energy-momentum not conserved": 12,
    }
    assert pythia_errors("Pythia did not get so far") == {}
