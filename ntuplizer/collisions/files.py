"""ROOT files here or elsewhere: opened by path, https or XRootD, whole and unchanged or not at all.

The checksums of the CERN Open Data portal are adler32.
"""

import http.client
import json
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from provenance.errors import UserError
from provenance.files import atomic_output
from provenance.ledger import warn_unchecked

if TYPE_CHECKING:
    # Runs are planned with the names of files; their content is the jobs' own.
    import fsspec
    import uproot

BLOCK = 1 << 22
TIMEOUT = 60  # s


@dataclass(frozen=True)
class RemoteFile:
    """A file and what is known of it.

    Attributes
    ----------
    address
        Path, `https://…`, `http://…` or `root://…`.
    size
        Bytes, None where it is not known.
    adler32
        Hexadecimal, with or without leading zeros; None where it is not known.
    """

    address: str
    size: int | None = None
    adler32: str | None = None

    @property
    def scheme(self) -> str:
        """`https`, `root`, …; empty for a path."""
        scheme, separator, _ = self.address.partition("://")
        return scheme if separator else ""


def read_file_index(path: str | Path) -> list[RemoteFile]:
    """Read a file index of the CERN Open Data portal: JSON, a list of uri, size and checksum.

    Raises
    ------
    UserError
        When the file is missing or something else.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: not JSON ({error})") from None
    try:
        entries = content["files"] if isinstance(content, dict) else content
        return [_indexed(entry) for entry in entries]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UserError(
            f"{path}: not a file index: a list of entries with uri, size and checksum (adler32:…)"
        ) from None


def _indexed(entry: dict) -> RemoteFile:
    kind, _, digits = entry["checksum"].partition(":")
    if kind != "adler32":
        raise ValueError(kind)
    return RemoteFile(str(entry["uri"]), int(entry["size"]), f"{int(digits, 16):08x}")


def adler32(path: str | Path) -> str:
    """Return the adler32 checksum of a file as 8 hexadecimal digits, reading it in blocks."""
    value = 1
    with Path(path).open("rb") as stream:
        while block := stream.read(BLOCK):
            value = zlib.adler32(block, value)
    return f"{value:08x}"


@contextmanager
def open_root(file: RemoteFile) -> "Iterator[uproot.ReadOnlyDirectory]":
    """Open a ROOT file; elsewhere, only what is asked for is read.

    Size and checksum are compared before anything is read: of a local file with its content, of
    one behind https with what the server says. Where there is no checksum to compare, a line on
    stderr says that the file is used unchecked.

    Raises
    ------
    UserError
        When the file is missing, cannot be reached, is truncated or is not the one expected.
    """
    import uproot

    size = _local_size(file) if file.scheme == "" else _remote_size(file)
    if file.size is not None and size != file.size:
        raise UserError(f"{file.address}: {size} bytes, where {file.size} are expected")
    _check(file)
    # No object cache: uproot's is keyed by the identity written in the file, which a damaged or
    # rewritten copy shares.
    handler = uproot.MemmapSource if file.scheme == "" else uproot.source.fsspec.FSSpecSource
    try:
        directory = uproot.open(
            file.address, handler=handler, object_cache=None, array_cache=None, timeout=TIMEOUT
        )
        expected = directory.file.fEND
    except Exception as error:
        raise damaged(file.address, error) from None
    with directory:
        if size is not None and size < expected:
            raise UserError(
                f"{file.address}: truncated ROOT file: {size} of {expected} bytes are there"
            )
        yield directory


def fetch(file: RemoteFile, target: str | Path) -> None:
    """Copy a file from elsewhere, comparing size and checksum on the way.

    Raises
    ------
    UserError
        When it cannot be reached, or is not the one expected; nothing is left at `target` then.
    """
    value, size = 1, 0
    with atomic_output(target) as temporary:
        try:
            with _filesystem(file).open(file.address, "rb") as source, temporary.open("wb") as sink:
                while block := source.read(BLOCK):
                    value, size = zlib.adler32(block, value), size + len(block)
                    sink.write(block)
        except UserError:
            raise
        except Exception as error:
            raise _unreachable(file, error) from None
        if file.size is not None and size != file.size:
            raise UserError(f"{file.address}: {size} bytes came, where {file.size} are expected")
        _compare(file, f"{value:08x}")


def damaged(address: str | Path, error: Exception, where: str = "") -> UserError:
    """Return the error for a ROOT file that cannot be read; uproot raises many kinds."""
    return UserError(f"{address}: truncated or damaged ROOT file{where} ({_reason(error)})")


def _check(file: RemoteFile) -> None:
    if file.adler32 is None:
        warn_unchecked(file.address, "no adler32 checksum of it is given")
        return
    found = adler32(file.address) if file.scheme == "" else _remote_adler32(file)
    if found is None:
        warn_unchecked(file.address, "its server states no adler32 checksum")
    else:
        _compare(file, found)


def _compare(file: RemoteFile, found: str) -> None:
    if file.adler32 is None:
        return
    if int(found, 16) != int(file.adler32, 16):
        raise UserError(
            f"{file.address}: its adler32 checksum is {found}, where {file.adler32} is expected: "
            "damaged, or another version"
        )


def _local_size(file: RemoteFile) -> int:
    if not Path(file.address).is_file():
        raise UserError(f"{file.address}: no such file")
    return Path(file.address).stat().st_size


def _filesystem(file: RemoteFile) -> "fsspec.AbstractFileSystem":
    if file.scheme in {"root", "xrootd"} and find_spec("fsspec_xrootd") is None:
        raise UserError(
            f"{file.address}: root:// needs the Python package fsspec-xrootd; "
            "install it, or give the https:// address"
        )
    if file.scheme not in {"", "http", "https", "root", "xrootd"}:
        raise UserError(f"{file.address}: a path or an https:// or root:// address is needed")
    import fsspec

    return fsspec.url_to_fs(file.address)[0]


def _remote_size(file: RemoteFile) -> int | None:
    filesystem = _filesystem(file)
    try:
        return filesystem.info(filesystem._strip_protocol(file.address)).get("size")
    except Exception as error:
        raise _unreachable(file, error) from None


def _remote_adler32(file: RemoteFile) -> str | None:
    """Return the checksum that a server states when it is asked (RFC 3230), None where it does not.

    The servers of the portal know it without reading the file.
    """
    if file.scheme not in {"http", "https"}:
        return None
    request = urllib.request.Request(  # noqa: S310 - http and https only
        file.address, method="HEAD", headers={"Want-Digest": "adler32"}
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as reply:  # noqa: S310
            digests = reply.headers.get("Digest", "")
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(file, error) from None
    for digest in digests.split(","):
        kind, _, value = digest.strip().partition("=")
        if kind.lower() == "adler32":
            return value.strip()
    return None


def _unreachable(file: RemoteFile, error: Exception) -> UserError:
    return UserError(f"{file.address}: cannot be read ({_reason(error)})")


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:120]
