"""Outputs appear whole or not at all; mistakes end in one sentence."""

import json
import subprocess
import sys

import pytest

from provenance.errors import UserError, run
from provenance.files import atomic_output, read_json, sha256, write_json
from provenance.ledger import ledger_path, write_ledger
from provenance.seal import json_sha256


def test_output_appears_under_its_name_and_nothing_else_stays(tmp_path):
    target = tmp_path / "new" / "out.txt"
    with atomic_output(target) as temporary:
        temporary.write_text("whole")
        assert not target.exists()
        assert temporary.suffix == ".txt"
    assert target.read_text() == "whole"
    assert [file.name for file in target.parent.iterdir()] == ["out.txt"]


def test_failure_leaves_the_previous_file_and_no_temporary(tmp_path):
    target = tmp_path / "out.txt"
    target.write_text("before")

    def fail():
        with atomic_output(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert target.read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["out.txt"]


def test_a_killed_writer_leaves_nothing_under_the_final_name(tmp_path):
    code = (
        "import os, sys\n"
        "from provenance.files import atomic_output\n"
        "with atomic_output(sys.argv[1]) as t:\n"
        "    t.write_text('half'); os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "out.txt")], check=False)
    assert not (tmp_path / "out.txt").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match="cannot make the output folder"),
        atomic_output(tmp_path / "file" / "out.txt"),
    ):
        pass


def test_a_folder_in_the_place_of_the_output_is_named(tmp_path):
    with pytest.raises(UserError, match="is a folder"), atomic_output(tmp_path):
        pass


def test_json_round_trip_refuses_nan(tmp_path):
    write_json(tmp_path / "a.json", {"x": 1})
    assert read_json(tmp_path / "a.json") == {"x": 1}
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "b.json", {"x": float("nan")})
    assert not (tmp_path / "b.json").exists()


@pytest.mark.parametrize("content", [b"[1]", b"{", b"\xff\xfe"])
def test_wrong_json_is_named(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.json"):
        read_json(tmp_path / "a.json")


def test_ledger_describes_its_output(tmp_path):
    output = tmp_path / "jets.parquet"
    output.write_bytes(b"jets")
    write_ledger(output, started=0.0, events_asked=7)
    ledger = json.loads(ledger_path(output).read_text())
    assert ledger["sha256"] == sha256(output)
    assert ledger["bytes"] == 4
    assert ledger["events_asked"] == 7
    assert ledger["versions"]["numpy"]


def test_a_mistake_is_one_sentence_and_exit_code_1(capsys):
    def main():
        raise UserError("line one\nline two")

    with pytest.raises(SystemExit) as exit_:
        run(main)
    assert exit_.value.code == 1
    assert capsys.readouterr().err == "error: line one line two\n"


def test_a_refusal_of_the_system_is_one_sentence(capsys, tmp_path):
    with pytest.raises(SystemExit) as exit_:
        run((tmp_path / "none").read_text)
    assert exit_.value.code == 1
    assert "No such file or directory" in capsys.readouterr().err


def test_a_defect_keeps_its_traceback():
    def main():
        raise KeyError("defect")

    with pytest.raises(KeyError):
        run(main)


def test_the_hash_of_json_is_that_of_its_content(tmp_path):
    content = {"b": {10: 1.5, 9: None}, "a": ["é", True]}
    write_json(tmp_path / "a.json", content)
    again = read_json(tmp_path / "a.json")
    assert json_sha256(again) == json_sha256(content)
    assert json_sha256(dict(reversed(again.items()))) == json_sha256(content)
    assert json_sha256(again | {"a": ["é", 1]}) != json_sha256(content)
