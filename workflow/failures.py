"""What the screen shows of a job that failed: the end of its log."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

# Of each log: a traceback of a few calls.
LINES = 30
# What holds so many lines.
TAIL_BYTES = 16_384


def show_log_ends(logs: Iterable[str]) -> Iterator[str]:
    """Yield the last lines of each log, below its path.

    It stands in for Snakemake's own function, which shows logs whole. `onerror` would not do: it is
    not called when Snakemake itself cannot clean up on the disk that made a job fail.

    Parameters
    ----------
    logs
        Paths; a file need not be there.
    """
    for log in logs:
        yield from _ending(Path(log))


def _ending(file: Path) -> list[str]:
    try:
        with file.open("rb") as content:
            size = content.seek(0, os.SEEK_END)
            content.seek(max(0, size - TAIL_BYTES))
            lines = content.read().decode(errors="replace").splitlines()
    except OSError:
        return [f"{file} is not there: the job did not begin"]
    if not lines:
        return [f"{file} is empty"]
    which = "The log" if size <= TAIL_BYTES and len(lines) <= LINES else "The end of the log"
    return ["", f"{which} {file}:", *lines[-LINES:], ""]
