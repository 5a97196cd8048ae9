"""What a run says at its end of the jobs that failed: the last lines of their logs."""

import os
from collections.abc import Iterable
from pathlib import Path

# Of each log: a traceback of a few calls.
LINES = 30
# What holds so many lines.
TAIL_BYTES = 16_384
# Jobs that fail by the hundred fail for one reason.
MOST_SHOWN = 5


def describe_failures(logs: Iterable[str]) -> str:
    """Return the last lines of logs, and where the rest is.

    Parameters
    ----------
    logs
        Of the jobs that failed; a file need not be there.
    """
    files = sorted({Path(log) for log in logs})
    parts = [_ending(file) for file in files[:MOST_SHOWN]]
    if len(files) > MOST_SHOWN:
        parts.append(f"{len(files) - MOST_SHOWN} more failed; their logs are named above")
    return "\n\n".join(parts)


def _ending(file: Path) -> str:
    """Return the last lines of a log below its path."""
    try:
        with file.open("rb") as content:
            size = content.seek(0, os.SEEK_END)
            content.seek(max(0, size - TAIL_BYTES))
            lines = content.read().decode(errors="replace").splitlines()
    except OSError:
        return f"{file} is not there: the job did not begin"
    if not lines:
        return f"{file} is empty"
    which = "The log" if size <= TAIL_BYTES and len(lines) <= LINES else "The end of the log"
    return "\n".join([f"{which} {file}:", *lines[-LINES:]])
