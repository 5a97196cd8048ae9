"""Files from elsewhere, accepted only with the checksum that they must have."""

import shutil
import urllib.error
import urllib.request
from pathlib import Path

from provenance.errors import UserError
from provenance.files import atomic_output, sha256


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
    with atomic_output(output) as temporary:
        try:
            with urllib.request.urlopen(url) as source, temporary.open("wb") as target:  # noqa: S310
                shutil.copyfileobj(source, target)
        except (urllib.error.URLError, ConnectionError) as error:
            raise UserError(f"{url}: cannot be fetched ({error})") from None
        found = sha256(temporary)
        if found != checksum:
            raise UserError(f"{url}: has the SHA-256 {found}, not {checksum} as configured")
