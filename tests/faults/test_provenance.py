"""Ledgers and the JSON of strangers: compared, or said to be missing; never a traceback."""

import json
import subprocess
import sys

import pytest

from ntuplizer.manifest import read_manifest
from provenance.errors import UserError
from provenance.files import read_json
from provenance.ledger import check_ledger, ledger_path, read_ledger, write_ledger
from training.data.shards import read_dataset


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "network.onnx"
    path.write_bytes(b"a network")
    write_ledger(path, 0.0, checkpoint="checkpoint.ckpt")
    return path


def test_a_file_is_compared_with_its_ledger(file):
    assert check_ledger(file)["checkpoint"] == "checkpoint.ckpt"
    file.write_bytes(b"a Network")
    with pytest.raises(UserError, match=r"network\.onnx: damaged, or changed since its ledger"):
        check_ledger(file)


def test_a_ledger_is_its_own(file):
    ledger = ledger_path(file)
    content = json.loads(ledger.read_text())
    ledger.write_text(json.dumps(content))
    assert read_ledger(file) == content
    ledger.write_text(json.dumps(content | {"checkpoint": "other.ckpt"}))
    with pytest.raises(UserError, match=r"network\.onnx\.json: damaged, .* its ledger_sha256"):
        check_ledger(file)


def test_a_missing_ledger_is_said_once(file, capsys):
    ledger_path(file).unlink()
    assert check_ledger(file) == check_ledger(file) == {}
    assert capsys.readouterr().err == (
        f"warning: {file}: is used unchecked, as no ledger network.onnx.json lies by it\n"
    )


ODD = {
    "nothing": b"",
    "no text": b"\xff\xfe\x00",
    "a list": b"[]",
    "endless nesting": b'{"a":' * 200_000 + b"1" + b"}" * 200_000,
    "endless digits": b'{"files": ' + b"9" * 100_000 + b"}",
    "half a character": b'{"format": 2, "files": [], "name": "\\ud800"}',
    "no number": b'{"format": 2, "files": [{"rows": NaN}], "product": "jets"}',
    "files of another kind": b'{"format": 2, "files": {"path": 1}, "product": "jets"}',
    "a file without its split": b'{"format": 2, "files": [{"path": "a"}], "product": "jets"}',
    "labels of another kind": b'{"format": 2, "files": [], "labels": 7, "product": "jets"}',
    "a path that is none": b'{"files": [{"path": 5, "split": "a", "part": "b"}], "product": "j"}',
}


@pytest.mark.parametrize("content", ODD.values(), ids=ODD)
def test_odd_json_is_named(tmp_path, content):
    path = tmp_path / "manifest.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"manifest\.json: "):
        read_manifest(path)
    try:
        read_dataset(path)
    except UserError as error:
        assert str(path) in str(error)  # noqa: PT017
    # Whoever finds a ledger of this kind says so too.
    output = tmp_path / "manifest"
    output.write_bytes(b"")
    with pytest.raises(UserError, match=r"manifest(\.json)?: "):
        check_ledger(output)


def test_endless_json_is_named(tmp_path):
    path = tmp_path / "odd.json"
    for name in ("endless nesting", "endless digits"):
        path.write_bytes(ODD[name])
        with pytest.raises(UserError, match=r"odd\.json: not JSON"):
            read_json(path)


def test_the_command_checks_files_for_programs_that_cannot(file):
    command = [sys.executable, "-m", "provenance", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{file}: as its ledger says\n")
    file.write_bytes(b"")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        f"error: {file}: damaged, or changed since its ledger network.onnx.json was written\n"
    )
    ledger_path(file).unlink()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == (
        f"error: {ledger_path(file)}: no such file, so network.onnx cannot be checked\n"
    )
