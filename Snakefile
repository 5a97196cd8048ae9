"""From nothing to labelled, sharded datasets, trained networks and a report."""

import os
import sys
from pathlib import Path

from snakemake.utils import min_version

from provenance.errors import UserError
from workflow.config_model import load_config
from workflow.fits import resolve_fits
from workflow.growth import refuse_moved_splits
from workflow.jobs.description import ShardJobs, dataset_seed
from workflow.lock import hold_run_lock
from workflow.paths import Paths

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
    fits = resolve_fits(run_config)
except UserError as error:
    sys.exit(f"error: {error}")
paths = Paths(run_config)
shard_jobs = ShardJobs(run_config)


wildcard_constraints:
    dataset="|".join(run_config.datasets) or "none",
    part=r"[A-Za-z0-9]+",
    index=r"\d{4}",
    fit="|".join(fits) or "none",
    study="|".join(run_config.studies) or "none",


# What is checked before any job starts; the rules of a backend may add to it.
checks = [
    lambda: hold_run_lock(Path.cwd()),
    lambda: refuse_moved_splits(run_config, paths),
]


include: f"workflow/rules/{run_config.generation.backend}.smk"
include: "workflow/rules/dataset.smk"
include: "workflow/rules/collisions.smk"
include: "workflow/rules/ensemble.smk"
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
    datasets,
    training,


rule all:
    """Build the datasets, train and evaluate every network, write the report."""
    default_target: True
    input:
        paths.report,


rule datasets:
    """Build the datasets only."""
    input:
        expand(paths.manifest, dataset=run_config.products),


rule training:
    """Train every network, without the report."""
    input:
        expand(paths.checkpoint, fit=fits),
