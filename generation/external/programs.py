"""Run a program of others and keep what it says."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from provenance.errors import UserError

MADGRAPH = "mg5_aMC"
DELPHES = "DelphesPythia8"
PILEUP_CONVERTER = "root2pileup"
MERGER = "hadd"

LINES_SHOWN = 20


def run_program(command: Sequence[str], folder: Path) -> None:
    """Run a program in a folder of its own; its output goes to `<program>.log` there.

    Parameters
    ----------
    command
        The program, found on the PATH, and its arguments.
    folder
        Where it runs.

    Raises
    ------
    UserError
        When the program is not on the PATH or ends with an exit code other than 0; the end of its
        output is printed first.
    """
    program = command[0]
    if shutil.which(program) is None:
        raise UserError(
            f"{program} is not on the PATH; install it or run with --sdm apptainer or --sdm conda"
        )
    log = folder / f"{program}.log"
    with log.open("wb") as output:
        code = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False
        ).returncode
    if code != 0:
        raise program_error(program, log, f"ended with exit code {code}")


def program_error(program: str, log: Path, problem: str) -> UserError:
    """Show the end of a program's output and return the error to raise."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LINES_SHOWN:]
    print("\n".join(f"{program}: {line}" for line in lines), flush=True)  # noqa: T201
    return UserError(f"{program} {problem}; the end of its output stands above")
