"""Files behind a real XRootD server: the same rows as here, or one sentence in good time."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import uproot
import yaml
from fetching import assert_fetched_whole_or_not_at_all
from xrootd_server import PROGRAM, free_port, serve_xrootd

from ntuplizer.cli import main
from ntuplizer.collisions import xrootd
from ntuplizer.collisions.era import FOLDER
from ntuplizer.collisions.files import RemoteFile, adler32, open_root
from provenance.errors import UserError

pytestmark = pytest.mark.skipif(
    PROGRAM is None or not xrootd.is_installed(),
    reason="needs the program xrootd (in Debian's xrootd-server) and pip install '.[xrootd]'",
)

NANO, PFNANO = "cms/nano_dimuon.root", "cms/pfnano.root"
SOON = 5  # s
CHILD = """
import os, signal, sys
from ntuplizer.collisions.files import RemoteFile, open_root
from ntuplizer.collisions.nanoaod import Reader
from provenance.errors import run

def main():
    with open_root(RemoteFile(sys.argv[1])) as directory:
        reader = Reader(directory["Events"], sys.argv[1], 0, 1000)
        reader.flat("run")
        os.kill(int(sys.argv[2]), signal.SIGKILL)
        reader.flat("event")

run(main)
"""


@pytest.fixture(scope="session")
def server():
    with serve_xrootd() as running:
        yield running


@pytest.fixture(scope="session")
def content(tmp_path_factory):
    """Return the bytes of a small ROOT file."""
    path = tmp_path_factory.mktemp("xrootd") / "small.root"
    with uproot.recreate(path) as file:
        file["Events"] = {name: np.arange(1000) for name in ("run", "event")}
    return path.read_bytes()


@pytest.fixture
def small(server, content):
    """Return the path of a file on the server, to be changed at will, and its address."""
    path = server.folder / "small.root"
    path.write_bytes(content)
    yield path, server.url(path.name)
    path.unlink(missing_ok=True)


@pytest.fixture
def era(tmp_path):
    content = yaml.safe_load((FOLDER / "2018.yaml").read_text())
    content["triggers"] = ["L2Mu23NoVtx_2Cha"]
    path = tmp_path / "dimuon.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def make(address: str, output: Path, *arguments: str) -> bytes:
    main([*arguments, address, "--output", str(output)])
    return output.read_bytes()


def look(file: RemoteFile) -> None:
    with open_root(file) as directory:
        np.testing.assert_array_equal(directory["Events"]["event"].array(), np.arange(1000))


def refused(file: RemoteFile, words: str) -> None:
    """Check that a file is refused soon, in one line that names it."""
    started = time.monotonic()
    with pytest.raises(UserError, match=words) as caught:
        look(file)
    assert str(caught.value).startswith(f"{file.shown}: ")
    assert "\n" not in str(caught.value)
    assert time.monotonic() - started < SOON


def test_rows_are_byte_for_byte_those_of_the_file_here(server, reference, era, tmp_path):
    path = Path(shutil.copy(reference(NANO), server.folder))
    arguments = ("nanoaod", "--era", str(era), "--all-runs", "--option", "b_jets_min=0",
                 "--option", "light_jets_min=0", "--adler32", adler32(path))  # fmt: skip
    here = make(str(path), tmp_path / "here.parquet", *arguments)
    there = make(server.url(path.name), tmp_path / "there.parquet", *arguments)
    assert there == here


def test_jets_are_byte_for_byte_those_of_the_file_here(server, reference, tmp_path):
    (server.folder / "deep" / "folder").mkdir(parents=True)
    path = Path(shutil.copy(reference(PFNANO), server.folder / "deep" / "folder"))
    arguments = ("pfnano", "--size", str(path.stat().st_size), "--product", "energy")
    here = make(str(path), tmp_path / "here.parquet", *arguments)
    there = make(server.url("deep/folder/pfnano.root"), tmp_path / "there.parquet", *arguments)
    assert there == here


@pytest.mark.parametrize("scheme", ["xroot", "xrootd"])
def test_schemes_have_synonyms(scheme, small):
    path, address = small
    look(RemoteFile(address.replace("root", scheme, 1), adler32=adler32(path)))


def test_only_parts_of_a_file_come(small):
    path, address = small
    with open_root(RemoteFile(address)) as directory:
        directory["Events"]["event"].array()
        assert 0 < directory.file.source.num_requested_bytes < 0.7 * path.stat().st_size


def test_a_damaged_file_is_refused(small, content):
    path, address = small
    right = RemoteFile(address, len(content), adler32(path))
    look(right)
    path.write_bytes(content[:-1000])
    refused(right, "bytes, where")
    refused(RemoteFile(address), "truncated ROOT file")
    path.write_bytes(content[: len(content) // 2] + b"?" + content[len(content) // 2 + 1 :])
    refused(right, "adler32 checksum is .*, where")
    path.write_bytes(b"no ROOT file" * 100)
    refused(RemoteFile(address), "truncated or damaged ROOT file")
    path.chmod(0)
    refused(RemoteFile(address), r"cannot be read \(Unable to .*; permission denied\)")
    path.unlink()
    refused(right, r"cannot be read \(Unable to .*; no such file")
    path.mkdir()
    refused(RemoteFile(address), "a folder")
    path.rmdir()


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("root://localhost:PORT//file.root", r"cannot be read \(Connection error\)"),
        ("root://no-such-host.invalid//file.root", r"cannot be read \(unknown host\)"),
        ("root:///file.root", "cannot be read"),
        ("root://localhost:99999//file.root", "cannot be read"),
    ],
)
def test_a_server_that_is_not_there(address, words):
    # The name of a test is the same in every process.
    refused(RemoteFile(address.replace("PORT", str(free_port()))), words)


def test_nothing_is_written_for_a_file_that_cannot_be_read(server, era, tmp_path):
    output = tmp_path / "made" / "rows.parquet"
    with pytest.raises(UserError, match=r"missing\.root: cannot be read"):
        make(server.url("missing.root"), output, "nanoaod", "--era", str(era), "--all-runs")
    assert not output.parent.exists() or not list(output.parent.iterdir())


def test_a_server_killed_while_a_file_is_read_is_one_sentence_of_the_program(small):
    path, _ = small
    with serve_xrootd() as other:
        shutil.copy(path, other.folder)
        address = other.url(path.name)
        result = subprocess.run(
            [sys.executable, "-c", CHILD, address, str(other.process.pid)],
            capture_output=True, text=True, check=False, timeout=30, env=os.environ,
        )  # fmt: skip
    assert result.returncode == 1
    _, said = result.stderr.splitlines()
    assert said.startswith(f"error: {address}: connection lost, or truncated or damaged ROOT file")
    assert "in events 0 to 999" in said


def test_a_server_that_does_not_answer_is_not_waited_for_long(small, monkeypatch):
    path, _ = small
    monkeypatch.setitem(xrootd.SETTINGS, "RequestTimeout", 1)
    with serve_xrootd() as other:
        shutil.copy(path, other.folder)
        look(RemoteFile(other.url(path.name)))
        other.freeze()
        refused(RemoteFile(other.url(path.name)), r"cannot be read \(no answer in time\)")


@pytest.mark.parametrize("kind", [None, "md5"])
def test_a_server_without_such_checksums_is_believed_with_a_word(kind, small, capsys):
    path, _ = small
    with serve_xrootd(checksums=kind) as other:
        shutil.copy(path, other.folder)
        address = other.url(path.name)
        look(RemoteFile(address, adler32="12345678"))
    said = f"warning: {address}: is used unchecked, as its server states no adler32 checksum\n"
    assert capsys.readouterr().err == said


def test_a_copy_is_whole_or_not_there(small, tmp_path):
    assert_fetched_whole_or_not_at_all(*small, tmp_path / "copies" / "small.root")


@pytest.mark.parametrize("word", ["?authz=secret", "?a=1&authz=secret"])
def test_what_follows_a_question_mark_is_not_shown(word, server, small, capsys):
    path, address = small
    look(RemoteFile(address + word))
    look(RemoteFile(address + word, adler32=adler32(path)))
    with pytest.raises(UserError, match=r"missing\.root: cannot be read") as caught:
        look(RemoteFile(server.url("missing.root") + word))
    assert "secret" not in str(caught.value) + capsys.readouterr().err
