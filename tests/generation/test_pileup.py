"""The minimum-bias library: stable particles, mapped from a file that is whole."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pytest

from generation.pileup import (
    COLUMNS,
    FORMAT,
    METADATA_KEY,
    PileupLibrary,
    build_library,
    write_library,
)
from provenance.errors import UserError


def test_library_holds_stable_particles_in_balance(pileup_library):
    library = PileupLibrary.open(pileup_library)
    assert library.n_events == 60
    event = np.repeat(np.arange(60), np.diff(library.offsets))
    assert np.allclose(np.bincount(event, library.e), 13000, rtol=1e-4)
    assert np.allclose(np.bincount(event, library.pz), 0, atol=0.5)
    assert np.bincount(event, library.charge).tolist() == [2.0] * 60
    unstable = (111, 310, 15, 3122, 411, 511)
    assert not np.any(np.isin(np.abs(library.pid), unstable))
    # A minimum-bias event has a hundred and more particles, most of them pions and photons.
    assert 80 < len(library.pid) / 60 < 250


def test_masses_and_charges_are_the_particles_own(pileup_library):
    library = PileupLibrary.open(pileup_library)
    pion = np.abs(library.pid) == 211
    assert np.allclose(library.mass[pion], 0.13957)
    assert np.array_equal(library.charge[pion], np.sign(library.pid[pion]))
    assert np.all(library.charge[library.pid == 22] == 0)
    momentum = np.sqrt(library.px**2 + library.py**2 + library.pz**2)
    assert np.all(library.e >= momentum * (1 - 1e-6))


def test_library_is_mapped_not_read(pileup_library):
    before = pa.total_allocated_bytes()
    library = PileupLibrary.open(pileup_library)
    assert pa.total_allocated_bytes() - before < 10_000
    assert not library.px.flags.owndata
    assert not library.px.flags.writeable


def test_library_says_how_it_was_made(pileup_library):
    metadata = PileupLibrary.open(pileup_library).metadata
    assert metadata["events"] == 60
    assert metadata["seed"] == 1
    assert "Tune:pp = 5" in metadata["settings"]
    assert metadata["versions"]["pythia8mc"]


@pytest.mark.slow
def test_same_seed_gives_the_same_bytes(tmp_path):
    for name in ("first.arrow", "second.arrow"):
        build_library(tmp_path / name, events=20, seed=2)
    assert (tmp_path / "first.arrow").read_bytes() == (tmp_path / "second.arrow").read_bytes()
    assert "SoftQCD:all = on" in PileupLibrary.open(tmp_path / "first.arrow").metadata["settings"]


@pytest.mark.parametrize("events", [0, -5])
def test_no_events_is_a_mistake(tmp_path, events):
    with pytest.raises(UserError, match=f"^{events} events asked for"):
        build_library(tmp_path / "x.arrow", events, 0)
    assert list(tmp_path.iterdir()) == []


def test_wrong_seed_is_a_mistake(tmp_path):
    with pytest.raises(UserError, match=r"^seed -1 is out of range: 0 to 18446744073709551615"):
        build_library(tmp_path / "x.arrow", 10, -1)


def test_missing_library():
    with pytest.raises(UserError, match="no such file"):
        PileupLibrary.open("nowhere.arrow")


@pytest.mark.parametrize("kept", [0, 5, 1000, 0.5, 0.99])
def test_truncated_library(pileup_library, tmp_path, kept):
    content = pileup_library.read_bytes()
    size = kept if isinstance(kept, int) else int(kept * len(content))
    damaged = tmp_path / "damaged.arrow"
    damaged.write_bytes(content[:size])
    with pytest.raises(UserError, match=r"damaged.arrow: not a whole library"):
        PileupLibrary.open(damaged)


def test_other_arrow_file(tmp_path):
    path = tmp_path / "other.arrow"
    table = pa.table({"pid": [[1, 2]]})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(UserError, match="not a whole library"):
        PileupLibrary.open(path)


def test_library_of_another_format(pileup_library, tmp_path):
    with pa.ipc.open_file(str(pileup_library)) as reader:
        table = reader.read_all()
    metadata = json.loads(table.schema.metadata[METADATA_KEY])
    table = table.replace_schema_metadata({METADATA_KEY: json.dumps(metadata | {"format": 9})})
    path = tmp_path / "newer.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(UserError, match="has format 9 instead of 1"):
        PileupLibrary.open(path)


def test_a_flipped_bit_is_noticed(pileup_library, tmp_path):
    copy = tmp_path / "minbias.arrow"
    content = bytearray(pileup_library.read_bytes())
    shutil.copy(f"{pileup_library}.json", f"{copy}.json")
    rng = np.random.default_rng(1)
    for bit in rng.integers(8 * len(content), size=20).tolist():
        damaged = content.copy()
        damaged[bit // 8] ^= 1 << bit % 8
        copy.write_bytes(damaged)
        with pytest.raises(UserError, match="damaged, or changed since its ledger"):
            PileupLibrary.open(copy)
    copy.write_bytes(content)
    assert PileupLibrary.open(copy).n_events > 0


def test_flipped_bits_of_a_library_without_its_ledger_lead_nowhere(tmp_path):
    """Kernels look up particles by its offsets: what is no library must not come so far."""
    rng = np.random.default_rng(4)
    columns = {name: rng.integers(1, 100, 60).astype(kind) for name, kind in COLUMNS.items()}
    path = tmp_path / "library.arrow"
    write_library(path, [{"size": np.full(6, 10), **columns}], {"format": FORMAT, "events": 6})
    content, refused = path.read_bytes(), 0
    for place in rng.integers(0, len(content), 600).tolist():
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            library = PileupLibrary.open(path)
        except UserError:
            refused += 1
            continue
        assert np.all(np.diff(library.offsets) >= 0)
        assert {len(getattr(library, name)) for name in COLUMNS} == {library.offsets[-1]}
    assert 50 < refused < 550
