"""Events from a file and from memory: who they are, and that they give the same rows."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from event_files import write_events

from generation.delphes_file import write_delphes_file
from generation.fastsim.branches import Branch
from generation.simulate import Simulator
from ntuplizer.batch import Collection
from ntuplizer.counts import Counts
from ntuplizer.products import get_product
from ntuplizer.sources import delphes, memory
from provenance.errors import UserError
from provenance.ledger import write_ledger

CARDS = Path(__file__).parents[2] / "delphes_cards"
Simulated = list[tuple[str, int, dict[str, Branch]]]


def simulate(card: str, pileup: Path, process: str, numbers: list[int], events: int) -> Simulated:
    simulator = Simulator(CARDS / card, pileup, seed=3, events_per_batch=events)
    return [(process, n, simulator.batch(process, n, events)[0]) for n in numbers]


@pytest.fixture(scope="module")
def fat_jets(pileup_library) -> Simulated:
    return simulate("jetclass2_fatjet.tcl", pileup_library, "res2p", [7, 2], 8)


@pytest.fixture(scope="module")
def top_pairs(pileup_library) -> Simulated:
    return simulate("jetclass2_event.tcl", pileup_library, "ttbar", [3, 4], 40)


@pytest.fixture(scope="module")
def flat(pileup_library) -> Simulated:
    return simulate("jetclass2_energy.tcl", pileup_library, "qcd_flat", [3, 4], 10)


def write(path: Path, simulated: Simulated) -> Path:
    """Write simulated batches as the generator does, with their ledger."""
    write_delphes_file(path, (branches for _, _, branches in simulated))
    batches = [
        {"process": process, "batch": number, "events": len(branches["Event"].offsets) - 1}
        for process, number, branches in simulated
    ]
    write_ledger(path, 0.0, batches=batches)
    return path


def rows_of(simulated: Simulated | Path, name: str, values: dict) -> tuple[pa.Table, Counts]:
    """Return the rows of simulated batches, or of the file that they were written to."""
    product, counts = get_product(name), Counts()
    options = product.read_options(values)
    source = delphes.batches if isinstance(simulated, Path) else memory.batches
    events = source(simulated, product.branches(options), product.optional_branches(options))
    tables = list(product.tables(events, options, counts))
    return pa.concat_tables(tables).combine_chunks(), counts


def bits(table: pa.Table) -> list[bytes]:
    """Return all buffers of a table: equal ones are equal bit for bit, the sign of 0 included."""
    return [
        buffer.to_pybytes()
        for column in table.columns
        for buffer in column.combine_chunks().buffers()
        if buffer is not None
    ]


def check_same(simulated: Simulated, folder: Path, name: str, values: dict) -> pa.Table:
    """Check that a file gives the rows and counts that memory gives; return them."""
    ours, counted = rows_of(simulated, name, values)
    theirs, expected = rows_of(write(folder / "events.root", simulated), name, values)
    assert ours.schema.equals(theirs.schema)
    assert bits(ours) == bits(theirs)
    assert counted.as_dict() == expected.as_dict()
    return ours


def test_labelled_jets_are_the_same(fat_jets, tmp_path):
    table = check_same(fat_jets, tmp_path, "jets", {})
    assert table.num_rows > 5
    wide = {"jet_radius": 1.5, "qcd_labels": True}
    assert check_same(fat_jets, tmp_path, "jets", wide).num_rows > table.num_rows


@pytest.mark.parametrize("collection", ["puppi", "chs"])
def test_energy_jets_are_the_same(flat, collection, tmp_path):
    table = check_same(flat, tmp_path, "energy", {"jet_eta_max": 5, "jet_collection": collection})
    assert table.num_rows > 30
    assert set(table["batch"].to_pylist()) == {number for _, number, _ in flat}
    assert table["event_rho"].to_numpy().max() > 0
    vertices = table["event_nvertices"].to_numpy()
    assert 0 < vertices.mean() < table["event_ninteractions"].to_numpy().mean()


def test_energy_jets_need_a_card_with_rho(fat_jets):
    with pytest.raises(UserError, match="batch 7 of res2p: holds no energy density rho"):
        rows_of(fat_jets, "energy", {})


def test_event_objects_are_the_same(top_pairs, tmp_path):
    table = check_same(top_pairs, tmp_path, "events", {})
    assert table.num_rows > 0
    assert set(table["process"].to_pylist()) == {"ttbar"}
    assert set(table["batch"].to_pylist()) <= {3, 4}
    assert table["event"].to_numpy().max() < 40


def spoil(simulated: Simulated, branch: str, leaf: str, rows: list[int]) -> Simulated:
    """Put NaN into a leaf of the first batch."""
    (process, number, branches), *others = simulated
    values = branches[branch].columns[leaf].copy()
    values[rows] = np.nan
    changed = replace(branches[branch], columns=branches[branch].columns | {leaf: values})
    return [(process, number, branches | {branch: changed}), *others]


def test_unphysical_events_are_left_out_and_counted(top_pairs, tmp_path):
    sound, _ = rows_of(top_pairs, "events", {})
    event = sound.filter(pc.field("batch") == 3)["event"][0].as_py()
    jet = top_pairs[0][2]["JetPUPPI"].offsets[event]
    spoilt = spoil(top_pairs, "JetPUPPI", "Mass", [jet])
    table = check_same(spoilt, tmp_path, "events", {})
    assert table.num_rows == sound.num_rows - 1
    _, counts = rows_of(spoilt, "events", {})
    assert counts.events == 80
    assert counts.events_skipped == {"unphysical values": 1}


def test_losses_in_memory_are_bounded(top_pairs):
    starts = top_pairs[0][2]["PuppiMissingET"].offsets[:9]
    spoilt = spoil(top_pairs, "PuppiMissingET", "MET", starts.tolist())
    with pytest.raises(UserError, match="of 80 events 9 with unphysical values"):
        rows_of(spoilt, "events", {})


def test_a_card_that_writes_too_little(fat_jets):
    with pytest.raises(UserError, match=r"batch 7 of res2p: .* writes no branch Electron"):
        rows_of(fat_jets, "events", {})


def events_of(path: Path) -> list[tuple]:
    """Return process, batch and number of each event of a file."""
    return [
        event
        for batch in delphes.batches(path, {"Particle": ("PID",)})
        for event in zip(*(values.tolist() for values in batch.identity.values()), strict=True)
    ]


def particles(n_events: int) -> dict[str, Collection]:
    return {"Particle": Collection(np.arange(n_events + 1), {"PID": np.ones(n_events, "i4")})}


def test_the_ledger_names_the_events(tmp_path, monkeypatch):
    monkeypatch.setattr(delphes, "EVENTS_PER_STEP", 2)
    file = write_events(tmp_path / "events.root", particles(5))
    assert events_of(file) == [("events", -1, number) for number in range(5)]
    entries = [("qcd", 12, 2), ("ttbar", 12, 0), ("ttbar", 3, 3)]
    made = [{"process": p, "batch": b, "events": n} for p, b, n in entries]
    write_ledger(file, 0.0, batches=made)
    expected = [("qcd", 12, 0), ("qcd", 12, 1), *(("ttbar", 3, number) for number in range(3))]
    assert events_of(file) == expected


@pytest.mark.parametrize(
    ("batches", "words"),
    [
        ([{"process": "qcd", "batch": 1, "events": 4}], "5 events where its ledger lists 4"),
        ([{"process": "qcd", "events": 5}], "not a list of process, batch and events"),
        ("many", "not a list of process, batch and events"),
        ([{"process": "qcd", "batch": 1, "events": -5}], "not a list of process, batch and events"),
    ],
)
def test_ledgers_that_do_not_fit(tmp_path, batches, words):
    file = write_events(tmp_path / "events.root", particles(5))
    write_ledger(file, 0.0, batches=batches)
    with pytest.raises(UserError, match=words):
        events_of(file)


def test_the_generators_ledger_is_understood(pileup_library, tmp_path):
    simulator = Simulator(CARDS / "jetclass2_fatjet.tcl", pileup_library, 3, 2)
    branches, info = simulator.batch("qcd", 5, 2)
    write_delphes_file(tmp_path / "events.root", [branches])
    write_ledger(tmp_path / "events.root", 0.0, batches=[asdict(info)])
    assert events_of(tmp_path / "events.root") == [("qcd", 5, 0), ("qcd", 5, 1)]
