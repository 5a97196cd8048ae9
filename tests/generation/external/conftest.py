"""Programs on the PATH: the stand-ins of the whole chain, or small ones that a test writes."""

import os
import sys
from pathlib import Path

import pytest

from generation.external.points import PointPlan

STAND_INS = Path(__file__).parents[2] / "workflow" / "stand_ins"
PYTHON = Path(sys.executable).parent


@pytest.fixture
def stand_ins(monkeypatch):
    """Put the stand-ins on the PATH."""
    monkeypatch.setenv("PATH", os.pathsep.join([str(PYTHON), str(STAND_INS), *os.get_exec_path()]))


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Return a function that puts a program of a given text on the PATH."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", os.pathsep.join([str(folder), str(PYTHON), "/usr/bin", "/bin"]))

    def write(name: str, text: str) -> None:
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)

    return write


@pytest.fixture
def plan():
    return PointPlan.of_batches("res34p", 0, 3, 5, range(30))
