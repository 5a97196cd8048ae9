"""Processes for the classification of events: what decays into what, at which masses."""

from collections import Counter

import numpy as np
import pytest

from generation.process import load_process
from generation.pythia import EventGenerator
from generation.seeds import Stage, batch_key, stream

LEPTONS = {11, 13}
QUARKS = {1, 2, 3, 4, 5}
N_EVENTS = 30


def decays(record, pdg: int) -> list[tuple[int, ...]]:
    """Return |PDG| of the products of each last copy of a particle, in order of its |PDG|."""
    found = []
    for event in range(record.n_events):
        own = slice(record.offsets[event], record.offsets[event + 1])
        pid, first, last = record.pid[own], record.d1[own], record.d2[own]
        for i in np.flatnonzero(np.abs(pid) == pdg):
            products = np.abs(pid[first[i] : last[i] + 1])
            if first[i] >= 0 and pdg not in products:
                found.append(tuple(sorted(products.tolist())))
    return found


def point_of(process, number: int):
    """Return key and parameter point of a batch."""
    key = batch_key(1, process.name, number)
    return key, process.draw_point(stream(Stage.PARAMETER_POINT, key))


@pytest.fixture
def batches():
    def make(name: str, n_batches: int = 2):
        process = load_process(name)
        generator = EventGenerator(process)
        made = []
        for number in range(n_batches):
            key, point = point_of(process, number)
            made.append(generator.batch(point, key, N_EVENTS).record)
        return made

    return make


def kinds(products: tuple[int, ...]) -> str:
    return "leptonic" if set(products) & {11, 13, 15} else "hadronic"


@pytest.mark.parametrize(
    ("name", "chain"),
    [
        ("2hdm_heavy", {35: (24, 37), 37: (24, 25), 25: (5, 5)}),
        ("2hdm_scan", {35: (24, 37), 37: (24, 25), 25: (5, 5)}),
        ("hh_bbww", {35: (25, 36), 25: (5, 5), 36: (24, 24)}),
    ],
)
def test_signals_end_in_a_lepton_and_four_quarks(batches, name, chain):
    for record in batches(name):
        for pdg, products in chain.items():
            assert decays(record, pdg) == [products] * N_EVENTS
        # One of the two W of each event in either way.
        assert Counter(map(kinds, decays(record, 24))) == {
            "leptonic": N_EVENTS, "hadronic": N_EVENTS
        }  # fmt: skip


def masses(records, pdg: int) -> np.ndarray:
    return np.concatenate([record.mass[np.abs(record.pid) == pdg] for record in records])


def test_masses_of_the_heavy_point_and_of_pairs(batches):
    records = batches("2hdm_heavy")
    assert 560 < np.median(masses(records, 35)) < 620
    assert 430 < np.median(masses(records, 37)) < 455
    records = batches("hh_bbww")
    for pdg in (25, 36):
        np.testing.assert_allclose(masses(records, pdg), 125, atol=1)
    # One W of each pair is far below its mass.
    light = masses(records, 24)
    assert 0.3 < (light < 60).mean() < 0.7


def test_a_scan_never_meets_the_two_signals_and_keeps_w_on_shell():
    process = load_process("2hdm_scan")
    points = [point_of(process, number)[1] for number in range(300)]
    neutral = np.array([point["m_H"] for point in points])
    charged = np.array([point["m_H_charged"] for point in points])
    assert set(neutral) == set(range(370, 771, 50))
    assert not {425, 600} & set(neutral)
    assert (neutral - charged > 80.4).all()
    assert (charged > 80.4 + 125).all()


def test_masses_of_a_scan_are_those_of_its_points(batches):
    for number, record in enumerate(batches("2hdm_scan")):
        _, point = point_of(load_process("2hdm_scan"), number)
        assert abs(np.median(masses([record], 37)) / point["m_H_charged"] - 1) < 0.03
        assert abs(np.median(masses([record], 35)) / point["m_H"] - 1) < 0.03


def test_background_processes(batches):
    (record,) = batches("wjets", 1)
    assert {kinds(products) for products in decays(record, 24)} == {"leptonic"}
    (record,) = batches("single_top", 1)
    assert decays(record, 6) == [(5, 24)] * N_EVENTS
    assert {kinds(products) for products in decays(record, 24)} == {"leptonic"}
    (record,) = batches("qcd_heavy_flavour", 1)
    outgoing = np.abs(record.pid[record.status == 23])
    assert len(outgoing) == 2 * N_EVENTS
    assert set(outgoing) == {4, 5}
