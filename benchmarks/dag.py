"""How long the workflow plans: `python benchmarks/dag.py [config ...]`.

Dry runs in an empty folder, processor time and memory of the whole process; by default of the
published dataset with either backend.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PUBLISHED = [ROOT / "config" / f"{name}.yaml" for name in ("jetclass2", "jetclass2-containers")]


def plan(config: Path) -> tuple[int, float, float]:
    """Return jobs, processor seconds and peak memory in MB of a dry run."""
    with tempfile.TemporaryDirectory(prefix="dag-") as folder:
        command = [
            Path(sys.executable).parent / "snakemake", "--snakefile", ROOT / "Snakefile",
            "--directory", folder, "--workflow-profile", ROOT / "profiles" / "default",
            "--dry-run", "--quiet", "rules", "--configfile", config,
        ]  # fmt: skip
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output = process.stdout.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(output)
    jobs = int(re.search(r"^total\s+(\d+)$", output, re.M)[1])
    return jobs, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    """Print a line for each configuration."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configs", type=Path, nargs="*", default=PUBLISHED)
    for path in parser.parse_args().configs:
        jobs, seconds, memory = plan(path.resolve())
        print(f"{path.stem}: {jobs} jobs, {seconds:.1f} s, {memory:.0f} MB")


if __name__ == "__main__":
    main()
