"""ROOT files here or elsewhere: opened by path, https or XRootD, whole and unchanged or not at all.

The checksums of the CERN Open Data portal are adler32.
"""

import http.client
import json
import re
import urllib.parse
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ntuplizer.collisions import xrootd
from provenance.errors import UserError
from provenance.files import atomic_output
from provenance.ledger import warn_unchecked

if TYPE_CHECKING:
    # Runs are planned with the names of files; their content is the jobs' own.
    import fsspec
    import uproot

BLOCK = 1 << 22
TIMEOUT = 60  # s
WEB_SCHEMES = ("http", "https")
# What follows the `?` of an address may be a token.
QUERY = re.compile(r"\?[^\s'\"]*")
LONGEST_REASON = 160  # characters


@dataclass(frozen=True)
class RemoteFile:
    """A file and what is known of it.

    Attributes
    ----------
    address
        Path, `https://…`, `http://…` or `root://…` (`xroot://…` and `xrootd://…` are the same).
    size
        Bytes, None where it is not known.
    adler32
        Hexadecimal, with or without leading zeros; None where it is not known.
    copy
        Path of a copy that is here and read in its place; None where there is none.
    """

    address: str
    size: int | None = None
    adler32: str | None = None
    copy: str | None = None

    @property
    def url(self) -> str:
        """What is opened: the copy or the address, with the scheme that all clients know."""
        return xrootd.canonical(self.address) if self.copy is None else self.copy

    @property
    def scheme(self) -> str:
        """`https`, `root`, …; empty for a path."""
        scheme, separator, _ = self.url.partition("://")
        return scheme if separator else ""

    @property
    def shown(self) -> str:
        """The address as messages and records name it: without what follows a `?`."""
        return self.address.partition("?")[0] if "://" in self.address else self.address


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
    one elsewhere with what its server says. Where there is no checksum to compare, a line on
    stderr says that the file is used unchecked.

    Raises
    ------
    UserError
        When the file is missing, cannot be reached, is truncated or is not the one expected.
    """
    import uproot

    filesystem = None if file.scheme == "" else _filesystem(file)
    size = _local_size(file) if filesystem is None else _remote_size(file, filesystem)
    if file.size is not None and size != file.size:
        raise UserError(f"{file.shown}: {size} bytes, where {file.size} are expected")
    _check(file)
    # No object cache: uproot's is keyed by the identity written in the file, which a damaged or
    # rewritten copy shares.
    handler = uproot.MemmapSource if filesystem is None else uproot.source.fsspec.FSSpecSource
    try:
        try:
            directory = uproot.open(
                {file.url: None}, handler=handler, object_cache=None, array_cache=None
            )
            expected = directory.file.fEND
        except Exception as error:
            if filesystem is not None and isinstance(error, OSError):
                raise _unreachable(file, error) from None
            raise damaged(file.shown, error) from None
        with directory:
            if size is not None and size < expected:
                raise UserError(
                    f"{file.shown}: truncated ROOT file: {size} of {expected} bytes are there"
                )
            yield directory
    finally:
        if filesystem is not None:
            # That of XRootD keeps files open, to close them when the program ends: with a
            # traceback where the server is gone by then.
            with suppress(OSError):
                filesystem.invalidate_cache(filesystem._strip_protocol(file.url))


def fetch(file: RemoteFile, target: str | Path) -> None:
    """Copy a file from elsewhere, comparing size and checksum on the way.

    Raises
    ------
    UserError
        When it cannot be reached, or is not the one expected; nothing is left at `target` then.
    """
    value, size = 1, 0
    filesystem = _filesystem(file)
    with atomic_output(target) as temporary:
        try:
            with filesystem.open(file.url, "rb") as source, temporary.open("wb") as sink:
                while block := source.read(BLOCK):
                    value, size = zlib.adler32(block, value), size + len(block)
                    sink.write(block)
        except Exception as error:
            raise _unreachable(file, error) from None
        if file.size is not None and size != file.size:
            raise UserError(f"{file.shown}: {size} bytes came, where {file.size} are expected")
        _compare(file, f"{value:08x}")


def check_address(address: str) -> None:
    """Check that an address can be read and shown.

    Raises
    ------
    UserError
        When it has an unknown scheme or holds a password.
    """
    scheme, separator, rest = address.partition("://")
    if not separator:
        return
    if scheme not in (*WEB_SCHEMES, *xrootd.SCHEMES):
        raise UserError(
            f"{address.partition('?')[0]}: a path or an https:// or root:// address is needed"
        )
    login, at, place = rest.partition("/")[0].rpartition("@")
    if ":" in login:
        raise UserError(
            f"{scheme}://…{at}{place}: an address with a password, which logs would show; leave "
            "it out (XRootD reads credentials from its environment)"
        )


def check_readable(file: RemoteFile) -> None:
    """Check that what reads an address is installed.

    Raises
    ------
    UserError
        When a package is missing.
    """
    if file.scheme == xrootd.SCHEMES[0] and not xrootd.is_installed():
        raise UserError(
            f"{file.shown}: root:// needs the Python package fsspec-xrootd: "
            "pip install '.[xrootd]', or give the https:// address"
        )


def damaged(address: str | Path, error: Exception, where: str = "") -> UserError:
    """Return the error for a ROOT file that cannot be read; uproot raises many kinds."""
    lost = "connection lost, or " if "://" in str(address) and isinstance(error, OSError) else ""
    return UserError(f"{address}: {lost}truncated or damaged ROOT file{where} ({_reason(error)})")


def _check(file: RemoteFile) -> None:
    if file.adler32 is None:
        warn_unchecked(file.shown, "no adler32 checksum of it is given")
        return
    found = adler32(file.url) if file.scheme == "" else _remote_adler32(file)
    if found is None:
        warn_unchecked(file.shown, "its server states no adler32 checksum")
    else:
        _compare(file, found)


def _compare(file: RemoteFile, found: str) -> None:
    if file.adler32 is None:
        return
    if int(found, 16) != int(file.adler32, 16):
        raise UserError(
            f"{file.shown}: its adler32 checksum is {found}, where {file.adler32} is expected: "
            "damaged, or another version"
        )


def _local_size(file: RemoteFile) -> int:
    path = Path(file.url)
    if not path.is_file():
        raise UserError(f"{file.shown}: {'a folder' if path.is_dir() else 'no such file'}")
    return path.stat().st_size


def _filesystem(file: RemoteFile) -> "fsspec.AbstractFileSystem":
    check_address(file.address)
    check_readable(file)
    import fsspec

    if file.scheme == xrootd.SCHEMES[0]:
        xrootd.limit_waits()
    try:
        return fsspec.url_to_fs(file.url)[0]
    except Exception as error:
        raise _unreachable(file, error) from None


def _remote_size(file: RemoteFile, filesystem: "fsspec.AbstractFileSystem") -> int | None:
    try:
        found = filesystem.info(filesystem._strip_protocol(file.url))
    except Exception as error:
        raise _unreachable(file, error) from None
    if found.get("type") == "directory":
        raise UserError(f"{file.shown}: a folder")
    return found.get("size")


def _remote_adler32(file: RemoteFile) -> str | None:
    """Return the checksum that a server states when it is asked, None where it does not.

    The servers of the portal know it without reading the file.
    """
    try:
        if file.scheme in WEB_SCHEMES:
            return _digest(file.url)
        return xrootd.stated_adler32(file.url)
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(file, error) from None


def _digest(url: str) -> str | None:
    """Return the adler32 checksum that a web server states (RFC 3230)."""
    request = urllib.request.Request(  # noqa: S310 - http and https only
        url, method="HEAD", headers={"Want-Digest": "adler32"}
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT) as reply:  # noqa: S310
        digests = reply.headers.get("Digest", "")
    for digest in digests.split(","):
        kind, _, value = digest.strip().partition("=")
        if kind.lower() == "adler32":
            return value.strip()
    return None


def _unreachable(file: RemoteFile, error: Exception) -> UserError:
    return UserError(f"{file.shown}: cannot be read ({_reason(error)})")


def _reason(error: Exception) -> str:
    text = xrootd.cause((str(error).strip() or type(error).__name__).splitlines()[0])
    text = QUERY.sub("", text)
    # What is wrong often stands after a path.
    half = LONGEST_REASON // 2
    return text if len(text) <= LONGEST_REASON else f"{text[:half]} … {text[-half:]}"
