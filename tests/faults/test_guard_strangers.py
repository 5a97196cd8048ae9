"""Files and values from elsewhere that mean harm: none of them runs or reaches anything."""

import io
import json
import pickle
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest
import yaml
from mini_dataset import CONFIG

from generation.external import archives
from generation.external.points import PointPlan
from provenance.errors import UserError
from training.checkpoint import load_task
from workflow.config_model import ROOT


class Harm:
    """What runs a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def pickled_archive(path, harm):
    """Write what looks like a checkpoint of PyTorch and runs a command when it is unpickled."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Harm(harm)))
        archive.writestr("archive/version", "3")


def test_a_checkpoint_runs_nothing(tmp_path):
    pickled_archive(tmp_path / "checkpoint.ckpt", tmp_path / "harm")
    with pytest.raises(UserError, match=r"checkpoint\.ckpt"):
        load_task(tmp_path / "checkpoint.ckpt")
    assert not (tmp_path / "harm").exists()


def test_a_plan_runs_nothing(tmp_path):
    content = np.array([Harm(tmp_path / "harm")], dtype=object)
    np.savez(tmp_path / "plan.npz", process=content)
    with pytest.raises(UserError, match=r"plan\.npz: not a plan"):
        PointPlan.open(tmp_path / "plan.npz")
    assert not (tmp_path / "harm").exists()


def tar_of(path, *members):
    with tarfile.open(path, "w:gz") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def link(name, target, kind=tarfile.SYMTYPE):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b""


@pytest.mark.parametrize(
    "members",
    [
        [(tarfile.TarInfo("../harm"), b"x")],
        [link("out", ".."), (tarfile.TarInfo("out/harm"), b"x")],
        [link("out", "/"), (tarfile.TarInfo("out/tmp/harm"), b"x")],
        [link("harm", "/etc/passwd")],
        [link("harm", "../../secret", tarfile.LNKTYPE)],
    ],
    ids=["above", "link above", "link to root", "link to a file", "hard link"],
)
def test_an_archive_reaches_nothing_outside(members, tmp_path):
    path = tar_of(tmp_path / "model.tar.gz", *members)
    (tmp_path / "deep").mkdir()
    with pytest.raises(UserError, match=r"model\.tar\.gz: cannot be unpacked"):
        archives.unpack(path, tmp_path / "deep" / "model")
    assert not list(tmp_path.rglob("harm"))


def test_a_device_in_an_archive_is_refused(tmp_path):
    member = tarfile.TarInfo("device")
    member.type = tarfile.CHRTYPE
    path = tar_of(tmp_path / "model.tar.gz", (member, b""))
    with pytest.raises(UserError, match="cannot be unpacked"):
        archives.unpack(path, tmp_path / "model")


def test_an_archive_that_fills_the_disk_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MOST_BYTES", 1000)
    path = tar_of(tmp_path / "model.tar.gz", (tarfile.TarInfo("large"), bytes(2000)))
    with pytest.raises(UserError, match="unpacks to more than"):
        archives.unpack(path, tmp_path / "model")
    assert not list((tmp_path / "model").rglob("large"))


@pytest.mark.parametrize("content", [b"", b"not a tar", b"\x1f\x8b\x08" + bytes(50)])
def test_what_is_no_archive_is_refused(content, tmp_path):
    (tmp_path / "model.tar.gz").write_bytes(content)
    with pytest.raises(UserError, match=r"model\.tar\.gz: cannot be unpacked"):
        archives.unpack(tmp_path / "model.tar.gz", tmp_path / "model")


HARMFUL = "card $(touch harm); touch harm 'x' \"y\" `touch harm` {0..3} & # é.tcl"


def test_names_reach_no_shell(tmp_path):
    """A name of the user's arrives at the job as it is, and runs nothing on the way."""
    card = tmp_path / HARMFUL
    source = ROOT / "delphes_cards" / "jetclass2_fatjet.tcl"
    card.write_text(source.read_text())
    shutil.copytree(source.parent / "jetclass2", tmp_path / "jetclass2")
    config = json.loads(json.dumps(CONFIG))
    config["datasets"]["jets"]["card"] = str(card)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config, allow_unicode=True))
    plan = subprocess.run(
        [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--dry-run",
         "--directory", tmp_path, "--configfile", tmp_path / "run.yaml", "--printshellcmds"],
        capture_output=True, text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    shell = re.search(r"python -m workflow shard .*", plan.stdout + plan.stderr)[0]
    log = tmp_path / shell.split(" > ")[-1].removesuffix(" 2>&1")
    log.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "bin").mkdir()
    stub = tmp_path / "bin" / "python"
    stub.write_text(
        f"#!{sys.executable}\nimport json, sys\njson.dump(sys.argv, open('arguments.json', 'w'))\n"
    )
    stub.chmod(0o755)
    subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"PATH={shlex.quote(str(stub.parent))}:$PATH; {shell}"],
        cwd=tmp_path, check=False, capture_output=True,
    )  # fmt: skip
    arguments = json.loads((tmp_path / "arguments.json").read_text())
    job = json.loads(arguments[arguments.index("--job") + 1])
    assert job["card"] == str(card)
    assert not list(tmp_path.rglob("harm"))
