"""The ledger: a JSON beside each output that says how it was made (contract 4)."""

import platform
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from provenance.files import sha256, write_json

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
    write_json(
        ledger_path(output),
        {
            "file": output.name,
            "bytes": output.stat().st_size,
            "sha256": sha256(output),
            **entries,
            "versions": versions(),
            "wall_seconds": round(time.perf_counter() - started, 3),
        },
    )
