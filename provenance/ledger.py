"""The ledger: a JSON beside each output that says how it was made (contract 4)."""

import platform
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from provenance.errors import UserError
from provenance.files import read_json, sha256, write_json
from provenance.seal import check_seal, sealed

SEAL = "ledger_sha256"

# Files whose lack of a ledger was told.
_UNCHECKED: set[str] = set()
# The packages whose version can change a result.
PACKAGES = (
    "jetclass-pipeline",
    "awkward",
    "fastjet",
    "numba",
    "numpy",
    "pyarrow",
    "pythia8mc",
    "torch",
    "uproot",
)


def ledger_path(output: str | Path) -> Path:
    """Return where the ledger of `output` lies: `jets.parquet` has `jets.parquet.json`."""
    output = Path(output)
    return output.with_name(output.name + ".json")


def read_ledger(output: str | Path) -> dict[str, Any]:
    """Return the ledger beside a file; one that holds no digest of itself is said to be unchecked.

    Raises
    ------
    UserError
        When it is missing, is not JSON, or was changed since it was written.
    """
    path = ledger_path(output)
    content = read_json(path)
    if SEAL in content:
        check_seal(path, content, SEAL)
    else:
        warn_unchecked(path, f"it holds no {SEAL}")
    return content


def check_ledger(output: str | Path) -> dict[str, Any]:
    """Compare a file with the ledger beside it, and return that.

    Every reader of a file that has a ledger calls this once before it reads; half a second for
    600 MB.

    Parameters
    ----------
    output
        The file.

    Returns
    -------
    dict
        The ledger. Empty when there is none: a line on stderr says, once for each file, that it is
        used unchecked.

    Raises
    ------
    UserError
        When the file is missing, or is not the one that its ledger speaks of.
    """
    output = Path(output)
    ledger = ledger_path(output)
    if not output.is_file():
        raise UserError(f"{output}: no such file")
    if not ledger.is_file():
        warn_unchecked(output, f"no ledger {ledger.name} lies by it")
        return {}
    content = read_ledger(output)
    if content.get("sha256") != sha256(output):
        raise UserError(f"{output}: damaged, or changed since its ledger {ledger.name} was written")
    return content


def warn_unchecked(path: str | Path, reason: str) -> None:
    """Say on stderr, once for each file, that it cannot be told from a damaged one."""
    if str(path) not in _UNCHECKED:
        _UNCHECKED.add(str(path))
        sys.stderr.write(f"warning: {path}: is used unchecked, as {reason}\n")


def versions() -> dict[str, str]:
    """Return the version of Python and of each package that shapes the results.

    Without the label of a build (`2.13.0+cpu`), so that it does not change files between machines.
    """
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name).partition("+")[0]
        except metadata.PackageNotFoundError:
            continue
    return found


def write_ledger(output: str | Path, started: float, **entries: Any) -> None:
    """Write the ledger of a finished output; the last thing a job does.

    Parameters
    ----------
    output
        The file the ledger speaks of; it must be in place already.
    started
        `time.perf_counter()` at the start of the job.
    entries
        What the stage knows: events asked and kept, seeds, card hash, ...
    """
    output = Path(output)
    content = {
        "file": output.name,
        "bytes": output.stat().st_size,
        "sha256": sha256(output),
        **entries,
        "versions": versions(),
        "wall_seconds": round(time.perf_counter() - started, 3),
    }
    write_json(ledger_path(output), sealed(content, SEAL))
