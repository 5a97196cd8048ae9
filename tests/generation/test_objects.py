"""Isolation, tags, energy density and overlaps, each by hand."""

import math

import awkward as ak
import fastjet
import numpy as np
import pytest
import uproot
from detector_events import make_record, run_modules, write_card
from test_jets import module, stored

from generation.fastsim.candidates import Candidates, merge
from generation.fastsim.composition import parts_of
from generation.fastsim.module import EventStore
from generation.fastsim.modules.b_tagging import BTagging
from generation.fastsim.modules.constituent_filter import ConstituentFilter
from generation.fastsim.modules.fast_jet_finder import FastJetFinder
from generation.fastsim.modules.fast_jet_grid_median_estimator import FastJetGridMedianEstimator
from generation.fastsim.modules.isolation import Isolation
from generation.fastsim.modules.jet_flavor_association import JetFlavorAssociation
from generation.fastsim.modules.photon_id import PhotonID
from generation.fastsim.modules.tau_tagging import TauTagging
from generation.fastsim.modules.unique_object_finder import UniqueObjectFinder
from provenance.errors import UserError


def collection(counts, pt, eta, phi, **columns):
    """Return massless candidates; scalars are spread over all of them."""
    n = int(np.sum(counts))
    pt, eta, phi = (np.broadcast_to(np.asarray(v, dtype=float), n) for v in (pt, eta, phi))
    columns = {name: np.broadcast_to(np.asarray(v), n).copy() for name, v in columns.items()}
    momentum = {
        "px": pt * np.cos(phi),
        "py": pt * np.sin(phi),
        "pz": pt * np.sinh(eta),
        "e": pt * np.cosh(eta),
    }
    return Candidates(np.concatenate(([0], np.cumsum(counts))), momentum | columns)


def store_of(**arrays):
    return EventStore(
        {f"In/{name}": value for name, value in arrays.items()}, np.random.default_rng(1), None
    )


# --- isolation

ISOLATION = """Isolation set CandidateInputArray In/leptons; set IsolationInputArray In/others
    set OutputArray out; set DeltaRMax 0.5; set PTMin 0.5; set PTRatioMax 0.25"""


def isolated(tmp_path, extra="", **arrays):
    leptons = collection([1, 1], 20.0, [0.0, 2.0], [3.1, 0.0], charge=1)
    others = collection(
        [6, 1],
        #   charged, pile-up, neutral, soft, far, across φ = π; of another event
        [2.0, 3.0, 4.0, 0.4, 9.0, 1.0, 30.0],
        [0.1, -0.1, 0.0, 0.0, 0.6, 0.0, 0.0],
        [3.1, 3.1, 2.9, 3.1, 3.1, -3.1, 3.1],
        charge=[1, 1, 0, 0, 0, -1, 1],
        is_reco_pu=[0, 1, 0, 0, 0, 0, 0],
    )
    store = store_of(**({"leptons": leptons, "others": others} | arrays))
    Isolation(module(tmp_path, f"{ISOLATION}\n{extra}")).run(store)
    return store.arrays["In/leptons"], store.arrays["M/out"]


def test_isolation_sums_what_is_around(tmp_path):
    leptons, kept = isolated(tmp_path)
    assert leptons["sum_pt_charged"].tolist() == pytest.approx([3.0, 0.0])
    assert leptons["sum_pt_charged_pu"].tolist() == pytest.approx([3.0, 0.0])
    assert leptons["sum_pt_neutral"].tolist() == pytest.approx([4.0, 0.0])
    assert leptons["sum_pt"].tolist() == pytest.approx([10.0, 0.0])
    assert leptons["isolation_var"].tolist() == pytest.approx([(3 + 4 - 1.5) / 20, 0.0])
    # Without ρ nothing is corrected for.
    assert leptons["isolation_var_rho_corr"].tolist() == pytest.approx([7 / 20, 0.0])
    assert kept["eta"].tolist() == pytest.approx([2.0])
    assert np.diff(kept.offsets).tolist() == [0, 1]


def test_isolation_is_corrected_for_the_energy_density(tmp_path):
    rho = collection(
        [2, 2], [4.0, 8.0, 1.0, 2.0], 0.0, 0.0, edge_eta_min=[0, 2] * 2, edge_eta_max=[2, 5] * 2
    )
    leptons, kept = isolated(tmp_path, "set RhoInputArray In/rho", rho=rho)
    neutral = 4 - 4.0 * math.pi * 0.25
    assert leptons["isolation_var_rho_corr"].tolist() == pytest.approx([(3 + neutral) / 20, 0.0])
    assert len(kept) == 2


def test_isolation_by_sum_and_by_delta_beta(tmp_path):
    assert len(isolated(tmp_path, "set UsePTSum true; set PTSumMax 7.5")[1]) == 2
    assert len(isolated(tmp_path, "set UsePTSum true; set PTSumMax 6.5")[1]) == 1
    assert len(isolated(tmp_path, "set UseRhoCorrection false; set PTRatioMax 0.28")[1]) == 2


def test_a_candidate_and_its_clones_do_not_spoil_their_own_isolation(tmp_path):
    leptons = collection([2], [20.0, 30.0], [0.0, 0.3], 0.0, charge=1)
    clones = leptons.clone(np.arange(2), e=leptons["e"] * 1.0)
    found, _ = isolated(tmp_path, leptons=leptons, others=clones)
    assert found["sum_pt_charged"].tolist() == pytest.approx([30.0, 20.0])
    # A mini-cone knows only distances.
    found, _ = isolated(
        tmp_path, "set UseMiniCone true; set DeltaRMin 0.4", leptons=leptons, others=clones
    )
    assert found["sum_pt_charged"].tolist() == [0.0, 0.0]


# --- energy density


def test_the_energy_density_is_fastjet_s(tmp_path):
    rng = np.random.default_rng(5)
    counts = [400, 0, 60]
    particles = collection(
        counts, rng.exponential(1.0, 460), rng.uniform(-6, 6, 460), rng.uniform(-4, 4, 460)
    )
    ranges = [(-5, -4, 1, 1), (-1.5, 1.5, 1, 1), (1.5, 4, 0.7, 0.4)]
    lines = "\n".join("add GridRange " + " ".join(map(str, limits)) for limits in ranges)
    store = store_of(eflow=particles)
    FastJetGridMedianEstimator(
        module(tmp_path, f"FastJetGridMedianEstimator set InputArray In/eflow\n{lines}")
    ).run(store)
    rho = store.arrays["M/rho"]
    assert np.diff(rho.offsets).tolist() == [3, 3, 3]
    assert rho["edge_eta_min"][:3].tolist() == [-5, -1.5, 1.5]
    expected = []
    for first, last in zip(particles.offsets[:-1], particles.offsets[1:], strict=True):
        columns = (particles[name][first:last].tolist() for name in ("px", "py", "pz", "e"))
        jets = [fastjet.PseudoJet(*momentum) for momentum in zip(*columns, strict=True)]
        for limits in ranges:
            estimator = fastjet.GridMedianBackgroundEstimator(*map(float, limits))
            estimator.set_particles(fastjet.vectorPJ(jets))
            expected.append(estimator.rho())
    np.testing.assert_allclose(rho["pt"], expected, rtol=1e-12)
    assert max(expected) > 0


@pytest.mark.parametrize("values", ["1 2 3", "2 1 1 1", "0 1 0 1", "a b c d"])
def test_a_grid_that_is_none_is_named(tmp_path, values):
    with pytest.raises(UserError, match="'GridRange'"):
        FastJetGridMedianEstimator(
            module(tmp_path, f"FastJetGridMedianEstimator add GridRange {values}")
        )


# --- flavour and tags


def jets_and_partons():
    jets = collection([3, 1, 1], 50.0, [0.0, 1.0, -2.0, 0.0, 0.0], 0.0)
    partons = collection(
        [7, 1, 0],
        #  b, c, soft b | gluon, s | τ, top are no candidates
        [30.0, 40.0, 0.5, 20.0, 10.0, 90.0, 90.0, 10.0],
        [0.1, -0.1, 1.0, 1.2, -2.0, 1.0, -2.0, 3.0],
        0.0,
        pid=[-5, 4, 5, 21, 3, 15, 6, 5],
        status=23,
    )
    return jets, partons


def test_the_heaviest_quark_gives_the_flavour(tmp_path):
    jets, partons = jets_and_partons()
    store = store_of(jets=jets, partons=partons)
    JetFlavorAssociation(
        module(
            tmp_path,
            "JetFlavorAssociation set JetInputArray In/jets; set PartonInputArray In/partons\n"
            "set DeltaR 0.5; set PartonPTMin 1.0; set PartonEtaMax 2.5",
        )
    ).run(store)
    assert jets["flavor"].tolist() == [5, 21, 3, 0, 0]
    assert jets["flavor_algo"].tolist() == [0] * 5


def test_flavours_of_real_jets_equal_delphes(reference, tmp_path):
    tree = uproot.open(reference("delphes/ttbar_events.root"))["Delphes"]

    def flat(leaf):
        return ak.to_numpy(ak.flatten(tree[leaf].array())).astype(float)

    def counts(name):
        return ak.to_numpy(tree[f"{name}_size"].array()).astype(np.int64)

    jets = collection(
        counts("JetPUPPI"), *(flat(f"JetPUPPI.{leaf}") for leaf in ("PT", "Eta", "Phi"))
    )
    particles = collection(
        counts("Particle"), flat("Particle.PT"), np.clip(flat("Particle.Eta"), -30, 30),
        flat("Particle.Phi"), pid=flat("Particle.PID").astype(int),
        status=flat("Particle.Status").astype(int), charge=flat("Particle.Charge").astype(int),
        d1=flat("Particle.D1").astype(int), d2=flat("Particle.D2").astype(int),
    )  # fmt: skip
    code = np.abs(particles["pid"])
    partons = particles.select(((code <= 5) | np.isin(code, (15, 21))) & (particles["status"] != 1))
    store = store_of(jets=jets, partons=partons, particles=particles)
    body = "set JetInputArray In/jets; set PartonInputArray In/partons; set PartonPTMin 1.0"
    JetFlavorAssociation(module(tmp_path, f"JetFlavorAssociation {body}")).run(store)
    flavor = flat("JetPUPPI.Flavor")
    # At the edge of the cone the file's single precision decides.
    assert np.mean(jets["flavor"] != flavor) < 0.003
    body = (
        "set JetInputArray In/jets; set PartonInputArray In/partons\n"
        "set ParticleInputArray In/particles; add EfficiencyFormula 0 0.01 15 0.6"
    )
    TauTagging(module(tmp_path, f"TauTagging {body}")).run(store)
    assert np.array_equal(jets["tau_flavor"], flat("JetPUPPI.TauFlavor"))
    np.testing.assert_allclose(jets["tau_weight"], flat("JetPUPPI.TauWeight"))


def test_tags_follow_the_efficiency_of_the_flavour(tmp_path):
    jets = collection([40_000], 50.0, 0.0, 0.0)
    jets.mark("flavor", np.repeat([5, 4, 0, 21], 10_000).astype(np.int32))
    jets.mark("flavor_algo", np.full(40_000, 5, np.int32))
    body = "set JetInputArray In/jets; set BitNumber {}\nadd EfficiencyFormula 0 0.1 5 {{pt/100}}"
    store = store_of(jets=jets)
    BTagging(module(tmp_path, "BTagging " + body.format(0))).run(store)
    rates = jets["b_tag"].reshape(4, -1).mean(axis=1)
    np.testing.assert_allclose(rates, [0.5, 0.1, 0.1, 0.1], atol=0.02)
    assert jets["b_tag_algo"].mean() == pytest.approx(0.5, abs=0.01)
    assert jets["b_tag_phys"].mean() == pytest.approx(0.1, abs=0.01)
    before = jets["b_tag"].copy()
    BTagging(module(tmp_path, "BTagging " + body.format(3))).run(store)
    assert set(jets["b_tag"]) == {0, 1, 8, 9}
    assert np.array_equal(jets["b_tag"] & 1, before)


TAU = """TauTagging set JetInputArray In/jets; set PartonInputArray In/partons
    set ParticleInputArray In/particles; set DeltaR 0.5
    add EfficiencyFormula 0 0.0; add EfficiencyFormula 15 1.0"""


@pytest.mark.parametrize(
    ("daughters", "grandchildren", "found"),
    [
        ([211, 111, -16], {}, 15),
        ([11, -12, -16], {}, 15),  # Delphes looks for leptons behind a W only
        ([24, -16], {0: [11, -12]}, 0),
        ([24, -16], {0: [1, -2]}, 15),
        ([-16], {}, 0),  # nothing visible
    ],
)
def test_hadronic_taus_are_found(tmp_path, daughters, grandchildren, found):
    pid = [15, *daughters]
    d1, d2 = [1] + [-1] * len(daughters), [len(daughters)] + [-1] * len(daughters)
    for index, children in grandchildren.items():
        d1[1 + index], d2[1 + index] = len(pid), len(pid) + len(children) - 1
        pid += children
        d1 += [-1] * len(children)
        d2 += [-1] * len(children)
    # The neutrino goes elsewhere: only what is visible points to the jet.
    eta = np.where(np.abs(pid) == 16, 3.0, 0.1)
    padding = collection([2], 1.0, 0.0, 0.0, pid=1, d1=-1, d2=-1, charge=0)
    event = collection([len(pid)], 20.0, eta, 0.0, pid=pid, d1=d1, d2=d2, charge=-1)
    columns = {name: np.concatenate([padding[name], event[name]]) for name in event.columns}
    particles = Candidates(np.array([0, 2, 2 + len(pid)]), columns)
    jets = collection([1, 2], 50.0, [0.0, 0.0, 2.0], 0.0)
    store = store_of(
        jets=jets, particles=particles, partons=particles.select(np.abs(particles["pid"]) == 15)
    )
    TauTagging(module(tmp_path, TAU)).run(store)
    assert jets["tau_flavor"].tolist() == [0, found, 0]
    assert jets["tau_tag"].tolist() == [0, int(found == 15), 0]
    assert jets["tau_weight"].tolist() == [0.0, float(found == 15), 0.0]
    assert set(np.abs(jets["charge"])) == {1}
    if found:
        assert jets["charge"][1] == -1


@pytest.mark.parametrize(("d1", "d2"), [(-1, -1), (5, 2), (0, 99), (99, 100), (-3, 2)])
def test_taus_with_broken_daughters_are_no_taus(tmp_path, d1, d2):
    particles = collection([3], 20.0, 0.0, 0.0, pid=[15, 211, -16], d1=d1, d2=d2, charge=1)
    jets = collection([1], 50.0, 0.0, 0.0)
    store = store_of(
        jets=jets, particles=particles, partons=particles.select(particles["pid"] == 15)
    )
    TauTagging(module(tmp_path, TAU)).run(store)
    assert jets["tau_flavor"].tolist() == [0]


@pytest.mark.parametrize("formulas", ["0", "b 0.5", "5 {pt +}"])
def test_efficiencies_that_are_none_are_named(tmp_path, formulas):
    with pytest.raises(UserError, match=r"card\.tcl:3: 'EfficiencyFormula'"):
        BTagging(module(tmp_path, f"BTagging add EfficiencyFormula {formulas}"))


# --- overlaps


def unique(tmp_path, store, *names, extra=""):
    pairs = " ".join(f"In/{name} {name}" for name in names)
    UniqueObjectFinder(module(tmp_path, f"UniqueObjectFinder add InputArray {pairs}\n{extra}")).run(
        store
    )
    return [store.arrays[f"M/{name}"] for name in names]


def towers_and_tracks():
    """Return two towers, the particles in them, and tracks; two events.

    The first tower holds a photon and an electron, the second another photon. The electron and a
    pion have tracks; the tracks of the second event have nothing to do with the first.
    """
    particles = collection([4, 1], 25.0, [0.0, 0.0, 1.0, 2.0, 0.0], 0.0, pid=[22, 11, 22, 211, 11])
    towers = collection([2, 0], [50.0, 25.0], [0.01, 1.01], 0.01, charge=0)
    towers.parts = particles.at(np.array([0, 1, 2])), np.array([0, 0, 1])
    tracks = particles.clone(np.array([1, 3, 4]), charge=np.array([-1, 1, -1]))
    return towers, tracks


def test_a_tower_overlaps_with_everything_that_has_contributed_to_it(tmp_path):
    towers, tracks = towers_and_tracks()
    # What is left of a tower's energy beyond its tracks is a clone of the tower.
    photons = towers.clone(np.arange(2), e=towers["e"] / 2)
    store = store_of(photons=photons, tracks=tracks, towers=towers)
    kept = unique(tmp_path, store, "photons", "tracks")
    assert [part.counts.tolist() for part in kept] == [[2, 0], [1, 1]]
    assert kept[1]["pid"].tolist() == [211, 11]
    kept = unique(tmp_path, store, "tracks", "photons")
    assert [part.counts.tolist() for part in kept] == [[2, 1], [1, 0]]
    assert kept[1]["eta"].tolist() == pytest.approx([1.01])
    kept = unique(tmp_path, store, "photons", "tracks", extra="set UseUniqueID true")
    assert [len(part) for part in kept] == [2, 3]
    kept = unique(tmp_path, store, "towers", "photons")
    assert [len(part) for part in kept] == [2, 0]


def test_what_is_dropped_drops_nothing_else(tmp_path):
    towers, tracks = towers_and_tracks()
    electron = tracks.select(np.array([True, False, False]))
    store = store_of(electron=electron, towers=towers, tracks=tracks)
    # The tower goes because of the electron: the photon in it could not exclude the pion anyway,
    # and the electron's track only overlaps with the electron itself.
    kept = unique(tmp_path, store, "electron", "towers", "tracks")
    assert [len(part) for part in kept] == [1, 1, 2]


def test_jets_overlap_by_what_is_in_their_towers(tmp_path):
    towers, tracks = towers_and_tracks()
    store = stored(merge([towers, tracks]))
    body = "FastJetFinder set InputArray Input/particles; set ParameterR 0.4; set JetPTMin 5"
    FastJetFinder(module(tmp_path, body)).run(store)
    jets = store.arrays["M/jets"]
    assert jets.counts.tolist() == [3, 1]
    # The first jet goes: the electron is in it, and in the tower that is in it.
    electron = tracks.select(np.array([True, False, False]))
    store.arrays |= {"In/electron": electron, "In/jets": jets, "In/towers": towers}
    kept = unique(tmp_path, store, "electron", "jets")[1]
    assert sorted(kept["eta"]) == pytest.approx([0.0, 1.01, 2.0])
    kept = unique(tmp_path, store, "jets", "towers")
    assert [len(part) for part in kept] == [4, 0]


def test_towers_of_the_calorimeter_hold_its_particles(tmp_path):
    bins = "add EtaPhiBins {-2 -1 0 1 2} {-3.2 -1.6 0 1.6 3.2}"
    inputs = "set ParticleInputArray Fly/stableParticles; set TrackInputArray Fly/electrons"
    fractions = "add EnergyFraction 0 0.0; add EnergyFraction 11 1.0; add EnergyFraction 22 1.0"
    card = write_card(
        tmp_path,
        ("ParticlePropagator", "Fly", "set Bz 0.0"),
        ("SimpleCalorimeter", "ECal", f"{inputs}\n{bins}\n{fractions}\nset IsEcal true"),
        ("UniqueObjectFinder", "Unique", "add InputArray Fly/electrons e ECal/towers towers"),
    )
    # Photon and electron share a tower, a pion leaves nothing in it; another event the like.
    record = make_record(
        [4, 1], [22, 11, 211, 22, 22], 30.0, [0.5, 0.6, 0.5, -0.5, 0.5], [1.0, 1.1, 1.0, 1.0, 1.0]
    )
    arrays = run_modules(card, record)
    towers = arrays["ECal/towers"]
    parts = parts_of(towers)
    assert parts.owner.tolist() == [0, 1, 1, 2]
    assert parts.candidates["pid"].tolist() == [22, 22, 11, 22]
    assert np.bincount(parts.owner, parts.candidates["e"]) == pytest.approx(towers["e"])
    left = arrays["Unique/towers"]
    assert left.counts.tolist() == [1, 1]
    assert left["edge_eta_min"].tolist() == [-1, 0]


def test_constituents_of_hard_jets_are_kept(tmp_path):
    soft, hard = collection([1], 10.0, 2.0, 0.0), collection([2], 50.0, [0.0, 0.1], 0.0)
    candidates = merge([soft, hard])
    store = stored(candidates)
    body = "FastJetFinder set InputArray Input/particles; set ParameterR 0.4; set JetPTMin 5"
    FastJetFinder(module(tmp_path, body)).run(store)
    store.arrays["In/jets"] = store.arrays["M/jets"]
    ConstituentFilter(
        module(
            tmp_path,
            "ConstituentFilter set JetInputArray In/jets; set JetPTMin 20\n"
            "add ConstituentInputArray Input/particles kept",
        )
    ).run(store)
    assert store.arrays["M/kept"]["eta"].tolist() == pytest.approx([0.0, 0.1])


# --- identified photons


def test_photons_are_prompt_non_prompt_or_fake(tmp_path):
    photons = collection(
        [5, 1], [20.0, 20.0, 20.0, 20.0, 4.0, 20.0], [0.0, 0.5, 1.0, 1.5, 2.0, 0.0], 0.0,
        isolation_var=[0.1, 0.5, 0.1, 0.1, 0.1, 0.1], pid=22,
    )  # fmt: skip
    # Of the photons: near, near, too hard, an electron, near the soft one; of the second event.
    generated = collection(
        [5, 1], [22.0, 18.0, 31.0, 20.0, 4.0, 20.0], [0.05, 0.5, 1.0, 1.5, 2.0, 0.2], 0.0,
        pid=[22, 22, 22, 11, 22, 22], status=1,
    )  # fmt: skip
    body = "set InputPhotonArray In/photons; set InputGenArray In/generated; set OutputArray out"

    def identify(prompt, non_prompt, fake):
        store = store_of(photons=photons, generated=generated)
        formulas = f"set PromptFormula {prompt}; set NonPromptFormula {non_prompt}"
        text = f"PhotonID {body}; {formulas}; set FakeFormula {fake}; set PTMin 5"
        PhotonID(module(tmp_path, text)).run(store)
        found = store.arrays["M/out"]
        return found["eta"].tolist(), found["status"].tolist()

    assert identify(1, 1, 1) == ([0.0, 0.5, 1.0, 1.5, 0.0], [1, 2, 3, 3, 3])
    assert identify(1, 0, 0) == ([0.0], [1])
    assert identify(0, 1, 0) == ([0.5], [2])
    assert identify(0, 0, 1) == ([1.0, 1.5, 0.0], [3, 3, 3])
