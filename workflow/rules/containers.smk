"""The container backend: MadGraph and DelphesPythia8, in a container, a conda environment or as
programs on the PATH.

OUTPUT: hard_process/<process>.tar.gz; hard_process/<dataset>/<process>/<growth>/library.json and the
        archives of events that it lists; pileup/minbias.pileup;
        datasets/<dataset>/<part>_<index>.parquet and its ledger
"""

from generation.external.points import has_hard_process
from workflow.fingerprint import hard_process_inputs, pileup_inputs
from workflow.jobs.containers import plan_job
from workflow.paths import block_of
from workflow.software import ENVIRONMENT, image, python_path, refuse_missing_programs

containers = run_config.generation.containers
hard_processes = sorted(
    process
    for dataset in run_config.datasets.values()
    for part in dataset.parts.values()
    for process in part.processes
    if has_hard_process(process)
)
blocks = [f"{block:04d}" for block in range(containers.hard_process_jobs)]
# Archives that are fetched, by the name of their file.
archives = dict(containers.models)
if containers.parton_densities:
    archives["parton_densities"] = containers.parton_densities
IMAGE = image(containers, workflow.basedir)

# The environments of the programs have no copy of this project.
os.environ.update(python_path(workflow.basedir))


if not workflow.deployment_settings.deployment_method:
    checks.append(lambda: refuse_missing_programs(bool(hard_processes)))


wildcard_constraints:
    process="|".join(hard_processes) or "none",
    archive="|".join(archives) or "none",
    growth=r"\d+",
    block=r"\d{4}",


localrules:
    archive,
    hard_process_plan,
    hard_process_library,


def archive_options(wildcards, input):
    """Return how a command is told of fetched archives."""
    models = [
        f"--model {name}={paths.archive.format(archive=name)}"
        for name in containers.models
    ]
    return " ".join([*models, densities_option(wildcards, input)])


def densities_option(wildcards, input):
    """Return how a command is told of the set of parton densities."""
    file = input.get("densities")
    return f"--parton-densities {file}" if file else ""


def libraries_of(wildcards):
    """Return the hard-process libraries that a shard takes events from: those of its block."""
    part = run_config.datasets[wildcards.dataset].parts[wildcards.part]
    growth, _ = block_of(int(wildcards.index), part.blocks)
    return [
        paths.library.format(dataset=wildcards.dataset, process=process, growth=growth)
        for process in part.processes
        if process in hard_processes
    ]


densities = paths.archive.format(archive="parton_densities")
densities = [densities] if containers.parton_densities else []


rule archive:
    """Fetch an archive, a model or parton densities; a wrong checksum is an error."""
    output:
        paths.archive,
    log:
        paths.log("archive/{archive}"),
    params:
        url=lambda wildcards: archives[wildcards.archive].url,
        sha256=lambda wildcards: archives[wildcards.archive].sha256,
    shell:
        "python -m generation.external fetch --url {params.url:q} --sha256 {params.sha256}"
        " --output {output} > {log} 2>&1"


rule process_directory:
    """Let MadGraph write and compile the code of a process, once for all its runs."""
    input:
        models=expand(paths.archive, archive=containers.models),
        densities=densities,
    output:
        directory=paths.process_directory,
        ledger=f"{paths.process_directory}.json",
    log:
        paths.log("process_directory/{process}"),
    benchmark:
        paths.benchmark("process_directory/{process}")
    conda:
        ENVIRONMENT
    container:
        IMAGE
    resources:
        runtime=60,
        mem_mb=4000,
    params:
        archives=archive_options,
        inputs=lambda wildcards: hard_process_inputs(run_config, wildcards.process),
    shell:
        "python -m generation.external process-directory --process {wildcards.process}"
        " {params.archives} --scratch {resources.tmpdir:q} --output {output.directory}"
        " > {log} 2>&1"


rule hard_process_plan:
    """Draw the parameter point of every planned batch and give it a slice of its events."""
    output:
        paths.plan,
    log:
        paths.log("hard_process_plan/{dataset}/{process}_{growth}"),
    params:
        job=lambda wildcards: plan_job(
            run_config, wildcards.dataset, wildcards.process, int(wildcards.growth)
        ),
        inputs=lambda wildcards: hard_process_inputs(run_config, wildcards.process),
    shell:
        "python -m workflow plan --job {params.job:q} --output {output} > {log} 2>&1"


rule hard_process:
    """Run MadGraph at a share of the parameter points, once at each for all batches that use it."""
    input:
        plan=paths.plan,
        directory=paths.process_directory,
        densities=densities,
    output:
        events=paths.hard_process,
        ledger=f"{paths.hard_process}.json",
    log:
        paths.log("hard_process/{dataset}/{process}_{growth}_{block}"),
    benchmark:
        paths.benchmark("hard_process/{dataset}/{process}_{growth}_{block}")
    conda:
        ENVIRONMENT
    container:
        IMAGE
    resources:
        # Fifty points at full scale, half a minute to three minutes each.
        runtime=lambda wildcards, attempt: 360 * attempt,
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
    params:
        block=lambda wildcards: int(wildcards.block),
        blocks=len(blocks),
        events=containers.events_per_run,
        version=containers.madgraph,
        densities=densities_option,
    shell:
        "python -m generation.external hard-process --plan {input.plan}"
        " --directory {input.directory} --block {params.block} --blocks {params.blocks}"
        " --events-per-run {params.events} --version {params.version} {params.densities}"
        " --scratch {resources.tmpdir:q} --output {output.events} > {log} 2>&1"


rule hard_process_library:
    """Check that all planned events are there; every shard depends on this one file."""
    input:
        plan=paths.plan,
        directory=paths.process_directory,
        events=expand(paths.hard_process, block=blocks, allow_missing=True),
    output:
        paths.library,
    log:
        paths.log("hard_process_library/{dataset}/{process}_{growth}"),
    params:
        version=containers.madgraph,
    shell:
        "python -m generation.external library {input.events} --plan {input.plan}"
        " --directory {input.directory} --version {params.version} --output {output}"
        " > {log} 2>&1"


rule pileup_delphes:
    """Simulate minimum-bias events and convert them to Delphes' pile-up file."""
    output:
        pileup=paths.delphes_pileup,
        ledger=f"{paths.delphes_pileup}.json",
    log:
        paths.log("pileup_delphes/minbias"),
    benchmark:
        paths.benchmark("pileup_delphes/minbias")
    conda:
        ENVIRONMENT
    container:
        IMAGE
    resources:
        runtime=120,
        mem_mb=4000,
    params:
        **pileup_inputs(run_config),
    shell:
        "python -m generation.external pileup --events {params.events} --seed {params.seed}"
        " --scratch {resources.tmpdir:q} --output {output.pileup} > {log} 2>&1"


rule shard:
    """Run Pythia and Delphes batch by batch until the shard is full, then shuffle and write it."""
    input:
        pileup=paths.delphes_pileup,
        libraries=libraries_of,
        densities=densities,
    output:
        shard=paths.shard,
        ledger=f"{paths.shard}.json",
    log:
        paths.log("shard/{dataset}/{part}_{index}"),
    benchmark:
        paths.benchmark("shard/{dataset}/{part}_{index}")
    conda:
        ENVIRONMENT
    container:
        IMAGE
    resources:
        runtime=lambda wildcards, attempt: 300 * attempt,
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
    params:
        job=lambda wildcards: shard_jobs.job(
            wildcards.dataset, wildcards.part, int(wildcards.index)
        ).text,
        densities=densities_option,
    shell:
        "python -m workflow shard --job {params.job:q} --pileup {input.pileup}"
        " --scratch {resources.tmpdir:q} --library {input.libraries} {params.densities}"
        " --output {output.shard} > {log} 2>&1"
