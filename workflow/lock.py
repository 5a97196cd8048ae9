"""One run at a time in a folder, and no lock left behind by a run that died.

Snakemake's own lock is a file that a killed process leaves, so that the next call stops and asks to
have it removed. The kernel's lock dies with the process that holds it.
"""

import fcntl
import os
import socket
import sys
from pathlib import Path
from typing import TextIO

# Open for as long as this process lives.
_held: list[TextIO] = []


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
    file = (folder / ".snakemake" / "run.lock").open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        sys.exit(f"error: another run works in {folder} ({file.read()}); wait until it has ended")
    except OSError as error:
        sys.stderr.write(
            f"warning: {folder} takes no locks ({error.strerror}); run one at a time\n"
        )
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}")
    file.flush()
    _held.append(file)
