"""The whole detector: what it refuses, what it survives, and how it compares with Delphes."""

import math

import numpy as np
import pytest
import uproot
from detector_events import (
    FAT_JETS,
    make_record,
    minimum_bias,
    random_record,
    run_modules,
    write_card,
)

from generation.delphes_file import read_generator_records
from generation.fastsim.branches import make_branch
from generation.fastsim.candidates import Candidates
from generation.fastsim.card import read_card
from generation.fastsim.engine import Detector
from generation.pileup import PileupLibrary, build_library
from provenance.errors import UserError


@pytest.fixture(scope="module")
def detector():
    return Detector(read_card(FAT_JETS), minimum_bias(np.random.default_rng(1)))


def simulate(detector, record, seed=1):
    return detector.simulate(record, seed)


def events(branch):
    return len(branch.offsets) - 1


def test_every_event_is_in_every_branch(detector):
    sizes = np.random.default_rng(2).integers(0, 150, 2 * detector.events_per_chunk + 3)
    sizes[[0, 5, -1]] = 0
    branches = simulate(detector, random_record(np.random.default_rng(2), sizes, jet=True))
    assert {events(branch) for branch in branches.values()} == {len(sizes)}
    assert np.diff(branches["Particle"].offsets).tolist() == sizes.tolist()
    for name in ("MissingET", "PuppiMissingET", "GenMissingET", "ScalarHT"):
        assert np.diff(branches[name].offsets).tolist() == [1] * len(sizes)
    for branch in branches.values():
        assert {len(values) for values in branch.columns.values()} == {branch.offsets[-1]}


def test_the_same_stream_gives_the_same_events(detector):
    record = random_record(np.random.default_rng(2), [80] * 7, jet=True)
    first, again = simulate(detector, record), simulate(detector, record)
    other = simulate(detector, record, seed=2)
    for name, branch in first.items():
        for leaf, values in branch.columns.items():
            assert np.array_equal(values, again[name].columns[leaf]), (name, leaf)
    puppi = "ParticleFlowCandidate"
    assert not np.array_equal(first[puppi].columns["PT"], other[puppi].columns["PT"])


def strange(kind):
    """Return events that generators should not, but do, come up with."""
    five = [211, 22, -211, 130, 22]
    beam = {"px": np.zeros(5), "py": np.zeros(5), "pz": np.array([5e3, -6e3, 0.1, -1e4, 6500.0])}
    return {
        "no events": make_record([], np.zeros(0), 0, 0, 0),
        "empty events": make_record([0, 0, 0], np.zeros(0), 0, 0, 0),
        "zero momentum": make_record([3, 2], five, 0.0, 0.0, 0.0),
        "zero momentum and energy": make_record([5], five, 0.0, 0.0, 0.0, e=np.zeros(5)),
        "along the beam": make_record([5], five, 0.0, 0.0, 0.0, **beam, e=np.abs(beam["pz"])),
        "nearly along the beam": make_record(
            [5], five, [1e-3, 1e-3, 1.0, 1e-4, 1e-2], [12, -15, 8, 18, -11], 0.3
        ),
        "born outside": make_record(
            [5], five, 5.0, 0.5, 0.3, x=[2e3, 1290, 1289.999, 0, -5e3], z=[0, 0, 0, 3e3, 1e6]
        ),
        "born on the surface": make_record([5], five, 5.0, 0.5, 0.3, x=1289.9999999),
        "circling for ever": make_record([5], [211, -211, 11, -11, 211], 0.2, 0.0, 0.1),
        "along the diagonal": make_record([5], five, 5.0, 0.0, math.pi / 4),
        "unknown codes": make_record([5], [9999999, -9999999, 1000022, 4000011, 211], 5.0, 0.5, 1),
        "unknown codes with charge": make_record(
            [5], [9999999, -9999999, 1000022, 4000011, 211], 5.0, 0.5, 1, charge=[0, 1, 2, -1, -3]
        ),
        "the same particle twice": make_record([2], [211, 211], 5.0, 0.5, 0.3),
        "enormous momenta": make_record([5], five, [1e6, 1e7, 5e5, 1e6, 1e9], [0, 1, 2, 0, 3], 1),
    }[kind]


KINDS = (
    "no events", "empty events", "zero momentum", "zero momentum and energy", "along the beam",
    "nearly along the beam", "born outside", "born on the surface", "circling for ever",
    "along the diagonal", "unknown codes", "unknown codes with charge", "the same particle twice",
    "enormous momenta",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_strange_events_come_through_whole_and_finite(detector, kind):
    record = strange(kind)
    branches = simulate(detector, record)
    for name, branch in branches.items():
        assert events(branch) == record.n_events
        for leaf, values in branch.columns.items():
            assert np.all(np.isfinite(values)), (name, leaf)
    assert branches["Particle"].offsets[-1] == len(record.pid)


def test_an_event_of_a_hundred_thousand_particles():
    card = read_card(FAT_JETS)
    record = random_record(np.random.default_rng(1), [100_000, 10])
    detector = Detector(card, minimum_bias(np.random.default_rng(1)))
    store = detector.start(record, np.random.default_rng(1))
    for module in detector.modules:
        if module.config.type not in ("FastJetFinder", "EnergyScale", "TreeWriter"):
            module.run(store)
    candidates = store.arrays["RunPUPPI/PuppiParticles"]
    assert candidates.counts[0] > 10_000
    assert np.all(np.isfinite(candidates["px"]))


def test_cards_are_checked_before_any_event(tmp_path):
    with pytest.raises(UserError, match=r"card.tcl:2: .*'Wizard', which is not implemented"):
        Detector(read_card(write_card(tmp_path, ("Wizard", "Merlin", ""))))
    with pytest.raises(UserError, match=r"card.tcl:3: 'Colour' of module 'Eff'"):
        Detector(read_card(write_card(tmp_path, ("Efficiency", "Eff", "set Colour red"))))
    with pytest.raises(UserError, match=r"'EfficiencyFormula' of module 'Eff' is not a formula"):
        Detector(
            read_card(write_card(tmp_path, ("Efficiency", "Eff", "set EfficiencyFormula {ptt}")))
        )
    missing = write_card(tmp_path, ("Efficiency", "Eff", "set InputArray Nobody/nothing"))
    with pytest.raises(UserError, match="'Nobody/nothing', which no module before it"):
        run_modules(missing, make_record([1], 211, 1.0, 0.0, 0.0))
    writer = write_card(tmp_path, ("TreeWriter", "W", "add Branch Delphes/allParticles P Ghost"))
    with pytest.raises(UserError, match="unknown class 'Ghost'"):
        Detector(read_card(writer))


def test_branches_have_the_leaves_of_real_files(detector, reference):
    branches = simulate(detector, random_record(np.random.default_rng(2), [80], jet=True))
    with uproot.open(reference("delphes/qcd_3.root")) as file:
        real = file["Delphes"].typenames()
    for name, branch in branches.items():
        expected = {}
        for key, kind in real.items():
            owner, _, leaf = key.partition("/")
            if owner == name and leaf and "TRef" not in kind and "TLorentz" not in kind:
                expected[leaf.removeprefix(f"{name}.")] = kind.removesuffix("[]").split("[")[0]
        found = {
            leaf: {"f4": "float", "f8": "double", "i4": "int32_t", "u4": "uint32_t"}[
                values.dtype.str[1:]
            ]
            for leaf, values in branch.columns.items()
        }
        assert found == expected, name
        assert list(found) == list(expected), name


def test_momenta_along_the_beam_are_999_away():
    px, pz = np.array([0.0, 1e-13, 1e-13, 0.0, 1e-3]), np.array([0.0, 1e3, -1e3, -5.0, 1.0])
    e = np.sqrt(px**2 + pz**2)
    columns = {"px": px, "py": np.zeros(5), "pz": pz, "e": e}
    branch = make_branch("GenParticle", Candidates(np.array([0, 5]), columns))
    for leaf in ("Eta", "Rapidity"):
        expected = [999.9, 999.9, -999.9, -999.9, math.asinh(1e3)]
        assert branch.columns[leaf] == pytest.approx(expected, rel=1e-5)


def means(counts, columns):
    """Return what is compared: one row per event."""
    event = np.repeat(np.arange(len(counts)), counts)

    def total(mask, weights=None):
        weights = None if weights is None else weights[mask]
        return np.bincount(event[mask], weights=weights, minlength=len(counts)).astype(float)

    track, hard = columns["Charge"] != 0, columns["IsPU"] == 0
    moving, central = columns["PT"] > 0, np.abs(columns["Eta"]) < 3
    photon, hadron = (columns["PID"] == 22) & central, (columns["PID"] == 0) & central
    pt = columns["PT"]
    significance = np.abs(columns["D0"]) / np.where(columns["ErrorD0"] > 0, columns["ErrorD0"], 1)
    return {
        "tracks": total(track & moving & hard),
        "tracks without momentum": total(track & ~moving & hard),
        "displaced tracks": total(track & moving & hard & (significance > 3)),
        "soft tracks": total(track & moving & hard & (pt < 1)),
        "photons": total(photon),
        "neutral hadrons": total(hadron),
        "pT of tracks": total(track & hard, pt),
        "pT of photons": total(photon, pt),
        "pT of neutral hadrons": total(hadron, pt),
    }


def test_candidates_agree_with_real_delphes_on_the_same_events(reference, tmp_path):
    """Differences per generator event, so that only the detectors' own fluctuations remain.

    The reference files were made with another minimum-bias sample, whose multiplicity is known
    to 1.5 %; neutral candidates depend on it.
    """
    build_library(tmp_path / "minbias.arrow", 500, 1)
    detector = Detector(read_card(FAT_JETS), PileupLibrary.open(tmp_path / "minbias.arrow"))
    differences, reals = {}, {}
    for name in ("qcd_3", "res34p_1"):
        path = reference(f"delphes/{name}.root")
        prefix = "ParticleFlowCandidate."
        leaves = ("PID", "Charge", "IsPU", "PT", "Eta", "D0", "ErrorD0")
        with uproot.open(path) as file:
            arrays = file["Delphes"].arrays([prefix + leaf for leaf in leaves], library="np")
        counts = [len(values) for values in arrays[prefix + "PID"]]
        real = means(counts, {leaf: np.concatenate(arrays[prefix + leaf]) for leaf in leaves})
        (record,) = read_generator_records(path, 1000)
        branch = simulate(detector, record)["ParticleFlowCandidate"]
        embedded = means(np.diff(branch.offsets), branch.columns)
        for quantity, values in real.items():
            differences.setdefault(quantity, []).append(embedded[quantity] - values)
            reals.setdefault(quantity, []).append(values)
    for quantity, parts in differences.items():
        difference, real = np.concatenate(parts), np.concatenate(reals[quantity])
        error = math.hypot(difference.std() / math.sqrt(len(difference)), 0.015 * real.mean())
        assert abs(difference.mean()) < 4 * error, quantity
        assert abs(difference.mean()) < 0.12 * real.mean(), quantity
