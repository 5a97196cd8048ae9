"""How long the workflow plans: `python benchmarks/dag.py [config ...]`.

Dry runs in an empty folder, processor time and memory of the whole process, for both backends of
each configuration; the published dataset by default.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]


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


def with_containers(config: dict) -> dict:
    """Return a configuration with the container backend, and the most events it allows a shard."""
    events = dict.fromkeys(config["dataset"]["parts"], config["dataset"]["max_events_per_shard"])
    generation = config["generation"] | {"backend": "containers"}
    generation["containers"] = {"events_per_shard": events} | generation.get("containers", {})
    return config | {"generation": generation}


def main() -> None:
    """Print a line for each configuration and backend."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configs", type=Path, nargs="*", default=[ROOT / "config/jetclass2.yaml"])
    for path in parser.parse_args().configs:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        for backend, content in (("embedded", config), ("containers", with_containers(config))):
            with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
                yaml.safe_dump(content, file)
                file.flush()
                jobs, seconds, memory = plan(Path(file.name))
            print(f"{path.stem} {backend}: {jobs} jobs, {seconds:.1f} s, {memory:.0f} MB")


if __name__ == "__main__":
    main()
