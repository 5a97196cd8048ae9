"""One process at a time, and no lock left behind by one that died."""

import fcntl
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from provenance.errors import UserError


@contextmanager
def locked(path: str | Path, what: str) -> Iterator[None]:
    """Hold the lock of a file for a block; the kernel takes it back however the process ends.

    Parameters
    ----------
    path
        The file, made where it is missing. It stays, and says who held it last.
    what
        What is done under the lock, for the sentence: `training`.

    Raises
    ------
    UserError
        When another process holds it; names that one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise UserError(
                f"{path.parent}: another {what} works here ({file.read()}): wait until it has ended"
            ) from None
        except OSError as error:
            sys.stderr.write(
                f"warning: {path.parent} takes no locks ({error.strerror}); "
                f"run one {what} at a time\n"
            )
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield
