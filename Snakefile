"""From nothing to labelled, sharded datasets, trained networks and a report."""

import os
import sys
from pathlib import Path

from snakemake import logging
from snakemake.utils import min_version

from provenance.errors import UserError
from workflow.announcement import announce
from workflow.failures import show_log_ends
from workflow.fastjet_notice import leave_to_the_run, show_notice
from workflow.growth import refuse_moved_splits
from workflow.jobs.description import dataset_seed
from workflow.lock import hold_run_lock
from workflow.paths import Paths
from workflow.planning import make_plan, read_files

min_version("9.0")

# Jobs call `python`: make it the interpreter that runs Snakemake, whether or not the virtual
# environment was activated, here and in the Snakemake of every cluster job.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()])
)

leave_to_the_run()
logging.show_logs = show_log_ends


# The default, not a base that other configurations are merged into.
if not workflow.overwrite_configfiles:

    configfile: str(Path(workflow.basedir) / "config" / "quickstart.yaml")


try:
    # As `python -m workflow check` reads them: Snakemake takes the last of two equal keys and `1e-4`
    # for text.
    plan = make_plan(read_files(workflow.configfiles, workflow.config_settings.config))
except UserError as error:
    sys.exit(f"error: {error}")
run_config, fits, points = plan.config, plan.fits, plan.points
shard_jobs = plan.shard_jobs
paths = Paths(run_config)


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
    to_do = list(workflow.dag.needrun_jobs())
    cores = None if workflow.non_local_exec else workflow.cores
    if any(str(job.rule) == "shard" for job in to_do):
        show_notice()
    sys.stderr.write(f"\n{announce(run_config, paths, fits, to_do, cores)}\n")


onsuccess:
    sys.stderr.write(f"\nDone. Everything is below {paths.root}; open {paths.report}\n")


localrules:
    all,
    datasets,
    cards,
    training,


# Files that later jobs have used are asked for too: what is lost is made again.
dataset_files = [
    *(file for name in run_config.datasets for file in paths.shards(run_config, name)),
    *(file for files in collision_shards.values() for file in files),
    *expand(paths.manifest, dataset=run_config.products),
]
checkpoints = expand(paths.checkpoint, fit=fits)
evaluated = dict.fromkeys(
    [*run_config.training, *(point.fit for study in points.values() for point in study)]
)


rule all:
    """Build the datasets, train and evaluate every network, write the report."""
    default_target: True
    input:
        dataset_files,
        checkpoints,
        expand(paths.metrics, fit=evaluated),
        expand(paths.study, study=run_config.studies),
        paths.report,
        paths.report_figures,


rule datasets:
    """Build the datasets only."""
    input:
        dataset_files,


rule cards:
    """Write the cards of the simulated datasets, for publishing them."""
    input:
        expand(paths.card, dataset=run_config.datasets),


rule training:
    """Train every network, without the report."""
    input:
        checkpoints,
