"""Locking the installation: every package at one version, with the hashes of its files.

`make lock` resolves `pyproject.toml` with uv. PyTorch stands in files of its own: PyPI's for Linux
needs gigabytes of CUDA's libraries, and the CPU build, which `make` takes where pip finds it, none.
The CPU build is in no index that uv looks at: its line is kept by hand.
"""

import re
import subprocess
import tempfile
from pathlib import Path

from provenance.errors import UserError, run
from provenance.files import atomic_output

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"
TORCH_LOCK = ROOT / "requirements-torch.lock"
OF_TORCH = re.compile(r"(torch==|cuda-|nvidia-|triton)")
HASH = re.compile(r"--hash=(sha256:[0-9a-f]{64})")
RESOLVE = (
    "uv", "pip", "compile", "pyproject.toml", "--extra", "dev", "--universal",
    "--python-version", "3.11", "--generate-hashes", "--no-annotate", "--no-header",
    "--no-emit-index-url", "--no-emit-find-links",
)  # fmt: skip


def read_lock(text: str) -> dict[str, set[str]]:
    """Return the hashes of each requirement, `name==version` with its marker, of a lock file."""
    requirements: dict[str, set[str]] = {}
    for line in text.splitlines():
        if "==" in line and not line.startswith((" ", "#")):
            requirement = line.removesuffix("\\").strip()
            requirements[requirement] = set()
        if found := HASH.search(line):
            requirements[requirement].add(found[1])
    return requirements


def write_lock(path: Path, requirements: dict[str, set[str]]) -> None:
    """Write a lock file as pip reads it."""
    blocks = [
        " \\\n    ".join([name, *(f"--hash={digest}" for digest in sorted(hashes))])
        for name, hashes in requirements.items()
    ]
    with atomic_output(path) as temporary:
        temporary.write_text("\n".join(["# Made by `make lock`.", *blocks]) + "\n")


def lock() -> None:
    """Write both lock files; versions that are locked already stay where they fit.

    Raises
    ------
    UserError
        When uv is missing or finds no solution.
    """
    known: dict[str, set[str]] = {}
    for file in (LOCK, TORCH_LOCK):
        known |= read_lock(file.read_text()) if file.is_file() else {}
    with tempfile.TemporaryDirectory(prefix="lock-") as folder:
        output = Path(folder) / "requirements.txt"
        output.write_text("\n".join(known))
        try:
            subprocess.run([*RESOLVE, "--quiet", "--output-file", output], cwd=ROOT, check=True)
        except FileNotFoundError:
            raise UserError("uv is not installed: `pip install uv` brings it") from None
        except subprocess.CalledProcessError:
            raise UserError("pyproject.toml: uv cannot resolve it, see above") from None
        resolved = read_lock(output.read_text())
    of_torch = {name: own for name, own in resolved.items() if OF_TORCH.match(name)}
    write_lock(LOCK, {name: own for name, own in resolved.items() if name not in of_torch})
    write_lock(TORCH_LOCK, of_torch)


if __name__ == "__main__":
    run(lock)
