"""Tar archives from elsewhere: unpacked into their folder and nowhere else, or refused."""

import tarfile
import zlib
from pathlib import Path

from provenance.errors import UserError

# Far above any model, set of parton densities or directory of a process.
MOST_BYTES = 20_000_000_000
MOST_FILES = 500_000


def unpack(archive: Path, target: Path, own: bool = False) -> None:
    """Unpack a tar archive, compressed or not.

    Parameters
    ----------
    archive
        The file.
    target
        Folder for its content.
    own
        Whether this project wrote it: only then may links lead out of the folder.

    Raises
    ------
    UserError
        When it is damaged, no archive, reaches out of the folder or is larger than any archive
        should be.
    """
    size = files = 0

    def checked(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
        nonlocal size, files
        size, files = size + member.size, files + 1
        if size > MOST_BYTES or files > MOST_FILES:
            raise UserError(
                f"{archive}: unpacks to more than {MOST_FILES} files or {MOST_BYTES} bytes"
            )
        return (tarfile.tar_filter if own else tarfile.data_filter)(member, path)

    try:
        with tarfile.open(archive) as tar:
            tar.extractall(target, filter=checked)  # noqa: S202 - what it checks
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise UserError(f"{archive}: cannot be unpacked ({error})") from None
