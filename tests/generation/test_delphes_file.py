"""Event files: named as Delphes names them, read back as they were, damage noticed."""

import random
from dataclasses import fields

import awkward as ak
import numpy as np
import pytest
import uproot

from generation.delphes_file import (
    EVENTS_PER_BASKET,
    RECORD_LEAVES,
    read_generator_records,
    read_weights,
    write_delphes_file,
)
from generation.fastsim.branches import Branch
from provenance.errors import UserError


def make_branches(n_events, seed=0):
    """Return branches of random content, some of whose events are empty."""
    rng = np.random.default_rng(seed)

    def branch(delphes_class, counts, **kinds):
        offsets = np.concatenate(([0], np.cumsum(counts)))
        n = offsets[-1]
        columns = {
            leaf: rng.integers(-99, 99, (n, *shape)).astype(kind)
            for leaf, (kind, *shape) in kinds.items()
        }
        return Branch(delphes_class, offsets, columns)

    return {
        "Event": branch("HepMCEvent", np.ones(n_events, int), Number=("i8",), X1=("f4",)),
        "Particle": branch(
            "GenParticle", rng.integers(0, 5, n_events), PID=("i4",), PT=("f4",), Status=("i4",)
        ),
        "Jet": branch("Jet", rng.integers(0, 3, n_events), **{"PT": ("f4",), "Tau[5]": ("f4", 5)}),
        "Nothing": branch("Jet", np.zeros(n_events, int), PT=("f4",), BTag=("u4",), Y=("f8",)),
    }


def leaves(path):
    with uproot.open(path) as file:
        tree = file["Delphes"]
        return {branch.name: branch.array() for branch in tree.branches}


def test_names_and_types_are_those_of_delphes(tmp_path, reference):
    path = tmp_path / "events.root"
    write_delphes_file(path, [make_branches(4)])
    with uproot.open(path) as file, uproot.open(reference("delphes/res2p_1.root")) as real:
        ours, theirs = file["Delphes"], real["Delphes"]
        for name in ("Particle.PID", "Particle.PT", "Particle_size", "Event.Number", "Event.X1"):
            assert ours[name].typename == theirs[name].typename


def test_content_is_what_was_written(tmp_path):
    path = tmp_path / "events.root"
    batches = [make_branches(n, seed) for seed, n in enumerate((7, 1, EVENTS_PER_BASKET, 40))]
    events = sum(len(batch["Event"].offsets) - 1 for batch in batches)
    assert write_delphes_file(path, iter(batches)) == events
    found = leaves(path)
    for name, branch in batches[0].items():
        sizes = np.concatenate([np.diff(batch[name].offsets) for batch in batches])
        assert found[f"{name}_size"].to_list() == sizes.tolist()
        for leaf in branch.columns:
            values = np.concatenate([batch[name].columns[leaf] for batch in batches])
            array = found[f"{name}.{leaf.removesuffix('[5]')}"]
            assert ak.num(array).to_list() == sizes.tolist()
            assert np.array_equal(ak.to_numpy(ak.flatten(array)), values), (name, leaf)


def test_batching_does_not_show(tmp_path):
    whole, parts = tmp_path / "whole.root", tmp_path / "parts.root"
    batches = [make_branches(30, seed) for seed in range(10)]
    write_delphes_file(whole, batches)
    write_delphes_file(parts, iter(batches))
    first, second = leaves(whole), leaves(parts)
    assert first.keys() == second.keys()
    assert all(ak.array_equal(first[name], second[name]) for name in first)


def test_many_baskets(tmp_path):
    path = tmp_path / "events.root"
    batches = (make_branches(EVENTS_PER_BASKET, seed) for seed in range(25))
    assert write_delphes_file(path, batches) == 25 * EVENTS_PER_BASKET
    numbers = [make_branches(EVENTS_PER_BASKET, s)["Event"].columns["Number"] for s in range(25)]
    found = leaves(path)["Event.Number"]
    assert np.array_equal(ak.to_numpy(ak.flatten(found)), np.concatenate(numbers))


def test_every_basket_is_checksummed(tmp_path):
    path = tmp_path / "events.root"
    write_delphes_file(path, [make_branches(200)])
    with uproot.open(path) as file:
        assert file.file.compression.name == "ZLIB"


@pytest.mark.parametrize("name", ["res34p_1", "qcd_3"])
def test_record_of_a_real_file(reference, name):
    path = reference(f"delphes/{name}.root")
    assert len(read_weights(path)) == 120
    records = list(read_generator_records(path, 50))
    assert [record.n_events for record in records] == [50, 50, 20]
    record = records[0]
    first = record.offsets[:-1]
    assert np.all(record.pid[first] == 2212)
    assert np.all(record.status[first] == 4)
    event = np.repeat(np.arange(50), np.diff(record.offsets))
    stable = record.status == 1
    assert np.allclose(np.bincount(event[stable], record.e[stable]), 13000, rtol=1e-3)
    mass2 = record.e**2 - record.px**2 - record.py**2 - record.pz**2
    assert mass2[stable] == pytest.approx(record.mass[stable].astype(float) ** 2, abs=1e-6)
    mother = record.m1[stable]
    assert np.all((mother >= 0) & (mother < np.diff(record.offsets)[event[stable]]))


def test_stable_particles_come_back_to_the_generators_vertex(reference):
    # In the file they lie at the vertex that PileUpMerger drew, centimetres away; their mothers,
    # which it does not touch, are where the generator made them.
    record = next(read_generator_records(reference("delphes/qcd_3.root"), 120))
    start = np.repeat(record.offsets[:-1], np.diff(record.offsets))
    prompt = (record.status == 1) & (np.hypot(record.x, record.y) == 0)
    assert prompt.sum() > 20_000
    assert np.abs(record.z[prompt]).max() < 1e-4
    assert np.abs(record.t[prompt]).max() < 1e-3
    displaced = (record.status == 1) & (np.hypot(record.x, record.y) > 1)
    mother = (start + record.m1)[displaced]
    x, y = record.x[displaced] - record.x[mother], record.y[displaced] - record.y[mother]
    along = record.pz[mother] / np.hypot(record.px[mother], record.py[mother]) * np.hypot(x, y)
    expected = record.z[mother] + along
    assert np.median(np.abs(record.z[displaced] - expected)) < 1e-2


def test_hard_vertex_need_not_be_the_first(tmp_path, reference):
    """Delphes sorts vertices by Σ pT², by which those of soft collisions come late."""
    expected = next(read_generator_records(reference("delphes/qcd_3.root"), 10))
    path = tmp_path / "sorted.root"
    with uproot.open(reference("delphes/qcd_3.root")) as real, uproot.recreate(path) as file:
        names = [*RECORD_LEAVES, "Vertex.Z", "Vertex.T", "Vertex.Index"]
        names = [name if "." in name else f"Particle.{name}" for name in names]
        arrays = {name: real["Delphes"][name].array(entry_stop=10) for name in names}
        arrays |= {name: arrays[name][:, ::-1] for name in names if name.startswith("Vertex")}
        file.mktree("Delphes", {k: f"var * {v.type.content.content}" for k, v in arrays.items()})
        file["Delphes"].extend(arrays)
    record = next(read_generator_records(path, 10))
    for name in ("z", "t"):
        assert np.array_equal(getattr(record, name), getattr(expected, name))


def test_missing_file():
    with pytest.raises(UserError, match=r"^nowhere\.root: no such file"):
        next(read_generator_records("nowhere.root", 10))
    with pytest.raises(UserError, match=r"^nowhere\.root: no such file"):
        read_weights("nowhere.root")


def test_file_without_the_tree(tmp_path):
    path = tmp_path / "other.root"
    with uproot.recreate(path) as file:
        file.mktree("Events", {"x": np.float32}).extend({"x": np.zeros(3, np.float32)})
    with pytest.raises(UserError, match=r"other\.root: holds no tree named Delphes"):
        next(read_generator_records(path, 10))
    with pytest.raises(UserError, match=r"other\.root: holds no tree named Delphes"):
        read_weights(path)


def test_missing_branch_is_named(tmp_path):
    path = tmp_path / "events.root"
    write_delphes_file(path, [make_branches(3)])
    with pytest.raises(UserError, match=r"the tree Delphes has no branch Particle\.M1"):
        next(read_generator_records(path, 10))


@pytest.mark.parametrize("content", [b"", b"root", b"hello world" * 100])
def test_file_that_is_not_root(tmp_path, content):
    path = tmp_path / "events.root"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"events.root: not a whole ROOT file"):
        next(read_generator_records(path, 10))


def test_damaged_files_end_in_a_sentence_or_are_unharmed(tmp_path, reference):
    content = reference("published/events_delphes_higgs2p_example.root").read_bytes()
    whole = tmp_path / "whole.root"
    whole.write_bytes(content)
    expected = next(read_generator_records(whole, 100))
    rng = random.Random(5)
    outcomes = {"named": 0, "unharmed": 0}
    for number in range(30):
        damaged = bytearray(content)
        if number % 3 == 0:
            damaged = damaged[: int(rng.random() * len(damaged))]
        else:
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        path = tmp_path / "damaged.root"
        path.write_bytes(damaged)
        try:
            record = next(read_generator_records(path, 100))
        except UserError as error:
            outcomes["named"] += str(error).startswith(f"{path}: not a whole ROOT file")
        else:
            for field in fields(record):
                assert np.array_equal(getattr(record, field.name), getattr(expected, field.name))
            outcomes["unharmed"] += 1
    assert sum(outcomes.values()) == 30
    assert outcomes["named"] >= 10
