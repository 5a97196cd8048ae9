"""Pile-up files of Delphes become libraries."""

import struct

import numpy as np
import pytest

from generation.cli import main
from generation.delphes_pileup import import_library
from generation.pileup import PileupLibrary
from provenance.errors import UserError
from provenance.files import sha256
from provenance.ledger import check_ledger

EVENTS = [
    [(211, 0.0, 0.0, 0.5, 1e-12, 1.0, 2.0, 3.0, 3.7444), (22, 0, 0, 0, 0, 0.1, 0.2, -5, 5.005)],
    [],
    [(-2212, 0.1, -0.2, 9.0, 0.0, 0.0, -1.0, 50.0, 50.02)],
]


def delphes_bytes(events):
    content, starts = b"", []
    for particles in events:
        starts.append(len(content))
        content += struct.pack(">i", len(particles))
        content += b"".join(struct.pack(">i8f", *particle) for particle in particles)
    return content + struct.pack(f">{len(starts) + 1}q", *starts, len(starts))


@pytest.fixture
def pileup_file(tmp_path):
    path = tmp_path / "MinBias.pileup"
    path.write_bytes(delphes_bytes(EVENTS))
    return path


def test_particles_keep_what_the_file_says_and_get_charge_and_mass(pileup_file, tmp_path):
    main(["pileup", f"--delphes-file={pileup_file}", f"--output={tmp_path / 'library.arrow'}"])
    library = PileupLibrary.open(tmp_path / "library.arrow")
    assert library.offsets.tolist() == [0, 2, 2, 3]
    assert library.pid.tolist() == [211, 22, -2212]
    assert library.charge.tolist() == [1, 0, -1]
    assert library.mass == pytest.approx([0.13957, 0.0, 0.93827])
    for column, name in enumerate(("x", "y", "z", "t", "px", "py", "pz", "e"), start=1):
        expected = [particle[column] for event in EVENTS for particle in event]
        assert np.array_equal(getattr(library, name), np.float32(expected)), name
    assert library.metadata["source"] == "MinBias.pileup"
    assert check_ledger(tmp_path / "library.arrow")["source_sha256"] == sha256(pileup_file)


@pytest.mark.parametrize("lost", [1, 4, 8, 20, 60, 150])
def test_a_file_that_is_not_whole(pileup_file, tmp_path, lost):
    pileup_file.write_bytes(pileup_file.read_bytes()[:-lost])
    with pytest.raises(UserError, match="not a whole pile-up file"):
        import_library(tmp_path / "library.arrow", pileup_file)
    assert not (tmp_path / "library.arrow").exists()


def test_other_files_and_missing_ones(tmp_path):
    path = tmp_path / "a.pileup"
    with pytest.raises(UserError, match="no such file"):
        import_library(tmp_path / "library.arrow", path)
    for content in (b"", b"short", b"\xff" * 4000, b"\0" * 4000):
        path.write_bytes(content)
        with pytest.raises(UserError, match="not a whole pile-up file"):
            import_library(tmp_path / "library.arrow", path)


def test_an_unknown_particle_is_named(pileup_file, tmp_path):
    pileup_file.write_bytes(delphes_bytes([[(987654321, *[0.0] * 7, 1.0)]]))
    with pytest.raises(UserError, match="987654321"):
        import_library(tmp_path / "library.arrow", pileup_file)


def test_a_generated_library_needs_a_seed(tmp_path):
    with pytest.raises(UserError, match="--seed"):
        main(["pileup", "--events=5", f"--output={tmp_path / 'library.arrow'}"])
