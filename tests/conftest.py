"""Shared fixtures: the reference data, or a clear skip; a minimum-bias library."""

from pathlib import Path

import pytest
from hypothesis import settings

# The same examples in every run: a change that breaks something is what makes a test fail.
settings.register_profile("reproducible", derandomize=True)
settings.load_profile("reproducible")

REFERENCE = Path(__file__).parents[1].parent / "shared" / "reference"


@pytest.fixture(scope="session")
def reference():
    """Return a function that gives the path of a reference file, skipping the test without it."""

    def path(name: str) -> Path:
        file = REFERENCE / name
        if not file.exists():
            pytest.skip(f"reference file {name} is not here ({file})")
        return file

    return path


@pytest.fixture(scope="session")
def pileup_library(tmp_path_factory) -> Path:
    """Return a small library of Pythia's inelastic, non-diffractive events.

    Diffraction would cost Pythia seven seconds to start.
    """
    from generation import pileup, process

    path = tmp_path_factory.mktemp("pileup") / "minbias.arrow"
    soft = {"hard_process": ["SoftQCD:nonDiffractive = on"]}
    minbias = process.load_process(pileup.PROCESS).model_copy(update=soft)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "load_process", lambda _: minbias)
        pileup.build_library(path, events=60, seed=1)
    return path
