"""Files that appear whole or not at all."""

import hashlib
import json
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from stat import S_ISREG

from provenance.errors import UserError

HASH_BLOCK = 1 << 20


@contextmanager
def atomic_output(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it into place when the block ends well.

    The temporary file is synchronised to disk before the rename and removed when the block
    raises, so that neither a crash nor a full disk leaves a partial file under the final name.

    Parameters
    ----------
    path
        The final path. Its folder is made when it is missing.

    Yields
    ------
    pathlib.Path
        Where to write. It keeps the final suffix, so that writers which look at it still work.

    Raises
    ------
    UserError
        When the folder cannot be made or written to, or the path is a device, a pipe or a folder.
    """
    path = Path(path)
    if path.exists() and not (path.is_file() or path.is_dir()):
        # Root may replace a device: `/dev/null` would be a file from then on.
        raise UserError(f"cannot write {path}: it is there and is no regular file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the output folder {path.parent}: {error.strerror}") from None
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise UserError(f"cannot write {path}: the folder is not writable or the path is a folder")
    beginning = f".{path.stem}.tmp-{socket.gethostname()[:32]}-"
    _remove_abandoned(path, beginning)
    temporary = path.with_name(f"{beginning}{os.getpid()}{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _remove_abandoned(path: Path, beginning: str) -> None:
    """Remove what processes of this machine were writing when they were killed."""
    for file in path.parent.glob(f"{escape(beginning)}*{escape(path.suffix)}"):
        owner = file.name.removeprefix(beginning).removesuffix(path.suffix)
        if owner.isdecimal() and not _lives(int(owner)):
            file.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True  # another user's
    return True


def refuse_replacing(outputs: Iterable[str | Path], inputs: Iterable[str | Path]) -> None:
    """Refuse to write over what is read; links and other spellings of a path are the same file.

    Parameters
    ----------
    outputs
        Files that are about to be written.
    inputs
        Files that are read for them. What is no file, of either, counts for nothing.

    Raises
    ------
    UserError
        When one of them is an input.
    """
    read = {_place(path): path for path in inputs}
    for output in outputs:
        place = _place(output)
        if place is not None and place in read:
            path = read[place]
            spelled = "" if str(path) == str(output) else f" (as {path})"
            raise UserError(
                f"{output}: is an input{spelled}, and would be replaced: give another output"
            )


def _place(path: str | Path) -> tuple[int, int] | None:
    """Return device and number of a file, one for all its names; None where there is no file."""
    try:
        status = Path(path).stat()
    except (OSError, ValueError):  # also of what is no path at all
        return None
    return (status.st_dev, status.st_ino) if S_ISREG(status.st_mode) else None


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits, reading it in blocks."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while block := stream.read(HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def write_json(path: str | Path, content: dict) -> None:
    """Write `content` as indented JSON, atomically; NaN and infinities are refused."""
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    with atomic_output(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: str | Path) -> dict:
    """Read a JSON object.

    Raises
    ------
    UserError
        When the file is missing or is not a JSON object.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (ValueError, RecursionError) as error:  # of bytes, of syntax, of endless digits
        raise UserError(f"{path}: not JSON ({error})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds no JSON object")
    return content
