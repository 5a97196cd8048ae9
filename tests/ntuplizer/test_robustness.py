"""Damaged and unusual event files: a clear error or a counted loss, never a wrong label."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import uproot
from event_files import BRANCHES, JETS, as_batch, read_batch, write_events

from ntuplizer.batch import Collection
from ntuplizer.cli import main
from ntuplizer.counts import Counts
from ntuplizer.ntuplize import ntuplize
from ntuplizer.quality import drop_bad_events
from ntuplizer.shards import read_metadata, read_table
from provenance.errors import UserError
from provenance.ledger import write_ledger

SMALL = "published/events_delphes_higgs2p_example.root"
OPTIONS = {"qcd_labels": True}


def run_fuzz(source: Path, seed: int, count: int) -> dict[str, int]:
    worker = Path(__file__).with_name("fuzz_worker.py")
    command = [sys.executable, str(worker), str(source), str(seed), str(count)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=20 + 3 * count
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


COMPRESSIONS = {"zlib": uproot.ZLIB(1), "zstd": uproot.ZSTD(1), "none": None}


def check_fuzz(reference, tmp_path, compression: str, seed: int, count: int) -> None:
    batch = read_batch(reference(SMALL), 10)
    file = write_events(tmp_path / "small.root", batch, COMPRESSIONS[compression])
    outcomes = run_fuzz(file, seed, count)
    assert sum(outcomes.values()) == count
    assert outcomes.get("error", 0) > 0
    if compression == "zlib":  # the only one with a checksum: nothing may slip through
        assert outcomes.get("different", 0) == 0


@pytest.mark.parametrize("compression", list(COMPRESSIONS))
def test_damaged_files(reference, tmp_path, compression):
    check_fuzz(reference, tmp_path, compression, 1, 12)


@pytest.mark.slow
@pytest.mark.parametrize("compression", list(COMPRESSIONS))
def test_many_damaged_files(reference, tmp_path, compression):
    check_fuzz(reference, tmp_path, compression, 2, 250)


def test_damaged_real_file(reference):
    outcomes = run_fuzz(reference(SMALL), 3, 8)
    assert outcomes.get("different", 0) == 0


@pytest.mark.slow
def test_many_damaged_real_files(reference):
    outcomes = run_fuzz(reference(SMALL), 4, 250)
    assert outcomes.get("different", 0) == 0
    assert outcomes["error"] > 0


def test_no_events(reference, tmp_path):
    empty = write_events(tmp_path / "empty.root", read_batch(reference(SMALL), 0))
    main(["jets", str(empty), "--output", str(tmp_path / "jets.parquet")])
    jets = read_table(tmp_path / "jets.parquet", "jets")
    assert jets.num_rows == 0
    assert jets.schema.equals(JETS.schema(JETS.Options()))
    assert read_metadata(tmp_path / "jets.parquet")["counts"]["events"] == 0


def test_events_without_jets(reference, tmp_path):
    batch = read_batch(reference(SMALL), 3)
    nothing = Collection(
        np.zeros(4, np.int64),
        {leaf: v[:0] for leaf, v in batch["ParticleFlowCandidate"].columns.items()},
    )
    file = write_events(tmp_path / "quiet.root", batch | {"ParticleFlowCandidate": nothing})
    table, counts = ntuplize(file, "jets", OPTIONS)
    assert (table.num_rows, counts.events, counts.steps["jets_clustered"]) == (0, 3, 0)


def test_events_without_particles(tmp_path, reference):
    batch = read_batch(reference(SMALL), 2)
    file = write_events(
        tmp_path / "void.root",
        {b: Collection(np.zeros(3, np.int64), {k: v[:0] for k, v in c.columns.items()})
         for b, c in batch.items()},
    )  # fmt: skip
    table, counts = ntuplize(file, "jets", OPTIONS)
    assert (table.num_rows, counts.events) == (0, 2)


def test_file_without_vertices(reference, tmp_path):
    batch = read_batch(reference(SMALL), 10)
    with_vertices, _ = ntuplize(write_events(tmp_path / "with.root", batch), "jets", OPTIONS)
    del batch["Vertex"]
    without, _ = ntuplize(write_events(tmp_path / "without.root", batch), "jets", OPTIONS)
    assert without["jet_label"].equals(with_vertices["jet_label"])
    assert without["part_px"].equals(with_vertices["part_px"])
    assert not without["genpart_z"].equals(with_vertices["genpart_z"])


def test_chs_jets_come_from_their_own_branch(reference, tmp_path):
    batch = read_batch(reference(SMALL), 10)
    file = write_events(
        tmp_path / "chs.root", batch | {"ParticleFlowCandidateCHS": batch["ParticleFlowCandidate"]}
    )
    puppi, _ = ntuplize(file, "jets", OPTIONS)
    chs, _ = ntuplize(file, "jets", OPTIONS | {"jet_collection": "chs"})
    assert chs.equals(puppi)
    with pytest.raises(UserError, match="ParticleFlowCandidateCHS"):
        ntuplize(reference(SMALL), "jets", {"jet_collection": "chs"})


@pytest.mark.parametrize(
    ("leaf", "value", "reason"),
    [
        ("D1", -7, "broken decay links"),
        ("D2", 10**6, "broken decay links"),
        ("PT", np.nan, "unphysical values"),
        ("PT", -1.0, "unphysical values"),
        ("PT", 3e38, "unphysical values"),
        ("Mass", 3e38, "unphysical values"),
        ("Eta", np.inf, "unphysical values"),
    ],
)
def test_one_bad_event_is_left_out_and_counted(reference, leaf, value, reason):
    batch = read_batch(reference(SMALL), 10)
    options = JETS.read_options(OPTIONS)
    sound = JETS.rows(as_batch(batch), options, Counts())
    fourth = as_batch(batch).select(np.arange(10) == 3)
    n_fourth = JETS.rows(fourth, options, Counts()).num_rows
    columns = dict(batch["Particle"].columns)
    columns[leaf] = columns[leaf].copy()
    columns[leaf][batch["Particle"].offsets[3] + 5] = value
    batch["Particle"] = Collection(batch["Particle"].offsets, columns)
    counts = Counts()
    table = JETS.rows(as_batch(batch), options, counts)
    assert counts.events == 10
    assert counts.events_skipped == {reason: 1}
    assert table.num_rows == sound.num_rows - n_fourth


def test_a_circle_of_copies_ends(reference):
    batch = read_batch(reference(SMALL), 10)
    record = batch["Particle"]
    first_higgs = np.flatnonzero(record["PID"] == 25)[0]
    own = first_higgs - record.offsets[record.event[first_higgs]]
    record["D1"][first_higgs] = record["D2"][first_higgs] = own
    _, skipped = drop_bad_events(as_batch(batch))
    assert skipped == {"broken decay links": 1}


def test_losses_are_reported_in_the_file_and_bounded(reference, tmp_path):
    batch = read_batch(reference(SMALL), 10)
    record = batch["Particle"]
    record["PT"][record.offsets[3]] = np.nan
    one = write_events(tmp_path / "one.root", batch)
    main(["jets", str(one), "--output", str(tmp_path / "jets.parquet")])
    counts = read_metadata(tmp_path / "jets.parquet")["counts"]
    assert counts["events_skipped"] == {"unphysical values": 1}
    assert json.loads((tmp_path / "jets.parquet.json").read_text())["counts"] == counts

    record["PT"][record.offsets[4]] = np.nan
    two = write_events(tmp_path / "two.root", batch)
    with pytest.raises(UserError, match="2 with unphysical values"):
        main(["jets", str(two), "--output", str(tmp_path / "more.parquet")])
    assert not (tmp_path / "more.parquet").exists()


def test_leaves_of_another_type(reference, tmp_path):
    batch = read_batch(reference(SMALL), 10)
    record = batch["Particle"]
    columns = record.columns | {"D1": record["D1"].astype(np.float32)}
    file = write_events(
        tmp_path / "float.root", batch | {"Particle": Collection(record.offsets, columns)}
    )
    with pytest.raises(UserError, match=r"float\.root.*Particle\.D1 does not hold integers"):
        ntuplize(file, "jets", OPTIONS)

    flat = tmp_path / "flat.root"
    with uproot.recreate(flat) as output:
        leaves = [f"{branch}.{leaf}" for branch, own in BRANCHES.items() for leaf in own]
        tree = output.mktree("Delphes", dict.fromkeys(leaves, "f4"))
        tree.extend({leaf: np.zeros(3, "f4") for leaf in leaves})
    with pytest.raises(UserError, match=r"Particle\.PID does not hold a list per event"):
        ntuplize(flat, "jets", OPTIONS)


def test_file_that_is_not_its_ledgers(reference, tmp_path):
    """Fewer events than the generator wrote, in a file that opens without complaint."""
    batch = read_batch(reference(SMALL), 10)
    file = write_events(tmp_path / "events.root", batch)
    write_ledger(file, 0.0, events=10)
    assert ntuplize(file, "jets", OPTIONS)[1].events == 10
    fewer = {branch: collection.select(np.arange(10) < 7) for branch, collection in batch.items()}
    write_events(file, fewer)
    with pytest.raises(UserError, match=r"changed since its ledger events\.root\.json"):
        ntuplize(file, "jets", OPTIONS)


@pytest.mark.parametrize("fraction", [0, 0.001, 0.01, 0.25, 0.5, 0.9, 0.99, 0.99999])
def test_truncated_files(reference, tmp_path, fraction):
    content = reference(SMALL).read_bytes()
    cut = tmp_path / "cut.root"
    cut.write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(UserError, match=r"cut\.root"):
        ntuplize(cut, "jets", OPTIONS)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(reference, tmp_path):
    """Four times the events, each file longer than a step, take no more memory within 60 MB."""
    batch = read_batch(reference("delphes/res2p_1.root"), 80)
    few = peak_memory(write_events(tmp_path / "few.root", batch, uproot.ZLIB(1), times=6))
    many = peak_memory(write_events(tmp_path / "many.root", batch, uproot.ZLIB(1), times=24))
    assert many - few < 60


def peak_memory(path: Path) -> float:
    """Return the peak resident memory in MB of a process that ntuplizes the file."""
    code = (
        "import resource, sys\n"
        "from ntuplizer.cli import main\n"
        f"main(['jets', {str(path)!r}, '--output', {str(path.with_suffix('.parquet'))!r}])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])
