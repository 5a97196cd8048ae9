"""What a killed process leaves: the next one removes it, and nothing of one that lives."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from provenance.errors import UserError
from provenance.files import atomic_output, write_json
from provenance.scratch import Scratch, remove_abandoned

OWNER = """
import sys, time
from provenance.files import atomic_output
from provenance.scratch import Scratch, remove_abandoned
scratch = Scratch("pythia", sys.argv[1])
with atomic_output(sys.argv[1] + "/output.json") as temporary:
    temporary.write_text("half")
    print("holds", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def owner(tmp_path):
    """Return a process that has scratch and is writing an output."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, tmp_path], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "holds\n"
        yield process
        process.kill()


def test_the_scratch_of_a_killed_process_goes_with_the_next(owner, tmp_path):
    (held,) = tmp_path.glob("jetclass-*-pythia-*")
    (half,) = tmp_path.glob(".output.tmp-*.json")
    with Scratch("pythia", tmp_path):
        assert held.is_dir(), "its owner lives"
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    with Scratch("delphes", tmp_path):
        assert held.is_dir(), "of another kind"
    with Scratch("pythia", tmp_path) as own:
        assert not held.exists()
        assert [folder.name for folder in tmp_path.glob("jetclass-*")] == [Path(own).name]
    write_json(tmp_path / "output.json", {})
    assert not half.exists()
    assert [file.name for file in tmp_path.iterdir()] == ["output.json"]


def test_a_living_writer_keeps_what_it_writes(owner, tmp_path):
    (half,) = tmp_path.glob(".output.tmp-*.json")
    write_json(tmp_path / "output.json", {})
    assert half.exists()


def test_a_link_in_the_place_of_scratch_leads_nowhere(tmp_path):
    """Where others may write, a link that has the name of our scratch is not followed."""
    precious = tmp_path / "home"
    precious.mkdir()
    for name in (".owner", "thesis"):
        (precious / name).touch()
    with Scratch("pythia", tmp_path) as own:
        name = Path(own).name
    (tmp_path / f"{name}x").symlink_to(precious)
    (tmp_path / f"{name}y").mkdir()
    (tmp_path / f"{name}y" / ".owner").symlink_to(precious / "thesis")
    remove_abandoned("pythia", tmp_path)
    assert sorted(file.name for file in precious.iterdir()) == [".owner", "thesis"]


def test_the_first_batch_after_a_kill_leaves_one_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-m", "generation", "pileup", "--events", "1000000", "--seed", "1",
             "--output", tmp_path / "library.arrow"],
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        before = set(tmp_path.glob("jetclass-*"))
        while not set(tmp_path.glob("jetclass-*")) - before:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.kill()
        process.wait()
    assert len(list(tmp_path.glob("jetclass-*"))) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a device")
def test_a_device_is_no_output(tmp_path):
    device = tmp_path / "null"
    os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    with pytest.raises(UserError, match="no regular file"), atomic_output(device):
        pass
    assert stat.S_ISCHR(device.stat().st_mode)


def test_a_pipe_is_no_output_and_a_link_to_a_file_is_one(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="no regular file"):
        write_json(tmp_path / "pipe", {})
    (tmp_path / "file.json").write_text("{}")
    (tmp_path / "link.json").symlink_to(tmp_path / "file.json")
    write_json(tmp_path / "link.json", {"written": True})
    assert "written" in (tmp_path / "link.json").read_text()
