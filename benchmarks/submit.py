"""How fast jobs reach Slurm: `python benchmarks/submit.py --jobs 400`.

Starts a Slurm of its own on this machine (Debian: slurm-wlm, munge; needs root), plans as many
jobs as asked and measures how long Snakemake with `profiles/slurm` takes to hand them over. The
jobs would write a line each, but none is waited for: a job of this size needs seconds for its own
Snakemake, which a machine with two cores cannot tell from the submission.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "slurm"))

from local_slurm import LocalSlurm, missing  # noqa: E402

SNAKEFILE = """
rule all:
    input: expand("out/{{i}}.txt", i=range({jobs}))

rule shard:
    output: "out/{{i}}.txt"
    shell: "echo {{wildcards.i}} > {{output}}"
"""
POLL_SECONDS = 0.5
# The executor loses jobs of an array rule when it is offered fewer of them than are ready
# (version 2.8.0), so that arrays need room for all jobs at once: see docs/cluster.md.
UNLIMITED = "--max-jobs-per-timespan=100000/1s"


def measure(slurm: LocalSlurm, folder: Path, jobs: int, arguments: list[str]) -> float:
    """Return the seconds from the start of Snakemake until Slurm knows all jobs."""
    (folder / "Snakefile").write_text(SNAKEFILE.format(jobs=jobs))
    log = (folder / "snakemake.log").open("w")
    started = time.perf_counter()
    process = subprocess.Popen(
        [Path(sys.executable).parent / "snakemake", "--profile", ROOT / "profiles" / "slurm",
         "--slurm-no-account", "--slurm-status-command", "squeue", "--jobs", str(jobs),
         "--retries", "0", *arguments],
        cwd=folder, env=slurm.environment, stdout=log, stderr=log, start_new_session=True,
    )  # fmt: skip
    try:
        while (known := _known(slurm)) < jobs:
            if process.poll() is not None or time.perf_counter() - started > jobs + 60:
                raise RuntimeError(f"only {known} of {jobs} jobs were submitted: see {log.name}")
            time.sleep(POLL_SECONDS)
        return time.perf_counter() - started
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        slurm.run("scancel", "--user", "root")
        log.close()


def _known(slurm: LocalSlurm) -> int:
    listing = slurm.run("squeue", "--array", "--noheader", "--states=all", "--format", "%i")
    return len(listing.split())


def main() -> None:
    """Measure as in the profile, without its rate limit, and with job arrays."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=400)
    jobs = parser.parse_args().jobs
    if reason := missing():
        sys.exit(f"no Slurm here: {reason}")
    for name, arguments in (
        ("single jobs, 5 a second", []),
        ("single jobs, no limit", [UNLIMITED]),
        ("arrays of up to 200", [UNLIMITED, "--slurm-array-jobs=shard", "--slurm-array-limit=200"]),
    ):
        with tempfile.TemporaryDirectory(prefix="submit-") as scratch:
            folder = Path(scratch)
            (folder / "work").mkdir()
            with LocalSlurm(folder / "slurm") as slurm:
                seconds = measure(slurm, folder / "work", jobs, arguments)
            text = (folder / "work" / "snakemake.log").read_text()
            calls = len(re.findall(r"Submitted array job|has been submitted with SLURM", text))
        print(
            f"{name}: {jobs} jobs in {seconds:.1f} s, {jobs / seconds:.0f} a second, "
            f"{calls} calls of sbatch"
        )


if __name__ == "__main__":
    main()
