"""What fetching a file promises, whatever serves it."""

from pathlib import Path

import pytest

from ntuplizer.collisions.files import RemoteFile, adler32, fetch
from provenance.errors import UserError


def assert_fetched_whole_or_not_at_all(path: Path, address: str, target: Path) -> None:
    """Fetch a file, of which the server has a copy at `path`, and others that it is not."""
    for wrong in (
        RemoteFile(address, adler32="12345678"),
        RemoteFile(address, size=1),
        RemoteFile(f"{address}.missing"),
    ):
        with pytest.raises(UserError):
            fetch(wrong, target)
        assert not list(target.parent.iterdir())
    fetch(RemoteFile(address, path.stat().st_size, adler32(path)), target)
    assert target.read_bytes() == path.read_bytes()
