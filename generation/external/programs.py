"""Run a program of others, keep what it says, and show the lines that say what went wrong."""

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from provenance.errors import UserError

MADGRAPH = "mg5_aMC"
DELPHES = "DelphesPythia8"
PILEUP_CONVERTER = "root2pileup"

# The first ones of a log hold the cause, the last ones what came of it.
FIRST_LINES, LAST_LINES = 24, 8
# The line after one that matches belongs to it.
CONTINUED = 1
ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
PROBLEM = re.compile(
    r"error|exception|abort|fatal|signal|violation|terminate|cannot|can't|could not|\bfail|"
    r"not compatible|not found|no such|undefined|invalid|unable|killed|out of memory|"
    r"^#\d+\s+0x[0-9a-f]+ in \w",
    re.I,
)
# What MadGraph says of every command after the one that failed, frames of a stack without names,
# warnings, and Pythia's tables but for the one of its errors.
NOISE = re.compile(
    r"command not executed|^\s*#\d+\s+0x[0-9a-f]+ in \?|^\s*(INFO:)?\s*$|\bwarning\b|"
    r"^\s*\|(?!\s*\d+\s+(Error|Abort))",
    re.I,
)
DEBUG_LOG = re.compile(r"More information is found in '([^']+)'")
TRACEBACK = "Traceback (most recent call last):"


class ProgramError(UserError):
    """A program ended with an error, or without its output.

    Attributes
    ----------
    problem
        What happened, such as "ended with exit code 139".
    """

    def __init__(self, program: str, problem: str):
        super().__init__(f"{program} {problem}; the lines of its output that say why stand above")
        self.problem = problem


def run_program(
    command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
) -> None:
    """Run a program in a folder of its own; its output goes to `<program>.log` there.

    Parameters
    ----------
    command
        The program, found on the PATH, and its arguments.
    folder
        Where it runs.
    environment
        All its variables; by default those of this process.

    Raises
    ------
    UserError
        When the program is not on the PATH.
    ProgramError
        When it ends with an exit code other than 0; the lines that say why are printed first.
    """
    program = command[0]
    if shutil.which(program) is None:
        raise UserError(
            f"{program} is not on the PATH; install it or run with --sdm apptainer or --sdm conda"
        )
    log = log_file(program, folder)
    with log.open("wb") as output:
        code = subprocess.run(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output,
            stderr=output, check=False,
        ).returncode  # fmt: skip
    if code != 0:
        ended = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        raise program_error(program, folder, ended)


def log_file(program: str, folder: Path) -> Path:
    """Return where the output of a program goes that runs in a folder."""
    return folder / f"{program}.log"


def program_error(program: str, folder: Path, problem: str) -> ProgramError:
    """Show the lines of a program's output that say what went wrong; return the error to raise."""
    text = log_file(program, folder).read_text(encoding="utf-8", errors="replace")
    lines = problem_lines(text)
    for found in DEBUG_LOG.findall(ESCAPES.sub("", text))[:1]:
        lines += _traceback(folder / found)
    print("\n".join(f"{program}: {line}" for line in lines), flush=True)  # noqa: T201
    return ProgramError(program, problem)


def problem_lines(text: str) -> list[str]:
    """Return the lines of a program's output that say what went wrong, or its last lines."""
    lines = [ESCAPES.sub("", line).rstrip() for line in text.splitlines()]
    lines = [line for line in lines if not NOISE.search(line)]
    chosen = sorted(
        {
            near
            for number, line in enumerate(lines)
            if PROBLEM.search(line)
            for near in range(number, min(number + 1 + CONTINUED, len(lines)))
        }
    )
    if len(chosen) <= FIRST_LINES + LAST_LINES:
        return [lines[number] for number in chosen] or lines[-LAST_LINES:]
    left_out = len(chosen) - FIRST_LINES - LAST_LINES
    first, last = chosen[:FIRST_LINES], chosen[-LAST_LINES:]
    return [
        *(lines[number] for number in first),
        f"[{left_out} more lines with errors]",
        *(lines[number] for number in last),
    ]


def _traceback(log: Path) -> Iterator[str]:
    """Yield the innermost call and the message of the first traceback of MadGraph's debug log."""
    if not log.is_file():
        return
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    if TRACEBACK not in lines:
        return
    inside = lines[lines.index(TRACEBACK) + 1 :]
    length = next((i for i, line in enumerate(inside) if not line.startswith(" ")), len(inside))
    yield f"{log.name}:"
    yield from inside[max(length - 3, 0) : length + 1 + CONTINUED]
