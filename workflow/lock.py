"""One run at a time in a folder, and no lock left behind by a run that died.

Snakemake's own lock is a file that a killed process leaves, so that the next call stops and asks to
have it removed. The kernel's lock dies with the process that holds it.
"""

import sys
from contextlib import ExitStack
from pathlib import Path

from provenance.errors import UserError
from provenance.lock import locked

# Held for as long as this process lives.
_held = ExitStack()


def hold_run_lock(folder: Path) -> None:
    """Take the lock of a folder until this process ends, however it ends.

    Parameters
    ----------
    folder
        Where Snakemake works.

    Raises
    ------
    SystemExit
        When another run works there, naming it.
    """
    try:
        _held.enter_context(locked(folder / ".snakemake" / "run.lock", "run"))
    except UserError as error:
        sys.exit(f"error: {error}")
