"""From nothing to a labelled, sharded jet dataset, a trained classifier and a report."""

import os
import sys
from pathlib import Path

from snakemake.utils import min_version

from provenance.errors import UserError
from workflow import fingerprint
from workflow.config_model import load_config
from workflow.lock import hold_run_lock
from workflow.paths import Paths, shard_index, split_of

min_version("9.0")

# Jobs call `python`: make it the interpreter that runs Snakemake, whether or not the virtual
# environment was activated, here and in the Snakemake of every cluster job.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()])
)


# The default, not a base that other configurations are merged into.
if not workflow.overwrite_configfiles:

    configfile: str(Path(workflow.basedir) / "config" / "quickstart.yaml")


try:
    run_config = load_config(config)
except UserError as error:
    sys.exit(f"error: {error}")
paths = Paths(run_config)


wildcard_constraints:
    part="|".join(run_config.dataset.parts),
    index=r"\d{4}",
    task="|".join(run_config.training) or "none",


# What is checked before any job starts; the rules of a backend may add to it.
checks = [lambda: hold_run_lock(Path.cwd())]


include: f"workflow/rules/{run_config.generation.backend}.smk"
include: "workflow/rules/dataset.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"


onstart:
    for check in checks:
        check()


onsuccess:
    sys.stderr.write(f"\nDone. Everything is below {paths.root}; open {paths.report}\n")


localrules:
    all,
    dataset,
    training,


rule all:
    """Build the dataset, train and evaluate every model, write the report."""
    default_target: True
    input:
        paths.report,


rule dataset:
    """Build the dataset only."""
    input:
        paths.manifest,


rule training:
    """Train every model, without the report."""
    input:
        expand(paths.checkpoint, task=run_config.training),
