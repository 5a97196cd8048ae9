"""Shared fixtures: the reference data, or a clear skip."""

from pathlib import Path

import pytest

REFERENCE = Path(__file__).parents[1].parent / "shared" / "reference"


@pytest.fixture
def reference():
    """Return a function that gives the path of a reference file, skipping the test without it."""

    def path(name: str) -> Path:
        file = REFERENCE / name
        if not file.exists():
            pytest.skip(f"reference file {name} is not here ({file})")
        return file

    return path
