"""MadGraph, which a stand-in replaces on the PATH, around its real files."""

import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path

import pylhe
import pytest

from generation.external.lhe import LheFile
from generation.external.library import HardProcessLibrary, write_library
from generation.external.madgraph import (
    KNOWN_MODELS,
    MadGraphRuns,
    make_hard_process,
    make_links_relative,
    make_process_directory,
)
from generation.external.parton_densities import lhapdf_environment
from generation.external.points import PointPlan, point_grid
from generation.process import load_process
from provenance.errors import UserError
from provenance.files import sha256

VERSION = "3.5.7"


@pytest.fixture
def directory(tmp_path, stand_ins):
    make_process_directory("res34p", {}, None, tmp_path, tmp_path / "process.tar.gz")
    return tmp_path / "process.tar.gz"


@pytest.fixture
def library(plan, directory, tmp_path):
    plan.write(tmp_path / "plan.npz")
    archives = [tmp_path / f"events_{block}.zip" for block in range(2)]
    for block, path in enumerate(archives):
        make_hard_process(plan, directory, block, 2, 5, VERSION, None, tmp_path, path)
    write_library(tmp_path / "plan.npz", directory, archives, VERSION, tmp_path / "library.json")
    return archives


def mass_and_events(text: str, folder: Path) -> tuple[list[float], list[str]]:
    """Return the masses of an event's outgoing particles, and the blocks of all events."""
    path = folder / "batch.lhe"
    path.write_text(text)
    particles = next(iter(pylhe.LHEFile.fromfile(path).events)).particles
    return [p.m for p in particles if p.status == 1], LheFile.read(path).events


# --- events of a real MadGraph


@pytest.mark.parametrize("name", ["heft_pp_hh_m150", "2hdm_pp_h1h1_m200", "2hdm_pp_hphm_m200"])
def test_slices_of_real_events_are_whole_files(name, reference, tmp_path):
    lhe = LheFile.read(reference(f"madgraph/{name}.lhe.gz"))
    assert (len(lhe.events), lhe.madgraph_version) == (100, "2.6.0")
    parts = []
    for first in range(0, 100, 30):
        path = tmp_path / f"{first}.lhe"
        path.write_text(lhe.slice(first, 30))
        parts += LheFile.read(path).events
        assert len(list(pylhe.LHEFile.fromfile(path).events)) == min(30, 100 - first)
    assert parts == lhe.events


def test_a_truncated_file_is_refused(reference, tmp_path):
    text = gzip.decompress(reference("madgraph/heft_pp_hh_m150.lhe.gz").read_bytes())
    path = tmp_path / "events.lhe"
    path.write_bytes(text[: len(text) * 2 // 3])
    with pytest.raises(UserError, match="truncated"):
        LheFile.read(path)


# --- the stand-in


def test_hard_process_events_by_batch(plan, directory, library, tmp_path):
    index = tmp_path / "library.json"
    reader = HardProcessLibrary(index, tmp_path)
    events = []
    for batch in range(30):
        text, planned = reader.events(batch)
        masses, own = mass_and_events(text, tmp_path)
        mass = point_grid("res34p")[plan.slice_of(batch)[0]]["m_X"]
        assert (masses, len(own), planned) == ([mass, mass], 5, True)
        events += own
    assert len(set(events)) == 150
    again = tmp_path / "again.zip"
    make_hard_process(plan, directory, 0, 2, 5, VERSION, None, tmp_path, again)
    assert sha256(again) == sha256(library[0])
    with zipfile.ZipFile(library[1], "a") as archive:
        archive.writestr("more", "")
    with pytest.raises(UserError, match=r"events_1\.zip: damaged, or changed since"):
        write_library(tmp_path / "plan.npz", directory, library, VERSION, index)
    with pytest.raises(UserError, match=r"events_0\.zip: is not block 0 of 1"):
        write_library(tmp_path / "plan.npz", directory, library[:1], VERSION, index)
    with pytest.raises(UserError, match=r"version 3\.5\.7, but the configuration's.* is 2\.9\.18"):
        make_hard_process(plan, directory, 0, 2, 5, "2.9.18", None, tmp_path, tmp_path / "x.zip")
    assert not (tmp_path / "x.zip").exists()


def test_a_library_made_with_another_process_directory_is_refused(directory, library, tmp_path):
    other = tmp_path / "other.tar.gz"
    other.write_bytes(b"another process directory")
    with pytest.raises(UserError, match=r"was made with another other\.tar\.gz"):
        write_library(tmp_path / "plan.npz", other, library, VERSION, tmp_path / "library.json")


def test_batches_beyond_the_plan_have_events_of_their_own(library, tmp_path):
    later = PointPlan.of_batches("res34p", 0, 3, 5, [40, 41])
    found = []
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        reader = HardProcessLibrary(tmp_path / "library.json", tmp_path / folder)
        # In another order, with the same result.
        batches = (40, 41) if folder == "first" else (41, 40)
        texts = {batch: reader.events(batch) for batch in batches}
        assert not any(planned for _, planned in texts.values())
        found.append([texts[40][0], texts[41][0]])
    assert found[0] == found[1]
    for i, text in enumerate(found[0]):
        masses, own = mass_and_events(text, tmp_path)
        mass = point_grid("res34p")[later.point[i]]["m_X"]
        assert (masses, len(own)) == ([mass, mass], 5)


def test_one_failing_run_takes_no_other_with_it(plan, directory, tmp_path, program, stand_ins):
    # The stand-in, which the second and third run of the first start cannot reach.
    real = Path(__file__).parents[2] / "workflow" / "stand_ins" / "mg5_aMC"
    flag = tmp_path / "failed"
    program(
        "mg5_aMC",
        f"#!/bin/sh\nif [ ! -e {flag} ]; then touch {flag}; echo 'error: out of luck'\n"
        f"python - $1 <<'END'\nimport re, sys\ntext = open(sys.argv[1]).read()\n"
        "parts = text.split('launch ')\nopen(sys.argv[1], 'w').write('launch '.join(parts[:2]))\n"
        f"END\nfi\nexec python {real} $1\n",
    )
    output = tmp_path / "events.zip"
    make_hard_process(plan, directory, 0, 2, 5, VERSION, None, tmp_path, output)
    ledger = json.loads((tmp_path / "events.zip.json").read_text())
    assert ledger["starts"] == 2
    assert len(ledger["runs"]) == ledger["batches"] > 2


def test_a_program_that_fails_is_named(tmp_path, program, capsys):
    program("mg5_aMC", "#!/bin/sh\necho error: no such model; exit 0\n")
    with pytest.raises(UserError, match="mg5_aMC wrote no process directory for res34p"):
        make_process_directory("res34p", {}, None, tmp_path, tmp_path / "process.tar.gz")
    assert "mg5_aMC: error: no such model" in capsys.readouterr().out


def test_the_directory_is_compiled_and_holds_no_events(directory, tmp_path):
    with tarfile.open(directory) as archive:
        names = archive.getnames()
    assert "process/Cards/run_card.dat" in names
    assert not [name for name in names if "unweighted_events" in name]
    commands = json.loads((tmp_path / "process.tar.gz.json").read_text())["commands"]
    assert "set auto_convert_model True --no_save" in commands


def test_a_process_directory_can_be_moved(tmp_path):
    folder = tmp_path / "process"
    (folder / "P1" / "deep").mkdir(parents=True)
    (folder / "P1" / "matrix1_orig.f").write_text("code")
    (folder / "P1" / "matrix1_optim.f").symlink_to(folder / "P1" / "matrix1_orig.f")
    (folder / "P1" / "deep" / "all").symlink_to(folder / "P1", target_is_directory=True)
    (folder / "outside").symlink_to("/usr/bin/env")
    make_links_relative(folder)
    moved = folder.rename(tmp_path / "elsewhere")
    assert (moved / "P1" / "matrix1_optim.f").read_text() == "code"
    assert (moved / "P1" / "deep" / "all" / "matrix1_orig.f").read_text() == "code"
    assert (moved / "outside").readlink() == Path("/usr/bin/env")


def test_a_model_other_than_the_published_one_is_told(directory, tmp_path, capsys):
    # The stand-in's model holds no physics.
    ledger = json.loads((tmp_path / "process.tar.gz.json").read_text())
    known = [line.split()[1] for line in (KNOWN_MODELS / "2HDM.sha256").read_text().splitlines()]
    assert ledger["model_differs_in"] == known
    assert "couplings.py" in known


# --- archives from elsewhere


def archive_of(path: Path, files: dict[str, str]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


def test_a_model_archive_is_used_by_its_name(tmp_path, stand_ins):
    archive = archive_of(tmp_path / "2HDM.tar.gz", {"2HDM_UFO/particles.py": "# a model\n"})
    output = tmp_path / "process.tar.gz"
    make_process_directory("res34p", {"2HDM": archive}, None, tmp_path, output)
    commands = json.loads((tmp_path / "process.tar.gz.json").read_text())["commands"]
    assert any(line.endswith("models/2HDM_UFO") for line in commands)
    empty = archive_of(tmp_path / "empty.tar.gz", {"README": "no model\n"})
    with pytest.raises(UserError, match="holds no UFO model 2HDM"):
        make_process_directory("res34p", {"2HDM": empty}, None, tmp_path, output)


def test_parton_densities_are_found_by_their_number(tmp_path):
    files = {
        "NNPDF31_lo_as_0118/NNPDF31_lo_as_0118.info": "SetIndex: 315000\nDataVersion: 1\n",
        "NNPDF31_lo_as_0118/NNPDF31_lo_as_0118_0000.dat": "a grid\n",
    }
    archive = archive_of(tmp_path / "set.tar.gz", files)
    environment = lhapdf_environment(archive, tmp_path)
    folder = Path(environment["LHAPDF_DATA_PATH"])
    assert (folder / "pdfsets.index").read_text() == "315000 NNPDF31_lo_as_0118 1\n"
    assert all((folder / name).is_file() for name in files)
    with pytest.raises(UserError, match="holds no set of parton densities"):
        lhapdf_environment(archive_of(tmp_path / "no.tar.gz", {"a/b.txt": ""}), tmp_path / "no")


def test_a_relative_scratch_folder_will_do(tmp_path, stand_ins, monkeypatch):
    monkeypatch.chdir(tmp_path)
    info = {"SET/SET.info": "SetIndex: 7\n"}
    archive = archive_of(tmp_path / "set.tar.gz", info)
    folder = lhapdf_environment(archive, Path())["LHAPDF_DATA_PATH"]
    assert Path(folder).is_absolute()
    make_process_directory("res34p", {}, archive, Path(), Path("process.tar.gz"))
    assert Path("process.tar.gz").is_file()


def test_madgraph_gets_the_parton_densities(tmp_path, program):
    program("mg5_aMC", '#!/bin/sh\necho "$LHAPDF_DATA_PATH" > seen; exit 0\n')
    info = {"SET/SET.info": "SetIndex: 7\n"}
    archive = archive_of(tmp_path / "set.tar.gz", info)
    MadGraphRuns(load_process("res34p"), tmp_path, archive).launch([])
    assert (tmp_path / "seen").read_text().strip() == str(tmp_path / "parton_densities")
