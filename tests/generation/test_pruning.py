"""Only what the wanted branches need is run, and they are the same to the last bit."""

import inspect
import json
from itertools import pairwise

import numpy as np
import pytest
from detector_events import CARDS, FAT_JETS, minimum_bias, random_record, write_card

from generation.fastsim import branches as branches_module
from generation.fastsim.branches import LEAVES, columns_of
from generation.fastsim.candidates import Candidates
from generation.fastsim.card import branch_names, read_card
from generation.fastsim.engine import Detector
from generation.fastsim.module import Module
from generation.fastsim.modules import MODULE_FILES
from generation.simulate import Simulator, resimulate, simulate
from provenance.errors import UserError

EVENT_CARD = CARDS / "jetclass2_event.tcl"
KEY = 7


@pytest.fixture(scope="module")
def library():
    return minimum_bias(np.random.default_rng(1))


@pytest.fixture(scope="module")
def record():
    return random_record(np.random.default_rng(2), [150] * 2, jet=True)


def names(detector):
    return {module.config.name for module in detector.modules}


def equal(first, second):
    return (
        first.delphes_class == second.delphes_class
        and np.array_equal(first.offsets, second.offsets)
        and first.columns.keys() == second.columns.keys()
        and all(
            values.dtype == second.columns[leaf].dtype
            and values.tobytes() == second.columns[leaf].tobytes()
            for leaf, values in first.columns.items()
        )
    )


@pytest.mark.parametrize("name", ["fatjet", "event", "full"])
def test_every_branch_alone_and_some_together_are_those_of_the_whole_card(name, library, record):
    card = read_card(CARDS / f"jetclass2_{name}.tcl")
    whole = Detector(card, library).simulate(record, KEY)
    known = branch_names(card)
    assert list(whole) == known
    for wanted in (*([name] for name in known), *map(list, pairwise(known[::2])), known, []):
        found = Detector(read_card(card.path), library, wanted).simulate(record, KEY)
        assert list(found) == [name for name in known if name in wanted]
        for branch in wanted:
            assert equal(found[branch], whole[branch]), (wanted, branch)


def test_jets_are_not_found_for_candidates(library):
    everything = names(Detector(read_card(FAT_JETS), library))
    wanted = ("Particle", "ParticleFlowCandidate", "Vertex")
    pruned = names(Detector(read_card(FAT_JETS), library, wanted))
    assert everything - pruned == {
        "RecoPuFilter", "EFlowMerger", "MissingET", "PuppiMissingET", "GenPileUpMissingET",
        "ScalarHT", "NeutrinoFilter", "GenMissingET", "GenJetFinderAK8", "GenJetFinderAK15",
        "FastJetFinderPUPPIAK8", "FastJetFinderPUPPIAK15",
        "JetEnergyScalePUPPIAK8", "JetEnergyScalePUPPIAK15",
    }  # fmt: skip


def test_particles_and_vertices_need_no_detector(library):
    # Pile-up moves the particles of the event to its vertex.
    pruned = names(Detector(read_card(FAT_JETS), library, ["Particle", "Vertex"]))
    assert pruned == {"PileUpMerger", "TreeWriter"}


def test_what_tags_jets_is_run_for_jets_alone(library):
    card = read_card(EVENT_CARD)
    jets = [name for name in branch_names(card) if name.startswith("JetPUPPI")]
    tagged = names(Detector(read_card(EVENT_CARD), library, jets))
    untagged = names(
        Detector(read_card(EVENT_CARD), library, ["ParticleFlowCandidate", "Electron"])
    )
    tagging = {
        name for name, config in card.modules.items() if config.type in ("BTagging", "TauTagging")
    }
    assert tagging & tagged
    assert not tagging & untagged


def test_marks_of_modules_are_those_that_they_declare(library, record, monkeypatch):
    seen = set()
    running: list[Module] = []
    mark = Candidates.mark

    def spied(candidates, column, values):
        seen.add((running[-1].config.name, column))
        mark(candidates, column, values)

    monkeypatch.setattr(Candidates, "mark", spied)
    for name in ("fatjet", "event", "full"):
        detector = Detector(read_card(CARDS / f"jetclass2_{name}.tcl"), library)
        store = detector.start(record, np.random.default_rng(1))
        declared = set()
        for module in detector.modules:
            running.append(module)
            module.run(store)
            declared |= {(module.config.name, c) for own in module.marks.values() for c in own}
        assert seen == declared
        seen.clear()


def test_every_module_that_marks_declares_it():
    for file in MODULE_FILES.values():
        library = __import__(f"generation.fastsim.modules.{file}", fromlist=["x"])
        source = inspect.getsource(library)
        assert (".mark(" in source) == ("self.marks = " in source), file


def test_columns_of_a_class_are_what_its_leaves_are_made_from():
    assert {"b_tag", "tau_flavor", "charge", "pt", "px"} <= columns_of("Jet")
    assert {"x", "y", "z", "t", "status"} <= columns_of("GenParticle")
    assert not {"b_tag", "isolation_var"} & columns_of("ParticleFlowCandidate")
    assert "edge_eta_min" in columns_of("Tower")
    for delphes_class in LEAVES:
        assert columns_of(delphes_class)
    assert columns_of("Vertex") >= {branches_module.SORTED_BY["Vertex"]}


def test_a_mark_on_what_jets_are_made_of_is_kept_for_who_looks_into_jets(tmp_path):
    # The mark is set after the jets are found, and read through their constituents.
    card = read_card(
        write_card(
            tmp_path,
            ("FastJetFinder", "Jets", "set InputArray Delphes/stableParticles"),
            ("Cloner", "Vertices", "set InputArray Delphes/allParticles\nset OutputArray all"),
            (
                "TrackPileUpSubtractor",
                "Marks",
                "add InputArray Delphes/stableParticles x\nset VertexInputArray Vertices/all",
            ),
            (
                "PileUpJetID",
                "Id",
                "set JetInputArray Jets/jets\nset UseConstituents 1\n"
                "set TrackInputArray Delphes/partons\nset NeutralInputArray Delphes/partons",
            ),
            ("TreeWriter", "Writer", "add Branch Id/jets Jet Jet"),
        )
    )
    assert [module.config.name for module in Detector(card, None, ["Jet"]).modules] == [
        "Jets", "Vertices", "Marks", "Id", "Writer",
    ]  # fmt: skip


def test_an_unknown_branch_is_named_with_the_known_ones(tmp_path, generator_card):
    output = tmp_path / "out" / "events.root"
    with pytest.raises(UserError, match="writes no branch 'Jet', but Particle, GenJet"):
        simulate("res2p", 2, 0, output, card=generator_card, branches=["Particle", "Jet"])
    assert not list(tmp_path.glob("out/*"))


def test_files_of_some_branches(tmp_path, generator_card):
    whole, some, again = (tmp_path / f"{name}.root" for name in ("whole", "some", "again"))
    simulate("res2p", 2, 0, whole, card=generator_card)
    simulate("res2p", 2, 0, some, card=generator_card, branches=["GenJetAK8"])
    resimulate(some.with_name("whole.root"), 0, again, card=generator_card, branches=["Event"])
    uproot = pytest.importorskip("uproot")
    with uproot.open(some) as file, uproot.open(whole) as other:
        tree, full = file["Delphes"], other["Delphes"]
        stems = {branch.name.partition(".")[0].removesuffix("_size") for branch in tree.branches}
        assert stems == {"Event", "Weight", "GenJetAK8"}
        for branch in tree.branches:
            assert branch.array().to_list() == full[branch.name].array().to_list()
    assert json.loads((tmp_path / "some.root.json").read_text())["branches"] == ["GenJetAK8"]
    assert json.loads((tmp_path / "whole.root.json").read_text())["branches"] is None
    with uproot.open(again) as file:
        assert "Particle.PT" not in file["Delphes"]


def test_a_branch_of_the_event_may_be_asked_for(generator_card):
    branches, _ = Simulator(generator_card, None, 0, 2, ["Event", "Particle"]).batch("res2p", 0, 2)
    assert list(branches) == ["Event", "Weight", "Particle"]
