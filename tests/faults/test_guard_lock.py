"""The locked installation: every package at one version, and no file but those of known hashes."""

import re
import subprocess
import sys
import tomllib
import zipfile

import pytest

from provenance.files import sha256
from workflow.requirements import LOCK, ROOT, TORCH_LOCK, read_lock

CPU_LOCK = ROOT / "requirements-torch-cpu.lock"


def locked(path) -> dict[str, set[str]]:
    """Return the hashes by name and version, without the marker of platforms."""
    return {
        name.partition(" ;")[0]: hashes
        for name, hashes in read_lock(path.read_text(encoding="utf-8")).items()
    }


def test_every_package_has_one_version_and_hashes():
    requirements = locked(LOCK) | locked(TORCH_LOCK) | locked(CPU_LOCK)
    for name, hashes in requirements.items():
        assert re.fullmatch(r"[a-z0-9.-]+==[0-9][a-z0-9.+]*", name), name
        assert hashes, name
    versions = {name.split("==")[1].split("+")[0] for name in requirements if "torch==" in name[:7]}
    assert len(versions) == 1, "both builds of PyTorch are of one release"


def test_every_direct_dependency_is_locked():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {name.split("==")[0] for name in locked(LOCK) | locked(TORCH_LOCK)}
    assert {re.split(r"[=<>!~ ;\[]", item)[0].lower() for item in wanted} <= names


@pytest.mark.parametrize("path", [LOCK, TORCH_LOCK, CPU_LOCK], ids=lambda path: path.name)
def test_no_index_stands_in_the_lock(path):
    text = path.read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"^-", text, re.MULTILINE)


def test_make_installs_by_hashes():
    calls = re.findall(r"pip install (.*)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert all("--require-hashes" in call or "--editable ." in call for call in calls)


@pytest.mark.parametrize("changed", [False, True])
def test_a_changed_package_is_not_installed(changed, tmp_path):
    wheel = tmp_path / "harmless-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("harmless.py", "")
        archive.writestr("harmless-1.0.dist-info/METADATA", "Name: harmless\nVersion: 1.0\n")
        archive.writestr("harmless-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("harmless-1.0.dist-info/RECORD", "")
    lock = tmp_path / "requirements.lock"
    lock.write_text(f"harmless==1.0 \\\n    --hash=sha256:{sha256(wheel)}\n")
    if changed:
        with zipfile.ZipFile(wheel, "a") as archive:
            archive.writestr("harm.py", "")
    call = [
        sys.executable, "-m", "pip", "install", "--no-deps", "--require-hashes", "--no-index",
        "--find-links", tmp_path, "--target", tmp_path / "here", "--requirement", lock,
    ]  # fmt: skip
    result = subprocess.run(call, capture_output=True, text=True, check=False)
    assert (result.returncode == 0) is not changed, result.stderr
    assert (tmp_path / "here").exists() is not changed
    assert ("DO NOT MATCH THE HASHES" in result.stderr) is changed
