"""Pythia's batches: reproducible, with the spectra of MadGraph and the decays of the tables."""

from dataclasses import fields

import numpy as np
import pylhe
import pytest
import pythia8mc
from scipy.stats import chisquare, ks_2samp

from generation import pythia as pythia_module
from generation.process import Process, load_process
from generation.pythia import EventGenerator
from generation.pythia_record import BEAM, ParticleTable, to_record
from generation.ranmar import set_state
from generation.seeds import EXTERNAL_SEEDS, Stage, stream
from provenance.errors import UserError

RES34P = {"m_X": 200.0, "pt_min_X": 250.0, "m_Y": 80.0, "width_Y": 2.0}
HARD = 22


def hard_process_only(name: str) -> EventGenerator:
    """Return a generator of the hard process and its decays alone, which is ten times as fast."""
    process = load_process(name)
    off = ("PartonLevel:MPI", "PartonLevel:ISR", "PartonLevel:FSR", "HadronLevel:all")
    settings = [*process.settings, *(f"{step} = off" for step in off)]
    return EventGenerator(process.model_copy(update={"settings": settings}))


def same(first, second) -> bool:
    return all(
        np.array_equal(getattr(first, field.name), getattr(second, field.name))
        for field in fields(first)
    )


def daughters(record, pdg):
    """Return the PDG codes of the two daughters of every particle that decays, (n, 2)."""
    start = np.repeat(record.offsets[:-1], np.diff(record.offsets))
    decays = (np.abs(record.pid) == pdg) & (record.d2 > record.d1)
    rows = np.stack([record.d1, record.d2], axis=1)[decays] + start[decays, None]
    return record.pid[rows]


@pytest.fixture(scope="module")
def res34p():
    return EventGenerator(load_process("res34p"))


def test_batch_does_not_depend_on_what_ran_before(res34p):
    alone = res34p.batch(RES34P, 41, 5)
    res34p.batch(RES34P | {"m_Y": 30.0}, 42, 3)
    assert same(res34p.batch(RES34P, 41, 5).record, alone.record)
    elsewhere = EventGenerator(load_process("res34p"))
    elsewhere.batch(RES34P, 40, 2)
    assert same(elsewhere.batch(RES34P, 41, 5).record, alone.record)
    assert not same(res34p.batch(RES34P, 43, 5).record, alone.record)


def test_a_smaller_batch_is_the_beginning_of_a_larger(res34p):
    large = res34p.batch(RES34P, 44, 6).record
    assert same(res34p.batch(RES34P, 44, 4).record, large.select_events(0, 4))


def test_shared_starts_change_no_event(tmp_path):
    process = load_process("qcd")
    point = {"pt_hat_min": 300.0}
    file = tmp_path / "multiparton.dat"

    def start(at, rng, reuse):
        pythia = pythia8mc.Pythia("", False)
        for setting in (
            "Print:quiet = on",
            *process.hard_process,
            *process.pythia_settings(at),
            "Random:setSeed = on",
            f"Random:seed = {1 + int(rng.bit_generator.random_raw()) % EXTERNAL_SEEDS}",
            f"MultipartonInteractions:reuseInit = {reuse}",
            f"MultipartonInteractions:initFile = {file}",
        ):
            assert pythia.readString(setting)
        assert pythia.init()
        set_state(pythia.rndm, rng)
        return pythia

    key = pythia_module.PREPARATION_KEY
    first_point = process.draw_point(stream(Stage.PARAMETER_POINT, key))
    start(first_point, stream(Stage.PREPARATION, key), pythia_module.SAVE_TO_FILE)
    plain = start(point, stream(Stage.PYTHIA, 45), pythia_module.READ_FROM_FILE).nextBatch(4)
    generator = EventGenerator(process)
    assert same(generator.batch(point, 45, 4).record, to_record(plain.prt, generator.particles))


def test_events_depend_on_the_state_of_the_generator_and_on_nothing_else():
    def events(key, seed):
        pythia = pythia8mc.Pythia("", False)
        for setting in (
            "Print:quiet = on",
            "HardQCD:all = on",
            "PhaseSpace:pTHatMin = 100.",
            "HadronLevel:all = off",
            "Random:setSeed = on",
            f"Random:seed = {seed}",
        ):
            assert pythia.readString(setting)
        assert pythia.init()
        set_state(pythia.rndm, stream(Stage.PYTHIA, key))
        return pythia.nextBatch(3).prt.p.e.to_list()

    assert events(1, 1) == events(1, 1)
    assert events(1, 1) != events(2, 1)


def test_the_largest_key_is_a_key(res34p):
    assert res34p.batch(RES34P, 2**128 - 1, 2).record.n_events == 2


def test_record_is_what_delphes_reads():
    def start():
        pythia = pythia8mc.Pythia("", False)
        for setting in ("Print:quiet = on", "HardQCD:all = on", "PhaseSpace:pTHatMin = 100.",
                        "Random:setSeed = on", "Random:seed = 46"):  # fmt: skip
            assert pythia.readString(setting)
        assert pythia.init()
        return pythia

    one_by_one = start()
    table = ParticleTable.of_pythia(one_by_one.particleData)
    record = to_record(start().nextBatch(3).prt, table)
    for index in range(3):
        assert one_by_one.next()
        particles = list(one_by_one.event)[1:]
        event = record.select_events(index, index + 1)
        assert len(event.pid) == len(particles)
        for name, value in {
            "pid": lambda p: p.id(), "status": lambda p: p.statusHepMC(),
            "m1": lambda p: p.mother1() - 1, "m2": lambda p: p.mother2() - 1,
            "d1": lambda p: p.daughter1() - 1, "d2": lambda p: p.daughter2() - 1,
            "mass": lambda p: p.m(), "e": lambda p: p.e(), "px": lambda p: p.px(),
            "py": lambda p: p.py(), "pz": lambda p: p.pz(), "x": lambda p: p.xProd(),
            "y": lambda p: p.yProd(), "z": lambda p: p.zProd(), "t": lambda p: p.tProd(),
        }.items():  # fmt: skip
            assert getattr(event, name).tolist() == [value(p) for p in particles], name
        known = event.charge != -999
        charges = np.array([int(p.charge()) for p in particles])
        assert np.array_equal(event.charge[known], charges[known])


def test_charges_are_those_of_real_delphes(reference):
    import uproot

    table = ParticleTable.of_pythia(pythia8mc.Pythia("", False).particleData)
    for name in ("res34p_1", "qcd_3", "ttbar_events"):
        with uproot.open(reference(f"delphes/{name}.root")) as file:
            arrays = file["Delphes"].arrays(["Particle.PID", "Particle.Charge"])
        pid = arrays["Particle.PID"].layout.content.data
        charge = arrays["Particle.Charge"].layout.content.data
        assert np.array_equal(table.charges(np.asarray(pid)), charge)


def test_beams_come_first(res34p):
    record = res34p.batch(RES34P, 47, 3).record
    first = record.offsets[:-1]
    assert np.all(record.status[first] == BEAM)
    assert np.all(record.status[first + 1] == BEAM)
    assert np.all(record.pid[first] == 2212)


def test_energy_is_conserved(res34p):
    record = res34p.batch(RES34P, 48, 5).record
    stable = record.status == 1
    event = np.repeat(np.arange(5), np.diff(record.offsets))[stable]
    assert np.allclose(np.bincount(event, record.e[stable]), 13000, rtol=1e-4)
    assert np.allclose(np.bincount(event, record.px[stable]), 0, atol=0.1)


@pytest.mark.parametrize(
    ("file", "process", "codes", "point"),
    [
        ("heft_pp_hh_m150", "res2p", (25, 25), {"m_X": 150.0, "pt_min_X": 0.0}),
        ("2hdm_pp_hphm_m200", "res2p_charged", (37, -37), {"m_X": 200.0, "pt_min_X": 0.0}),
    ],
)
def test_spectra_are_those_of_madgraph(reference, file, process, codes, point):
    expected = []
    for event in pylhe.LHEFile.fromfile(reference(f"madgraph/{file}.lhe.gz")).events:
        pair = [p for p in event.particles if p.status == 1 and p.id in codes]
        expected.append([[getattr(p, name) for name in ("e", "px", "py", "pz")] for p in pair])
    record = hard_process_only(process).batch(point, 49, 3000).record
    produced = np.isin(record.pid, codes) & (record.status == HARD)
    generated = np.stack([getattr(record, n)[produced] for n in ("e", "px", "py", "pz")], axis=1)
    found, wanted = observables(generated.reshape(-1, 2, 4)), observables(np.array(expected))
    for name in found:
        assert ks_2samp(found[name], wanted[name]).pvalue > 0.01, name


def observables(pairs):
    """Return pT of a resonance, mass and rapidity of the pair; pairs is (n, 2, 4)."""
    e, px, py, pz = pairs.sum(axis=1).T
    return {
        "pT": np.hypot(pairs[:, 0, 1], pairs[:, 0, 2]),
        "m": np.sqrt(e**2 - px**2 - py**2 - pz**2),
        "y": np.arctanh(pz / e),
    }


@pytest.mark.parametrize(
    ("process", "resonance", "produced", "per_event"),
    [("res2p", 25, 25, 2), ("res2p_charged", 37, 37, 2)],
)
def test_two_prong_decays_follow_the_table(process, resonance, produced, per_event):
    point = {"m_X": 125.0, "pt_min_X": 300.0}
    batch = hard_process_only(process).batch(point, 50, 2000)
    record = batch.record
    x = (np.abs(record.pid) == produced) & (record.status == HARD)
    assert x.sum() == per_event * 2000
    assert np.all(record.mass[x] == 125.0)
    assert np.hypot(record.px, record.py)[x].min() > 300
    check_fractions(load_process(process), resonance, record)


def test_four_prong_decays_follow_the_tables():
    process = load_process("res34p")
    record = hard_process_only("res34p").batch(RES34P, 51, 2000).record
    for pdg in (25, 35, 37):
        check_fractions(process, pdg, record)
    y = np.isin(np.abs(record.pid), (35, 37)) & (record.status == HARD)
    assert abs(np.median(record.mass[y]) - 80) < 0.2


def check_fractions(process: Process, pdg: int, record) -> None:
    """Compare how often each channel occurs with the decay table."""
    products = np.sort(np.abs(daughters(record, pdg)), axis=1)
    expected: dict[tuple, float] = {}
    for channel in process.decays[pdg]:
        key = tuple(sorted(map(abs, channel.products)))
        expected[key] = expected.get(key, 0) + channel.fraction
    counts = [np.sum(np.all(products == key, axis=1)) for key in expected]
    assert sum(counts) == len(products) > 1000
    fractions = np.array(list(expected.values()))
    assert chisquare(counts, fractions / fractions.sum() * len(products)).pvalue > 1e-4


def test_off_shell_y_is_kept():
    # Above half the mass of X, only one Y can be on shell; X stays where it was asked to be.
    point = {"m_X": 100.0, "pt_min_X": 200.0, "m_Y": 65.0, "width_Y": 2.0}
    record = hard_process_only("res34p").batch(point, 52, 300).record
    x = (record.pid == 25) & (record.status == HARD)
    assert np.all(record.mass[x] == 100.0)
    y = np.isin(np.abs(record.pid), (35, 37)) & (record.status == HARD)
    pairs = np.sort(record.mass[y].reshape(-1, 2), axis=1)
    assert np.all(pairs.sum(axis=1) < 100)
    assert np.median(pairs[:, 0]) < 36
    assert abs(np.median(pairs[:, 1]) - 65) < 2


@pytest.mark.parametrize("m_x", [15.0, 500.0])
@pytest.mark.parametrize("pt_min", [100.0, 2499.0])
@pytest.mark.parametrize("ratio", [0.1, 0.7])
def test_corners_of_the_grid(m_x, pt_min, ratio):
    point = {"m_X": m_x, "pt_min_X": pt_min, "m_Y": ratio * m_x, "width_Y": 0.05 * ratio * m_x}
    assert hard_process_only("res34p").batch(point, 53, 20).record.n_events == 20


def test_closed_channels_stay_closed():
    # Y of 1.5 GeV: neither to b nor to c quarks, nor to τ leptons.
    point = {"m_X": 15.0, "pt_min_X": 100.0, "m_Y": 1.5, "width_Y": 0.015}
    record = hard_process_only("res34p").batch(point, 54, 100).record
    assert set(np.abs(daughters(record, 35)).ravel().tolist()) == {1, 2, 3, 11, 13, 21}


@pytest.mark.parametrize("process", ["ttbar", "2hdm"])
def test_event_processes_have_one_lepton_and_two_b_quarks(process):
    generator = hard_process_only(process)
    description = load_process(process)
    point = description.draw_point(stream(Stage.PARAMETER_POINT, 1))
    # One top quark in 600 decays to another quark than b; none of these does.
    record = generator.batch(point, 58, 50).record
    products = np.sort(np.abs(daughters(record, 24)), axis=1)
    leptonic = products[:, 0] > 6
    assert len(products) == 100
    assert leptonic.sum() == 50
    assert np.all(np.isin(products[leptonic], (11, 12, 13, 14)))
    b_quarks = np.abs(daughters(record, {"ttbar": 6, "2hdm": 25}[process])) == 5
    assert b_quarks.sum() == 100


def test_higgs_bosons_of_the_signal_have_their_masses():
    point = load_process("2hdm").draw_point(stream(Stage.PARAMETER_POINT, 1))
    record = hard_process_only("2hdm").batch(point, 56, 50).record
    for pdg, mass in ((35, 425), (37, 325), (25, 125)):
        found = record.mass[(np.abs(record.pid) == pdg) & (record.status == HARD)]
        assert len(found) == 50
        assert abs(np.median(found) - mass) < 8


def test_biased_phase_space_has_its_weights():
    process = hard_process_only("qcd").process
    bias = ["PhaseSpace:bias2Selection = on", "PhaseSpace:bias2SelectionPow = 4"]
    process = process.model_copy(update={"settings": [*process.settings, *bias]})
    batch = EventGenerator(process).batch({"pt_hat_min": 100.0}, 3, 50)
    outgoing = batch.record.status == 23
    pt = np.hypot(batch.record.px[outgoing], batch.record.py[outgoing])[::2]
    # Pythia's bias is (pT/10 GeV)⁴, and events are weighted with its inverse.
    np.testing.assert_allclose(batch.event["Weight"] * (pt / 10) ** 4, 1, rtol=1e-3)


def test_impossible_point_ends_in_an_error():
    with pytest.raises(UserError, match="Pythia does not start for res2p"):
        hard_process_only("res2p").batch({"m_X": 125.0, "pt_min_X": 7000.0}, 57, 1)


def test_unknown_setting_ends_in_an_error():
    process = load_process("qcd").model_copy(update={"settings": ["PhaseSpace:pTHatMinimum = 9"]})
    with pytest.raises(UserError, match="'PhaseSpace:pTHatMinimum = 9'"):
        EventGenerator(process)


@pytest.mark.parametrize("stage", ["ProcessLevel:all", "PartonLevel:all"])
def test_a_process_without_records_is_refused(stage):
    process = load_process("qcd").model_copy(update={"settings": [f"{stage} = off"]})
    with pytest.raises(UserError, match=f"qcd switches {stage} off"):
        EventGenerator(process)


def intolerant(tolerance: str) -> EventGenerator:
    """Return a generator whose Pythia gives up events for tiny imbalances of energy."""
    process = load_process("qcd")
    settings = [*process.settings, f"Check:epTolErr = {tolerance}", "Check:epTolWarn = 1e-13"]
    return EventGenerator(process.model_copy(update={"settings": settings}))


def test_events_given_up_are_counted_and_made_anew():
    batch = intolerant("1e-12").batch({"pt_hat_min": 300.0}, 3, 20)
    assert batch.failed > 0
    assert batch.record.n_events == 20
    assert all(len(values) == 20 for values in batch.event.values())
    stable = batch.record.status == 1
    event = np.repeat(np.arange(20), np.diff(batch.record.offsets))[stable]
    assert np.allclose(np.bincount(event, batch.record.e[stable]), 13000, rtol=1e-4)


def test_nothing_but_failures_end_in_an_error(monkeypatch):
    monkeypatch.setattr(pythia_module, "MOST_FAILURES", 2)
    with pytest.raises(UserError, match="Pythia fails to generate qcd"):
        intolerant("1e-17").batch({"pt_hat_min": 300.0}, 3, 2)
