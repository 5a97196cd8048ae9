"""The minimum-bias library of those who give none: made once, kept in the user's cache."""

import os
import sys
from importlib import metadata
from pathlib import Path

from generation.pileup import build_library

EVENTS = 2_000
SEED = 0
# Raised when the same seed begins to give other events: an older library is then made anew.
VERSION = 2


def default_library() -> Path:
    """Return a minimum-bias library, making it when this user has none for this Pythia.

    Its events are always the same, so that events simulated with it are reproducible; a
    production makes its own (`python -m generation pileup`).

    Raises
    ------
    UserError
        When the cache folder (`$XDG_CACHE_HOME`, else `~/.cache`) cannot be written.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = f"minbias-{EVENTS}-v{VERSION}-pythia-{metadata.version('pythia8mc')}.arrow"
    path = cache / "jetclass-pipeline" / name
    if not path.exists():
        sys.stderr.write(
            f"The card adds pile-up and no library was given: making one of {EVENTS} minimum-bias "
            f"events, once, as {path}\n"
        )
        build_library(path, EVENTS, SEED)
    return path
