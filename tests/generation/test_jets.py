"""Jets and their substructure against real Delphes, FastJet, and degenerate events."""

import math
from pathlib import Path

import awkward as ak
import fastjet
import numpy as np
import pytest
import uproot
from random_jets import random_jet

from generation.fastsim.branches import make_branch
from generation.fastsim.candidates import Candidates
from generation.fastsim.card import read_card
from generation.fastsim.composition import parts_of
from generation.fastsim.module import EventStore
from generation.fastsim.modules import fast_jet_finder
from generation.fastsim.modules.energy_scale import EnergyScale
from generation.fastsim.modules.fast_jet_finder import FastJetFinder
from provenance.errors import UserError

CARD = Path(__file__).parents[2] / "delphes_cards" / "jetclass2_fatjet.tcl"
FINDERS = {"JetPUPPIAK8": "FastJetFinderPUPPIAK8", "JetPUPPIAK15": "FastJetFinderPUPPIAK15"}
SPEED_OF_LIGHT = 2.99792458e11  # mm/s


def stored(candidates, name="Input/particles"):
    return EventStore({name: candidates}, np.random.default_rng(1), None)


def module(tmp_path, text):
    """Return the configuration of module `M` of a card made of one module body."""
    kind, body = text.split(" ", 1)
    path = tmp_path / "card.tcl"
    path.write_text(f"set ExecutionPath M\nmodule {kind} M {{\n{body}\n}}\n")
    return read_card(path).modules["M"]


def real_candidates(path):
    """Return the PUPPI candidates of a real Delphes file, as Delphes gave them to its jets."""
    tree = uproot.open(path)["Delphes"]
    leaves = ("PT", "Eta", "Phi", "Mass", "Charge", "TOuter", "Eem", "Ehad")
    arrays = {leaf: tree[f"ParticleFlowCandidate.{leaf}"].array() for leaf in leaves}
    offsets = np.concatenate(([0], np.cumsum(ak.to_numpy(ak.num(arrays["PT"]))))).astype(np.int64)
    flat = {leaf: ak.to_numpy(ak.flatten(array)).astype(float) for leaf, array in arrays.items()}
    eta = np.clip(flat["Eta"], -20, 20)  # along the beam, without pT
    px, py = flat["PT"] * np.cos(flat["Phi"]), flat["PT"] * np.sin(flat["Phi"])
    pz = flat["PT"] * np.sinh(eta)
    columns = {
        "px": px,
        "py": py,
        "pz": pz,
        "e": np.sqrt(px**2 + py**2 + pz**2 + flat["Mass"] ** 2),
        "charge": flat["Charge"].astype(int),
        "t": flat["TOuter"] * SPEED_OF_LIGHT,
        "e_em": flat["Eem"],
        "e_had": flat["Ehad"],
    }
    return Candidates(offsets, columns), tree


@pytest.mark.parametrize("file", ["qcd_3.root", "res34p_1.root"])
def test_jets_of_real_candidates_equal_delphes(reference, file):
    """Every leaf of the jets that real Delphes has found, from the candidates in its file."""
    card = read_card(CARD)
    candidates, tree = real_candidates(reference(f"delphes/{file}"))
    for branch_name, name in FINDERS.items():
        store = stored(candidates, "RunPUPPI/PuppiParticles")
        FastJetFinder(card.modules[name]).run(store)
        scale = name.replace("FastJetFinder", "JetEnergyScale")
        EnergyScale(card.modules[scale]).run(store)
        jets = store.arrays[f"{scale}/jets"]
        branch = make_branch("Jet", jets)
        sizes = ak.to_numpy(tree[f"{branch_name}_size"].array())
        assert np.array_equal(np.diff(branch.offsets), sizes)
        for leaf in tree[branch_name].branches:
            key = leaf.name.removeprefix(f"{branch_name}.")
            ours = branch.columns.get(key, branch.columns.get(key.partition("[")[0]))
            if ours is None or key.startswith("f"):
                continue
            theirs = np.asarray(ak.flatten(leaf.array())).astype(float)
            if key.startswith("Tau["):
                # A track that the HCAL has scaled to nothing is as far, in kT, from everything:
                # which axis it starts in depends on the order of the constituents.
                parts = parts_of(jets)
                nothing = np.bincount(parts.owner, parts.candidates["pt"] == 0) > 0
                off = (np.abs(ours - theirs) > 1e-3 * np.maximum(theirs, 1e-3)).any(axis=1)
                assert not off[~nothing].any()
                assert off[nothing].mean() < 0.05
            else:
                np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=1e-5, err_msg=key)


@pytest.mark.parametrize("branch", FINDERS)
def test_groomed_momenta_equal_delphes(reference, branch):
    card = read_card(CARD)
    candidates, tree = real_candidates(reference("delphes/res34p_1.root"))
    store = stored(candidates, "RunPUPPI/PuppiParticles")
    FastJetFinder(card.modules[FINDERS[branch]]).run(store)
    jets = store.arrays[f"{FINDERS[branch]}/jets"]
    for leaf, column in (
        ("SoftDroppedP4[5]", "soft_dropped_p4"),
        ("PrunedP4[5]", "pruned_p4"),
        ("TrimmedP4[5]", "trimmed_p4"),
    ):
        values = ak.flatten(tree[f"{branch}.{leaf}"].array())
        axes = (values.fP.fX, values.fP.fY, values.fP.fZ, values.fE)
        theirs = np.stack([np.asarray(axis) for axis in axes], axis=-1)
        scale = np.maximum(theirs[:, :1, 3:], 1.0)
        assert np.abs((jets[column] - theirs) / scale).max() < 1e-5


# --- events that are no events


FINDER = """FastJetFinder set InputArray Input/particles
    set JetPTMin 1.0; set ParameterR 0.8; set ComputeSoftDrop 1; set ComputeTrimming 1
    set ComputePruning 1; set ComputeNsubjettiness 1; set AxisMode 4"""


def momenta(*rows):
    columns = dict(zip(("px", "py", "pz", "e"), np.array(rows, dtype=float).T, strict=True))
    return columns | {"charge": np.zeros(len(rows))}


@pytest.fixture(params=["ordinary", "large"])
def any_size(request, monkeypatch):
    """Cluster as small events and as large ones are."""
    if request.param == "large":
        monkeypatch.setattr(fast_jet_finder, "LARGE", 0)


@pytest.mark.usefixtures("any_size")
def test_degenerate_events_give_jets_without_nan(tmp_path):
    columns = momenta(
        (0, 0, 0, 0),  # no momentum
        (0, 0, 1e5, 1e5),  # along the beam
        (0, 0, -1e5, 1e5),
        (np.nan, 1, 1, 1),  # what a broken module might hand over
        (np.inf, 1, 1, 1),
        (50, 0, 10, 52),
        (50, 0, 10, 52),  # the same twice
        (10, 0, 0, 5),  # space-like
    )
    offsets = np.array([0, 0, 8, 8])
    finder = FastJetFinder(module(tmp_path, FINDER))
    store = stored(Candidates(offsets, columns))
    finder.run(store)
    jets = store.arrays["M/jets"]
    assert np.diff(jets.offsets).tolist() == [0, 1, 0]
    for name in ("px", "e", "t", "delta_eta", "tau", "soft_dropped_p4", "trimmed_p4", "pruned_p4"):
        assert np.isfinite(jets[name]).all(), name


def test_no_events_at_all(tmp_path):
    finder = FastJetFinder(module(tmp_path, FINDER))
    store = stored(
        Candidates(np.array([0]), {name: np.empty(0) for name in ("px", "py", "pz", "e")})
    )
    finder.run(store)
    assert len(store.arrays["M/jets"]) == 0


def test_large_events_give_the_same_jets(tmp_path, monkeypatch):
    rng = np.random.default_rng(3)
    columns = momenta(*np.concatenate([random_jet(rng, 300), random_jet(rng, 300, 2.0)]))
    store = stored(Candidates(np.array([0, 400, 600]), columns))
    jets = []
    for large in (1000, 100):
        monkeypatch.setattr(fast_jet_finder, "LARGE", large)
        FastJetFinder(module(tmp_path, FINDER)).run(store)
        jets.append(store.arrays["M/jets"])
    np.testing.assert_array_equal(jets[0].offsets, jets[1].offsets)
    for name in ("px", "py", "pz", "e", "tau", "n_neutrals"):
        np.testing.assert_allclose(jets[0][name], jets[1][name], rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("any_size")
def test_constituents_are_those_of_the_jets(tmp_path):
    rng = np.random.default_rng(9)
    events = [np.concatenate([random_jet(rng, 20), random_jet(rng, 15, 2.0)]) for _ in range(3)]
    columns = momenta(*np.concatenate(events)) | {"charge": rng.integers(-1, 2, 105)}
    finder = FastJetFinder(module(tmp_path, FINDER))
    store = stored(Candidates(np.array([0, 35, 70, 105]), columns))
    finder.run(store)
    jets = store.arrays["M/jets"]
    parts = parts_of(jets)
    for name in ("px", "py", "pz", "e", "charge"):
        total = np.bincount(parts.owner, parts.candidates[name])
        np.testing.assert_allclose(total, jets[name], rtol=1e-9, atol=1e-9)
    assert np.array_equal(jets["n_charged"] + jets["n_neutrals"], np.bincount(parts.owner))
    for first, last in zip(jets.offsets[:-1], jets.offsets[1:], strict=True):
        assert np.all(np.diff(jets["pt"][first:last]) <= 0)
    fraction = jets["charged_energy_fraction"] + jets["neutral_energy_fraction"]
    np.testing.assert_allclose(fraction, 1.0)


def test_energy_scale(tmp_path):
    store = stored(Candidates(np.array([0, 2]), momenta((10, 0, 0, 10), (100, 0, 0, 100))))
    scale = "EnergyScale set InputArray Input/particles; set ScaleFormula {(pt > 50)*0.5}"
    EnergyScale(module(tmp_path, scale)).run(store)
    # A scale of zero leaves the jet as it is.
    assert store.arrays["M/jets"]["e"].tolist() == [10.0, 50.0]


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ("set JetAlgorithm 3", "JetAlgorithm"),
        ("set JetAlgorithm 5; set ExclusiveClustering true", "ExclusiveClustering"),
        ("set ComputeNsubjettiness 1; set AxisMode 1", "AxisMode"),
        ("set ParameterR wide", "ParameterR"),
    ],
)
def test_what_is_not_implemented_is_named(tmp_path, body, word):
    with pytest.raises(UserError, match=rf"card\.tcl:3: '{word}'"):
        FastJetFinder(module(tmp_path, f"FastJetFinder {body}"))


# --- areas

AREA_FINDER = """FastJetFinder set InputArray Input/particles; set ParameterR 0.5
    set JetPTMin 20; set GhostEtaMax 6"""


def soft_background(rng, n, density=8.0):
    """Return particles spread evenly in rapidity and azimuth to |y| = 5, `density` GeV per area."""
    pt = rng.exponential(density * 20 * np.pi / n, n)
    eta, phi = rng.uniform(-5, 5, n), rng.uniform(-np.pi, np.pi, n)
    return np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)], 1)


def jets_in_background(rng, n=1500):
    hard = momenta((60, 0, 0, 60), (-50, 0, 20, 53.9))
    soft = soft_background(rng, n)
    return {k: np.concatenate([hard[k], soft[:, i]]) for i, k in enumerate(("px", "py", "pz", "e"))}


# The cells of Voronoi areas are as coarse as the particles are sparse.
@pytest.mark.parametrize(("algorithm", "precision"), [(1, 0.05), (3, 0.05), (5, 0.05), (4, 0.1)])
def test_areas_of_hard_jets_are_circles(tmp_path, algorithm, precision):
    store = stored(Candidates(np.array([0, 0, 1502]), jets_in_background(np.random.default_rng(2))))
    FastJetFinder(module(tmp_path, f"{AREA_FINDER}; set AreaAlgorithm {algorithm}")).run(store)
    jets = store.arrays["M/jets"]
    plain = stored(store.arrays["Input/particles"])
    FastJetFinder(module(tmp_path, AREA_FINDER)).run(plain)
    for name in ("px", "py", "pz", "e", "n_neutrals"):
        assert np.array_equal(jets[name], plain.arrays["M/jets"][name])
    assert jets.counts.tolist() == [0, len(jets)]
    area = np.hypot(jets["area_px"], jets["area_py"])
    # arXiv:0802.1188: the hardest anti-kT jets are circles, of area πR²; the vector's pT is that
    # less what the width of the jet takes away, 1 - R²/8 in lowest order.
    assert area[:2] == pytest.approx(math.pi * 0.25 * (1 - 0.25 / 8), rel=precision)
    # The area points along the jet.
    along = jets["area_px"] * jets["px"] + jets["area_py"] * jets["py"]
    assert np.all(along > 0.97 * area * jets["pt"])


def test_areas_are_fastjet_s(tmp_path):
    columns = jets_in_background(np.random.default_rng(5), 400)
    store = stored(Candidates(np.array([0, 402]), columns))
    FastJetFinder(module(tmp_path, f"{AREA_FINDER}; set AreaAlgorithm 4")).run(store)
    jets = store.arrays["M/jets"]
    particles = [fastjet.PseudoJet(*p) for p in np.stack(list(columns.values()), 1).tolist()]
    sequence = fastjet.ClusterSequenceArea(
        fastjet.vectorPJ(particles),
        fastjet.JetDefinition(fastjet.antikt_algorithm, 0.5),
        fastjet.AreaDefinition(fastjet.VoronoiAreaSpec(1.0)),
    )
    expected = fastjet.sorted_by_pt(sequence.inclusive_jets(20.0))
    areas = [jet.area_4vector() for jet in expected]
    assert jets["area_e"].tolist() == [area.e() for area in areas]
    assert jets["area_pz"].tolist() == [area.pz() for area in areas]


def test_the_area_of_an_event_does_not_depend_on_those_before(tmp_path):
    event = jets_in_background(np.random.default_rng(3), 200)
    twice = {name: np.tile(values, 2) for name, values in event.items()}
    finder = FastJetFinder(module(tmp_path, f"{AREA_FINDER}; set AreaAlgorithm 5"))
    areas = []
    for columns, offsets in ((event, [0, 202]), (twice, [0, 202, 404]), (event, [0, 202])):
        store = stored(Candidates(np.array(offsets), columns))
        finder.run(store)
        areas.append(store.arrays["M/jets"]["area_e"].tolist())
    assert areas[0] == areas[2]
    assert areas[1] == areas[0] * 2


@pytest.mark.parametrize("algorithm", [1, 5])
def test_the_density_is_that_of_the_background(tmp_path, algorithm):
    rng = np.random.default_rng(4)
    soft = np.concatenate([soft_background(rng, 3000, density) for density in (6.0, 12.0)])
    columns = dict(zip(("px", "py", "pz", "e"), soft.T.copy(), strict=True))
    store = stored(Candidates(np.array([0, 3000, 3000, 6000]), columns))
    body = "set InputArray Input/particles; set JetAlgorithm 4; set ParameterR 0.6"
    rho = "set ComputeRho true; add RhoEtaRange -4 0; add RhoEtaRange 0 4"
    FastJetFinder(
        module(tmp_path, f"FastJetFinder {body}\n{rho}\nset AreaAlgorithm {algorithm}")
    ).run(store)
    found = store.arrays["M/rho"]
    assert found.counts.tolist() == [2, 2, 2]
    assert found["edge_eta_min"].tolist() == [-4, 0] * 3
    assert found["pt"].tolist() == pytest.approx([6, 6, 0, 0, 12, 12], rel=0.15, abs=1e-9)
    assert found["pt"].tolist() == found["e"].tolist()


def test_areas_and_density_are_only_for_cards_that_ask_for_them(tmp_path):
    store = stored(Candidates(np.array([0, 2]), momenta((60, 0, 0, 60), (-50, 0, 20, 53.9))))
    rho = "set ComputeRho true; add RhoEtaRange 0 4"
    FastJetFinder(module(tmp_path, f"{AREA_FINDER}; {rho}")).run(store)
    jets = store.arrays["M/jets"]
    assert len(jets) == 2
    assert not jets["area_e"].any()
    # As in Delphes, there is no density without areas.
    assert store.arrays["M/rho"].counts.tolist() == [0]
    assert not any(leaf.startswith("Area") for leaf in make_branch("Jet", jets).columns)
    FastJetFinder(module(tmp_path, f"{AREA_FINDER}; set AreaAlgorithm 5")).run(store)
    branch = make_branch("Jet", store.arrays["M/jets"].clone(np.arange(2), pt=np.ones(2)))
    assert branch.columns["Area.fE"].min() > 0.5


@pytest.mark.parametrize("values", ["0", "low high", "2 1"])
def test_a_range_that_is_none_is_named(tmp_path, values):
    with pytest.raises(UserError, match="'RhoEtaRange'"):
        FastJetFinder(module(tmp_path, f"{AREA_FINDER}; add RhoEtaRange {values}"))
