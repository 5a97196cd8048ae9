"""Temporary folders that do not outlive their owner for long, even one that was killed."""

import contextlib
import fcntl
import os
import re
import shutil
import socket
import tempfile
from pathlib import Path

# In each folder, locked by its owner: the kernel takes the lock back however that one ends.
OWNER = ".owner"


class Scratch(tempfile.TemporaryDirectory):
    """A temporary folder with an owner; what owners of this machine that died left is removed.

    Parameters
    ----------
    kind
        What it is for, as part of its name: `pythia`.
    parent
        Where to make it; None: where the system has temporary files (`TMPDIR`).
    """

    def __init__(self, kind: str, parent: str | Path | None = None):
        remove_abandoned(kind, Path(parent or tempfile.gettempdir()))
        super().__init__(prefix=_prefix(kind), dir=parent)
        # It gets its name once it is locked. Closed, and unlocked, together with this object.
        file = Path(self.name, f"{OWNER}.new")
        self._lock = file.open("w")
        with contextlib.suppress(OSError):  # a file system without locks: nothing is removed
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            file.rename(file.with_name(OWNER))

    def cleanup(self) -> None:
        """Remove the folder, and the lock with it."""
        super().cleanup()
        self._lock.close()


def remove_abandoned(kind: str, parent: Path) -> None:
    """Remove the folders of one kind whose owner on this machine is dead.

    Parameters
    ----------
    kind
        As of `Scratch`.
    parent
        Where they are.
    """
    for folder in parent.glob(f"{_prefix(kind)}*"):
        try:
            lock = os.open(folder / OWNER, os.O_RDWR | os.O_NOFOLLOW)
        except OSError:
            continue  # another user's, or its owner is just making it
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue  # its owner lives, or the file system takes no locks
        else:
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)


def _prefix(kind: str) -> str:
    # A scratch folder that several machines share: locks are seen by one of them only.
    host = re.sub(r"[^A-Za-z0-9]", "", socket.gethostname())[:32]
    return f"jetclass-{host}-{kind}-"
