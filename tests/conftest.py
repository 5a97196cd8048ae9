"""Shared fixtures: the reference data, or a clear skip."""

from pathlib import Path

import pytest
from hypothesis import settings

# The same examples in every run: a change that breaks something is what makes a test fail.
settings.register_profile("reproducible", derandomize=True)
settings.load_profile("reproducible")

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
