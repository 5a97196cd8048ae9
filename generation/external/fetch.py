"""Files from elsewhere, accepted only with the checksum that they must have."""

import shutil
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

from provenance.errors import UserError
from provenance.files import atomic_output, sha256

SCHEMES = ("https://", "http://", "file://")
# Seconds without a byte.
PATIENCE = 60


def fetch(url: str, checksum: str, output: Path) -> None:
    """Download a file.

    Parameters
    ----------
    url
        Its address, `http(s)://` or `file://`.
    checksum
        Its SHA-256 in hexadecimal digits.
    output
        Where to put it.

    Raises
    ------
    UserError
        When it cannot be had or has another checksum.
    """
    if not url.startswith(SCHEMES):
        raise UserError(f"{url}: an address that begins with {', '.join(SCHEMES)} is needed")
    with atomic_output(output) as temporary:
        try:
            with urlopen(url, timeout=PATIENCE) as source, temporary.open("wb") as target:  # noqa: S310
                shutil.copyfileobj(source, target)
        except (OSError, ValueError, HTTPException) as error:
            raise UserError(f"{url}: cannot be fetched ({error})") from None
        found = sha256(temporary)
        if found != checksum:
            raise UserError(f"{url}: has the SHA-256 {found}, not {checksum} as configured")
