"""Files here and elsewhere: read whole and unchanged, or one sentence and nothing left behind."""

import json
import shutil
import zlib
from collections import Counter

import numpy as np
import pytest
from fetching import assert_fetched_whole_or_not_at_all
from web_server import serve

from ntuplizer.collisions import xrootd
from ntuplizer.collisions.certified import ALL_RUNS
from ntuplizer.collisions.era import load_era
from ntuplizer.collisions.files import RemoteFile, adler32, fetch, open_root, read_file_index
from ntuplizer.collisions.nanoaod import batches
from provenance.errors import UserError

NANO = "cms/nano_dimuon.root"


@pytest.fixture
def copy(reference, tmp_path):
    path = tmp_path / "nano.root"
    shutil.copyfile(reference(NANO), path)
    return path


def read(file: RemoteFile) -> list:
    era = load_era("2018").model_copy(update={"triggers": ("Physics", "Mu8", "L2Mu23NoVtx_2Cha")})
    return list(batches([file], era, ALL_RUNS, "loose", None, Counter()))


def test_https_gives_the_same_and_only_parts_of_the_file(copy):
    (here,) = read(RemoteFile(str(copy)))
    with serve(copy.parent) as (address, asked):
        known = RemoteFile(f"{address}/{copy.name}", copy.stat().st_size, adler32(copy))
        (there,) = read(known)
    for branch, objects in here.collections.items():
        for leaf, values in objects.columns.items():
            np.testing.assert_array_equal(there.collections[branch][leaf], values)
    ranges = [request.split("bytes=")[1] for request in asked if "bytes=" in request]
    n_bytes = sum(int(b) - int(a) + 1 for a, b in (pair.split("-") for pair in ranges))
    assert len(ranges) > 3
    assert n_bytes < 0.7 * copy.stat().st_size
    assert "GET" not in asked  # the whole file


def test_adler32_is_that_of_the_standard(tmp_path):
    content = bytes(range(256)) * 50_000
    (tmp_path / "file").write_bytes(content)
    assert int(adler32(tmp_path / "file"), 16) == zlib.adler32(content)
    (tmp_path / "empty").write_bytes(b"")
    assert adler32(tmp_path / "empty") == "00000001"


@pytest.mark.parametrize("leading_zeros", [True, False])
def test_checksums_may_lack_their_leading_zeros(tmp_path, copy, leading_zeros):
    digits = adler32(copy)
    read(RemoteFile(str(copy), adler32=digits if leading_zeros else digits.lstrip("0")))


def test_damage_is_one_sentence(copy):
    content = copy.read_bytes()
    right = RemoteFile(str(copy), len(content), adler32(copy))
    read(right)
    copy.write_bytes(content[:-1000])
    with pytest.raises(UserError, match="bytes, where"):
        read(right)
    with pytest.raises(UserError, match="truncated ROOT file"):
        read(RemoteFile(str(copy)))
    changed = bytearray(content)
    changed[len(content) // 2] ^= 1
    copy.write_bytes(changed)
    with pytest.raises(UserError, match="adler32 checksum"):
        read(right)
    copy.write_bytes(b"no ROOT file" * 100)
    with pytest.raises(UserError, match="truncated or damaged ROOT file"):
        read(RemoteFile(str(copy)))
    copy.unlink()
    with pytest.raises(UserError, match="no such file"):
        read(right)


def test_damage_elsewhere_is_one_sentence(copy):
    content = copy.read_bytes()
    with serve(copy.parent) as (address, _):
        url = f"{address}/{copy.name}"
        right = RemoteFile(url, len(content), adler32(copy))
        copy.write_bytes(content[:-1000])
        with pytest.raises(UserError, match="bytes, where"):
            read(right)
        with pytest.raises(UserError, match="truncated ROOT file"):
            read(RemoteFile(url))
        changed = bytearray(content)
        changed[len(content) // 2] ^= 1
        copy.write_bytes(changed)
        with pytest.raises(UserError, match="adler32 checksum"):
            read(right)
        with pytest.raises(UserError, match="cannot be read"):
            read(RemoteFile(f"{address}/missing.root"))
    with pytest.raises(UserError, match="cannot be read"):
        read(right)


def test_a_server_without_checksums_is_believed_with_a_word(copy, capsys):
    with serve(copy.parent, digests=False) as (address, _):
        url = f"{address}/{copy.name}"
        read(RemoteFile(url, copy.stat().st_size, "12345678"))
    said = f"warning: {url}: is used unchecked, as its server states no adler32 checksum\n"
    assert capsys.readouterr().err == said


def test_a_file_without_a_checksum_is_said_to_be_unchecked(copy, capsys):
    read(RemoteFile(str(copy), adler32=adler32(copy)))
    assert capsys.readouterr().err == ""
    read(RemoteFile(str(copy)))
    said = f"warning: {copy}: is used unchecked, as no adler32 checksum of it is given\n"
    assert capsys.readouterr().err == said


def test_fetching_compares_and_leaves_nothing_wrong(copy, tmp_path):
    with serve(copy.parent, digests=False) as (address, _):
        target = tmp_path / "copies" / "nano.root"
        assert_fetched_whole_or_not_at_all(copy, f"{address}/{copy.name}", target)


@pytest.mark.skipif(xrootd.is_installed(), reason="fsspec-xrootd is installed")
def test_xrootd_needs_its_package(tmp_path):
    file = RemoteFile("root://eospublic.cern.ch//eos/opendata/file.root")
    with (
        pytest.raises(UserError, match="needs the Python package fsspec-xrootd"),
        open_root(file),
    ):
        pass
    with pytest.raises(UserError, match="needs the Python package fsspec-xrootd"):
        fetch(file, tmp_path / "file.root")


def test_unknown_addresses_are_refused():
    with pytest.raises(UserError, match="an https:// or root:// address"):
        read(RemoteFile("gsiftp://somewhere/file.root"))


@pytest.mark.parametrize("scheme", ["https", "root", "xrootd"])
def test_passwords_in_addresses_are_refused_and_not_shown(scheme):
    with pytest.raises(UserError, match=rf"^{scheme}://…@somewhere:1095: .*password") as caught:
        read(RemoteFile(f"{scheme}://user:secret@somewhere:1095//file.root?authz=secret"))
    assert "secret" not in str(caught.value)


def test_a_copy_is_read_in_the_place_of_its_address(copy):
    address = "https://somewhere/deep/file.root?token=secret"
    there = RemoteFile(address, copy.stat().st_size, adler32(copy), str(copy))
    (events,) = read(there)
    (same,) = read(RemoteFile(str(copy)))
    assert events.identity["event"].tolist() == same.identity["event"].tolist()
    copy.write_bytes(copy.read_bytes()[:-1000])
    with pytest.raises(UserError, match=r"^https://somewhere/deep/file\.root: .* bytes, where"):
        read(there)
    copy.unlink()
    copy.mkdir()
    with pytest.raises(UserError, match="a folder"):
        read(there)


def test_a_file_index_of_the_portal(tmp_path):
    path = tmp_path / "index.json"
    entry = {
        "uri": "root://server//file.root",
        "size": 12,
        "checksum": "adler32:1a2b3c",
        "key": "f",
    }
    expected = [RemoteFile("root://server//file.root", 12, "001a2b3c")]
    for content in ([entry], {"files": [entry]}):
        path.write_text(json.dumps(content))
        assert read_file_index(path) == expected
    for content in ("{", "[1]", '{"files": 3}', '{}', '[{"uri": "a", "size": 1}]',
                    '[{"uri": "a", "size": 1, "checksum": "md5:1a"}]'):  # fmt: skip
        path.write_text(content)
        with pytest.raises(UserError):
            read_file_index(path)
    with pytest.raises(UserError):
        read_file_index(tmp_path / "missing.json")
